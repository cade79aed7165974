//! The fields of the documents in the listeners' collection: for the published schema, and for whoever misspells one.

use crate::change::operations::Operations;
use serde_json::{Value, json};

/// Which of the two kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Listener,
    /// Settings of a database.
    Database,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    of_listener: bool,
    of_database: bool,
    shape: Shape,
    meaning: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Any,
    Text,
    Flag,
    Document,
    DocumentOrText,
    TextOrNumber,
    Operations,
    Kind,
}

const fn field(name: &'static str, of: (bool, bool), shape: Shape, meaning: &'static str) -> Field {
    let (of_listener, of_database) = of;
    Field {
        name,
        of_listener,
        of_database,
        shape,
        meaning,
    }
}

const LISTENER: (bool, bool) = (true, false);
const DATABASE: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

/// All of them. `docs/listeners.md` has the same.
pub const ALL: [Field; 19] = [
    field(
        "_id",
        BOTH,
        Shape::Any,
        "Its id: the header tw-listener. Without one it is made from database, collection, jobName and documentKey",
    ),
    field(
        "kind",
        BOTH,
        Shape::Kind,
        "\"listener\" (the default), or \"database\" for the settings of a database",
    ),
    field(
        "database",
        BOTH,
        Shape::Text,
        "The database; of a listener without it every database that is watched; \"*\" in settings stands for the defaults",
    ),
    field(
        "collection",
        LISTENER,
        Shape::Text,
        "The collection that is listened to",
    ),
    field(
        "filter",
        LISTENER,
        Shape::DocumentOrText,
        "A MongoDB query on the document; everything where it is not there. Also a string of Extended JSON",
    ),
    field(
        "operationType",
        BOTH,
        Shape::Operations,
        "The operations; insert, update, replace and delete where it is not there",
    ),
    field(
        "documentKey",
        LISTENER,
        Shape::Any,
        "The _id of the one document that is listened to, or {_id: ...}",
    ),
    field(
        "jobName",
        LISTENER,
        Shape::Text,
        "The job: the header tw-job, and the topic jobs.<jobName> where no topic is named",
    ),
    field(
        "topic",
        LISTENER,
        Shape::Text,
        "The topic, with placeholders as in KAFKA_TOPIC_INSERT; one that LISTENERS_TOPICS allows",
    ),
    field(
        "priority",
        BOTH,
        Shape::TextOrNumber,
        "The header tw-priority",
    ),
    field(
        "handler",
        LISTENER,
        Shape::Document,
        "What a worker does about the job: url, secret, and more (docs/workers.md). Its secrets are never shown; exec is not taken from here",
    ),
    field(
        "isActive",
        LISTENER,
        Shape::Flag,
        "When false it gets no records; true where it is not there",
    ),
    field(
        "enabled",
        DATABASE,
        Shape::Flag,
        "When false no listener gets records of this database",
    ),
    field(
        "topicPrefix",
        DATABASE,
        Shape::Text,
        "What stands before each topic",
    ),
    field(
        "metadata",
        BOTH,
        Shape::Document,
        "Your own: a description, an owner",
    ),
    field(
        "createdAt",
        BOTH,
        Shape::Any,
        "When it was created; never changed",
    ),
    field(
        "updatedAt",
        BOTH,
        Shape::Any,
        "When it was last changed by `tailwater listeners apply`",
    ),
    field(
        "status",
        BOTH,
        Shape::Document,
        "Written by Tailwater: how it does, by stream",
    ),
    field(
        "lockInfo",
        BOTH,
        Shape::Document,
        "Written by Tailwater: which instance serves it, by stream",
    ),
];

/// Fields that are not given in a file: whoever writes the document sets them.
pub const WRITTEN: [&str; 4] = ["createdAt", "updatedAt", "status", "lockInfo"];

/// Fields that a query or a change stream may have, and a listener may not: it would not do what they say.
pub(super) const REFUSED: [&str; 2] = ["collation", "pipeline"];

/// Fields that only Tailwater writes, while a listener stays as it is.
pub const OWN: [&str; 2] = ["status", "lockInfo"];

/// The fields that say what a listener does, or settings say. Whatever else is in the document is its users' own
/// business, or written by Tailwater, and is neither held nor stored.
pub(super) fn held() -> impl Iterator<Item = &'static str> {
    let names = ALL.iter().map(|field| field.name);
    names
        .filter(|name| !["metadata", "handler"].contains(name) && !WRITTEN.contains(name))
        .chain(REFUSED)
}

/// The fields of one kind.
pub fn of(kind: Kind) -> impl Iterator<Item = &'static Field> {
    ALL.iter().filter(move |field| match kind {
        Kind::Listener => field.of_listener,
        Kind::Database => field.of_database,
    })
}

/// The JSON Schema of a file with listeners.
pub fn schema() -> Value {
    let object = |kind: Kind, required: &[&str]| {
        let properties = of(kind).map(|field| (field.name.to_owned(), field.schema()));
        json!({
            "type": "object",
            "properties": properties.collect::<serde_json::Map<_, _>>(),
            "required": required,
        })
    };
    let of_database = json!({"properties": {"kind": {"const": "database"}}, "required": ["kind"]});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tailwater listeners",
        "description": "A list of listeners, or an object with the lists listeners and databases. Types that JSON lacks are in Extended JSON. docs/listeners.md explains the fields.",
        "$defs": {
            "listener": object(Kind::Listener, &["collection", "jobName"]),
            "database": object(Kind::Database, &["database"]),
            "entry": {
                "if": of_database,
                "then": {"$ref": "#/$defs/database"},
                "else": {"$ref": "#/$defs/listener"},
            },
        },
        "oneOf": [
            {"type": "array", "items": {"$ref": "#/$defs/entry"}},
            {
                "type": "object",
                "properties": {
                    "listeners": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
                    "databases": {"type": "array", "items": {"$ref": "#/$defs/database"}},
                },
                "minProperties": 1,
                "additionalProperties": false,
            },
        ],
    })
}

impl Field {
    fn schema(&self) -> Value {
        let mut schema = match self.shape {
            Shape::Any => json!({}),
            Shape::Text => json!({"type": "string", "minLength": 1}),
            Shape::Flag => json!({"type": "boolean"}),
            Shape::Document => json!({"type": "object"}),
            Shape::DocumentOrText => json!({"type": ["object", "string"]}),
            Shape::TextOrNumber => json!({"type": ["string", "number"], "maxLength": 200}),
            Shape::Kind => json!({"enum": ["listener", "database"]}),
            Shape::Operations => {
                // In any case, which a schema says only as a pattern.
                let names: Vec<_> = Operations::known().map(any_case).collect();
                let one = json!({"type": "string", "pattern": format!("^({})$", names.join("|"))});
                json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
            }
        };
        schema["description"] = self.meaning.into();
        schema
    }
}

fn any_case(name: &str) -> String {
    let both = |c: char| format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase());
    name.chars().map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        let published: Value = serde_json::from_str(&file("config/listeners.schema.json")).unwrap();
        let now = schema();
        assert!(
            published == now,
            "write it anew: tailwater listeners schema > config/listeners.schema.json\n{now:#}"
        );
    }

    #[test]
    fn every_field_is_documented() {
        let page = file("docs/listeners.md");
        for field in &ALL {
            assert!(
                page.contains(&format!("| `{}` |", field.name)),
                "{}",
                field.name
            );
        }
    }
}
