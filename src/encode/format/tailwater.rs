//! The format of its own: an envelope in JSON, a key by namespace and `_id`, `tw-*` headers.

use crate::change::event::Event;
use crate::change::position::Seq;
use crate::change::transactions::Place;
use crate::encode::envelope::Shape;
use crate::encode::headers::{Headers, Scratch};
use crate::encode::json::{EncodeError, JsonMode, Stats};
use crate::encode::{envelope, key};

/// The settings of one stream, and room for its headers.
#[derive(Debug)]
pub struct Tailwater {
    stream: String,
    mode: JsonMode,
    shape: Shape,
    scratch: Scratch,
}

impl Tailwater {
    pub(super) fn new(stream: &str, mode: JsonMode, shape: Shape) -> Self {
        Self {
            stream: stream.to_owned(),
            mode,
            shape,
            scratch: Scratch::default(),
        }
    }

    /// As [`Shape::place`].
    pub(super) fn place(&mut self, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        self.shape.place(self.mode, place)
    }

    #[inline]
    pub(super) fn write(
        &self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Stats, EncodeError> {
        let id = event.document_id();
        // What a key replaces is not counted.
        key::write(key, event.database, event.collection, id)?;
        envelope::write_as(value, self.mode, &self.shape, event)
    }

    #[inline]
    pub(super) fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq) -> Headers<'a> {
        self.scratch.headers(event, seq, &self.stream)
    }
}
