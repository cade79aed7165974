//! Whether a listener wants one event, and if not why: for whoever writes it.

use super::decide::{Decided, decide, image, matches};
use super::definition::Definition;
use super::settings::{Effective, Settings};
use crate::change::event::{Event, Operation};

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
