//! What a stream's records look like: key, value and headers of an event. One implementation for each format,
//! chosen once for a stream.

mod tailwater;

use super::headers::Headers;
use super::json::{EncodeError, JsonMode, Stats};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::config::StreamSpec;
use tailwater::Tailwater;

/// The format of one stream. An enum and not a trait object: what is called for each event is known when this is
/// compiled.
#[derive(Debug)]
pub enum Format {
    /// The format of `docs/formats.md`.
    Tailwater(Tailwater),
}

impl Format {
    /// The format that a stream is configured to have.
    pub fn of(stream: &StreamSpec) -> Self {
        Self::tailwater(&stream.id, stream.pipeline.json_mode)
    }

    /// That of `docs/formats.md`, for the stream of this id.
    pub fn tailwater(stream: &str, mode: JsonMode) -> Self {
        Self::Tailwater(Tailwater::new(stream, mode))
    }

    /// Appends the key and the value of `event`.
    ///
    /// # Errors
    /// [`EncodeError`]: the event can have no record. What was appended means nothing then.
    #[inline]
    pub fn write(
        &self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Stats, EncodeError> {
        match self {
            Self::Tailwater(format) => format.write(event, key, value),
        }
    }

    /// The headers of `event`, which has the number `seq`.
    #[inline]
    pub fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq) -> Headers<'a> {
        match self {
            Self::Tailwater(format) => format.headers(event, seq),
        }
    }
}
