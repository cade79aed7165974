//! Whether a listener wants one event, and if not why: for whoever writes it.

use super::decide::{Decided, decide, image, matches};
use super::definition::Definition;
use super::entry::Entry;
use super::settings::{DEFAULTS, Effective, Settings};
use crate::change::event::{Event, Operation};
use bson::{Bson, Document, doc};

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It makes a record in this topic.
    Matches { topic: String },
    /// It makes none: every reason.
    Not { reasons: Vec<String> },
}

/// Asks a listener about an event of a database with these settings.
pub fn judge(definition: &Definition, settings: Option<&Settings>, event: &Event<'_>) -> Verdict {
    let settings = settings.cloned().map(Effective::from).unwrap_or_default();
    let mut reasons = Vec::new();
    let mut not = |reason: String| reasons.push(reason);
    if !definition.is_active {
        not("the listener is not active (isActive: false)".into());
    }
    if !settings.is_enabled {
        not(format!(
            "database {} is not enabled in its settings",
            event.database
        ));
    }
    if let Some(database) = &definition.database
        && database != event.database
    {
        not(format!(
            "it listens to database {database}, and the event is of {}",
            event.database
        ));
    }
    if definition.collection != event.collection && event.operation != Operation::DropDatabase {
        not(format!(
            "it listens to collection {}, and the event is of {}",
            definition.collection, event.collection
        ));
    }
    let operations = definition.operations.unwrap_or(settings.operations);
    if !operations.hold(event) {
        let names: Vec<_> = operations.names().collect();
        not(format!(
            "it takes {}, and the event is a {}",
            names.join(", "),
            event.operation_name
        ));
    }
    if event.operation.is_document() {
        if let Some(key) = &definition.document_key
            && matches(key, event.document_key) != Some(true)
        {
            not("the document is not the one that documentKey names".into());
        }
        match decide(&definition.filter, event, image(event)) {
            Decided::Matches => {}
            Decided::Not => not("the filter does not match the document".into()),
            Decided::Unknown => not(match event.operation {
                Operation::Delete => {
                    "the filter asks for fields that a delete does not have without a pre-image \
                     (FULL_DOCUMENT_BEFORE_CHANGE, and changeStreamPreAndPostImages on the collection)"
                        .into()
                }
                _ => "the event comes without the document that the filter asks about".into(),
            }),
        }
    }
    if !reasons.is_empty() {
        return Verdict::Not { reasons };
    }
    Verdict::Matches {
        topic: settings.topic_of(definition, event),
    }
}

/// What holds in a database, by the settings among these documents.
pub fn settings(all: &[(&Document, &Entry)], database: &str) -> Option<Settings> {
    let of = |name: &str| {
        all.iter().find_map(|(_, entry)| match entry {
            Entry::Database(settings) if settings.database == name => Some(settings),
            _ => None,
        })
    };
    let defaults = of(DEFAULTS);
    match of(database) {
        Some(own) => Some(own.over(defaults)),
        None => defaults.cloned(),
    }
}

/// Something that happens to a document.
#[derive(Debug, Clone, Copy)]
pub struct Happening<'a> {
    pub operation: &'a str,
    /// That of the listener where it is not named, or `test`.
    pub database: Option<&'a str>,
    /// That of the listener where it is not named.
    pub collection: Option<&'a str>,
    /// Of a delete: there is a pre-image.
    pub has_pre_image: bool,
}

impl Happening<'_> {
    /// The change event of it.
    pub fn event(&self, listener: &Definition, document: Document) -> Document {
        let database = self.database.or(listener.database.as_deref());
        let collection = self.collection.unwrap_or(&listener.collection);
        let mut event = doc! {
            "operationType": self.operation,
            "ns": {"db": database.unwrap_or("test"), "coll": collection},
            "documentKey": {"_id": document.get("_id").cloned().unwrap_or(Bson::Null)},
        };
        match (self.operation, self.has_pre_image) {
            ("delete", true) => event.insert("fullDocumentBeforeChange", document),
            ("delete", false) => None,
            _ => event.insert("fullDocument", document),
        };
        event
    }
}

/// A change event as the bytes that are read; a token is made up where it has none.
///
/// # Errors
/// Where it is no BSON.
pub fn raw(mut event: Document) -> Result<Vec<u8>, String> {
    if !event.contains_key("_id") {
        event.insert("_id", doc! {"_data": "00"});
    }
    event.to_vec().map_err(|error| error.to_string())
}
