//! Documents of the data that become jobs when their time comes: what a schedule of `kind: "due"` says.

pub mod queue;
pub mod source;

use crate::change::namespace::Namespace;
use crate::listener::Reading;
use bson::{Bson, Document, doc};
use std::fmt;

/// Which documents, and which of their fields says when.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub at: Namespace,
    /// A path of names with dots.
    pub field: String,
    /// A query of MongoDB, which the server decides.
    pub filter: Document,
}

impl Due {
    /// None where it is wrong, which is told.
    pub(super) fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let database = reading.required_text("database", "give the database of the documents");
        let collection =
            reading.required_text("collection", "give the collection of the documents");
        let field = reading.required_text(
            "dueField",
            "give the field with the time, such as scheduledFor",
        );
        if field.starts_with('$') || field.contains('\0') || field.split('.').any(str::is_empty) {
            reading.wrong(
                "dueField",
                "is no path of names; give one such as scheduledFor or plan.next",
            );
        }
        // Compiled to hear what is wrong with it; the server decides it, so that it means what it means in `find`.
        reading.filter()?;
        let filter = match reading.value("filter") {
            Some(Bson::Document(filter)) => filter.clone(),
            Some(Bson::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            _ => Document::new(),
        };
        Some(Self {
            at: Namespace {
                database,
                collection,
            },
            field,
            filter,
        })
    }

    /// The query for those whose time is in this range, and with `ids` only those.
    pub fn query(&self, range: Document, ids: Option<Vec<Bson>>) -> Document {
        let mut all = vec![self.filter.clone(), doc! {&self.field: range}];
        all.extend(ids.map(|ids| doc! {"_id": {"$in": ids}}));
        doc! {"$and": all}
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "due {} {}", self.at, self.field)
    }
}
