//! The document is the value, and a delete is a tombstone: for compacted topics, and for what writes them elsewhere.

use super::tailwater::Tailwater;
use super::{Body, Written};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::encode::envelope::Shape;
use crate::encode::headers::Headers;
use crate::encode::json::{EncodeError, JsonMode, write_document};
use crate::encode::key;

/// Key and headers are those of Tailwater's own format.
#[derive(Debug)]
pub struct Document {
    own: Tailwater,
    mode: JsonMode,
}

impl Document {
    pub(super) fn new(stream: &str, mode: JsonMode) -> Self {
        Self {
            own: Tailwater::new(stream, mode, Shape::default()),
            mode,
        }
    }

    pub(super) fn write(
        &self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        let id = event.document_id();
        key::write(key, event.database, event.collection, id)?;
        if event.operation == Operation::Delete {
            return Ok(Written::without_value(Body::Tombstone));
        }
        match event
            .full_document
            .and_then(|document| document.as_document())
        {
            Some(document) => write_document(value, self.mode, document).map(Written::value),
            // It is gone by now: the event of that comes, too.
            None => Ok(Written::without_value(Body::Nothing)),
        }
    }

    pub(super) fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq) -> Headers<'a> {
        self.own.headers(event, seq)
    }
}
