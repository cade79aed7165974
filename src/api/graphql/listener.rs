//! A listener, as GraphQL has it.

use super::value::Json;
use crate::api::etag;
use crate::listener::entry;
use crate::listener::handler::masked;
use async_graphql::{Enum, Object};
use bson::{Bson, Document};

/// An operation that a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum OperationType {
    Insert,
    Update,
    Replace,
    Delete,
    Drop,
    Rename,
    DropDatabase,
}

const ALL: [(OperationType, &str); 7] = [
    (OperationType::Insert, "insert"),
    (OperationType::Update, "update"),
    (OperationType::Replace, "replace"),
    (OperationType::Delete, "delete"),
    (OperationType::Drop, "drop"),
    (OperationType::Rename, "rename"),
    (OperationType::DropDatabase, "dropDatabase"),
];

/// As they are in a document.
pub(super) fn names(operations: Vec<OperationType>) -> Bson {
    let name = |operation: OperationType| {
        let found = ALL.iter().find(|(known, _)| *known == operation);
        found.map_or("", |(_, name)| name)
    };
    operations.into_iter().map(name).collect()
}

/// Whether the document says that it gets records.
pub(super) fn is_active(document: &Document) -> bool {
    document.get_bool("isActive").unwrap_or(true)
}

/// A document of the collection.
pub(super) struct Listener(pub(super) Document);

impl Listener {
    fn text(&self, field: &str) -> Option<&str> {
        self.0.get_str(field).ok()
    }

    fn json(&self, field: &str) -> Option<Json> {
        let value = self.0.get(field).filter(|value| **value != Bson::Null);
        value.cloned().map(Json)
    }

    fn time(&self, field: &str) -> Option<String> {
        let time = self.0.get_datetime(field).ok()?;
        crate::api::time::of_millis(time.timestamp_millis())
    }
}

/// A route that users change while a stream runs.
#[Object]
impl Listener {
    /// The text of its `_id`.
    async fn id(&self) -> String {
        entry::name(&self.0)
    }

    async fn database(&self) -> Option<&str> {
        self.text("database")
    }

    async fn collection(&self) -> Option<&str> {
        self.text("collection")
    }

    async fn job_name(&self) -> Option<&str> {
        self.text("jobName")
    }

    async fn filter(&self) -> Option<Json> {
        self.json("filter")
    }

    /// The operations that it takes; none where those of its database hold.
    async fn operation_type(&self) -> Option<Vec<OperationType>> {
        let named = match self.0.get("operationType")? {
            Bson::String(one) => vec![one.as_str()],
            Bson::Array(all) => all.iter().filter_map(Bson::as_str).collect(),
            _ => return None,
        };
        let of = |name: &str| {
            let is = |(_, known): &&(OperationType, &str)| known.eq_ignore_ascii_case(name);
            ALL.iter().find(is).map(|(operation, _)| *operation)
        };
        Some(named.into_iter().filter_map(of).collect())
    }

    async fn document_key(&self) -> Option<Json> {
        self.json("documentKey")
    }

    async fn topic(&self) -> Option<&str> {
        self.text("topic")
    }

    async fn priority(&self) -> Option<Json> {
        self.json("priority")
    }

    /// What a worker does about its job; what is secret of it is `***`.
    async fn handler(&self) -> Option<Json> {
        masked(&self.0).remove("handler").map(Json)
    }

    /// Whether it gets records: it does where it is not said.
    async fn is_active(&self) -> bool {
        is_active(&self.0)
    }

    async fn metadata(&self) -> Option<Json> {
        self.json("metadata")
    }

    async fn created_at(&self) -> Option<String> {
        self.time("createdAt")
    }

    async fn updated_at(&self) -> Option<String> {
        self.time("updatedAt")
    }

    /// What its document says: active, disabled or invalid.
    async fn state(&self) -> &'static str {
        entry::state(&self.0).name()
    }

    /// Why it is invalid.
    async fn reason(&self) -> Option<String> {
        entry::state(&self.0).reason().map(str::to_owned)
    }

    /// How it does in each stream.
    async fn status(&self) -> Option<Json> {
        self.json("status")
    }

    /// For changes that should find it as it is.
    async fn etag(&self) -> String {
        etag::of(&self.0)
    }
}
