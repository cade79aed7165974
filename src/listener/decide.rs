//! What a filter says of an event: decided on the document that came with it, or on its key alone.

use super::filter::Filter;
use crate::change::event::{Event, Operation};
use crate::change::raw;
use bson::RawDocument;

/// What a filter says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    Matches,
    Not,
    /// The document that it asks about is not at hand.
    Unknown,
}

/// Whether a document that is at hand matches.
pub(super) fn matches(filter: &Filter, document: Option<&[u8]>) -> Option<bool> {
    let document = RawDocument::from_bytes(document?).ok()?;
    Some(filter.matches(document))
}

/// What a filter says of an event on a document. Where the document is not at hand, its key may be enough.
pub(super) fn decide(filter: &Filter, event: &Event<'_>, document: Option<&[u8]>) -> Decided {
    if filter.is_empty() {
        return Decided::Matches;
    }
    let of_key = || {
        let key = event.document_key?;
        let is_there = |name: &str| matches!(raw::find(key, name), Ok(Some(_)));
        filter.reads_only(is_there).then_some(key)
    };
    match matches(filter, document.or_else(of_key)) {
        Some(true) => Decided::Matches,
        Some(false) => Decided::Not,
        None => Decided::Unknown,
    }
}

/// The document that filters ask about: as it is after the change, and of a delete as it was before.
pub(super) fn image<'a>(event: &Event<'a>) -> Option<&'a [u8]> {
    let image = match event.operation {
        Operation::Delete => event.full_document_before_change,
        _ => event.full_document,
    };
    image.and_then(|image| image.as_document())
}
