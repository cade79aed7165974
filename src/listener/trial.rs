//! Whether a listener wants one event, and if not why: for whoever writes it.

use super::decide::{Decided, decide, image};
use super::definition::Definition;
use super::settings::Settings;
use crate::change::event::{Event, Operation};
use crate::change::operations::Operations;

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
    let mut reasons = Vec::new();
    let mut not = |reason: String| reasons.push(reason);
    if !definition.is_active {
        not("the listener is not active (isActive: false)".into());
    }
    if settings.and_then(|settings| settings.enabled) == Some(false) {
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
    let operations = definition.operations;
    let operations = operations.or_else(|| settings.and_then(|settings| settings.operations));
    let operations = operations.unwrap_or(Operations::OF_DOCUMENTS);
    if !operations.hold(event) {
        let names: Vec<_> = operations.names().collect();
        not(format!(
            "it takes {}, and the event is a {}",
            names.join(", "),
            event.operation_name
        ));
    }
    if event.operation.is_document() {
        let is_it = definition.document_key.as_ref().map(|key| {
            let document = event
                .document_key
                .and_then(|key| bson::RawDocument::from_bytes(key).ok());
            document.is_some_and(|document| key.matches(document))
        });
        if is_it == Some(false) {
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
    let prefix = settings.and_then(|settings| settings.topic_prefix.as_deref());
    let topic = format!(
        "{}{}",
        prefix.unwrap_or_default(),
        definition.topic.render(Some(event))
    );
    Verdict::Matches { topic }
}
