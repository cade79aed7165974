//! A raw reply of the server: events as slices of it, and the post-batch resume token.

use crate::pipeline::budget::Reservation;
use crate::position::ResumeToken;
use crate::raw::{self, Malformed};
use mongodb::raw_batch_cursor::RawBatch;

/// One reply and the bytes of the budget it holds.
pub struct Reply {
    batch: RawBatch,
    /// Given back when the reply is dropped.
    _reservation: Option<Reservation>,
}

impl Reply {
    pub fn new(batch: RawBatch, mut reservation: Option<Reservation>) -> Self {
        if let Some(reservation) = &mut reservation {
            reservation.resize(batch.as_raw_document().as_bytes().len());
        }
        Self {
            batch,
            _reservation: reservation,
        }
    }

    /// Length of the reply in bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether the reply holds no events.
    pub fn is_empty(&self) -> bool {
        self.events()
            .map_or(true, |mut events| events.next().is_none())
    }

    /// The events, each one whole BSON document.
    ///
    /// # Errors
    /// [`Malformed`] when the reply is not of a cursor's shape.
    pub fn events(
        &self,
    ) -> Result<impl Iterator<Item = Result<&[u8], Malformed>> + use<'_>, Malformed> {
        let malformed = Malformed {
            offset: 0,
            len: self.len(),
        };
        let cursor = self.cursor()?;
        let events = match raw::find(cursor, "nextBatch")? {
            Some(batch) => Some(batch),
            None => raw::find(cursor, "firstBatch")?,
        };
        let array = events.and_then(|e| e.as_array()).ok_or(malformed)?;
        Ok(raw::walk(array)?.map(move |e| e?.as_document().ok_or(malformed)))
    }

    /// Where the stream stands after this reply, also when it is empty.
    pub fn post_batch_token(&self) -> Option<ResumeToken> {
        let token = raw::find(self.cursor().ok()?, "postBatchResumeToken").ok()??;
        ResumeToken::from_bytes(token.as_document()?)
    }

    /// The server's clock at the end of this reply, in seconds, where it says so.
    pub fn operation_time(&self) -> Option<u32> {
        let element = raw::find(self.bytes(), "operationTime").ok()??;
        element.as_timestamp().map(|(seconds, _)| seconds)
    }

    fn cursor(&self) -> Result<&[u8], Malformed> {
        raw::find(self.bytes(), "cursor")?
            .and_then(|e| e.as_document())
            .ok_or(Malformed {
                offset: 0,
                len: self.len(),
            })
    }

    fn bytes(&self) -> &[u8] {
        self.batch.as_raw_document().as_bytes()
    }
}
