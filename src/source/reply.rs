//! A raw reply of the server: events as slices of it, and the post-batch resume token.

use crate::change::event::Event;
use crate::change::position::{ClusterTime, ResumeToken};
use crate::change::raw::{self, Malformed};
use crate::flow::budget::Reservation;
use mongodb::raw_batch_cursor::RawBatch;
use std::cmp::Ordering;

/// One reply and the bytes of the budget it holds.
pub struct Reply {
    batch: Batch,
    /// Leading events that were read before.
    repeated: usize,
    /// Whether its post-batch token is not to be used.
    is_withheld: bool,
    /// Given back when the reply is dropped.
    _reservation: Option<Reservation>,
}

/// Where the bytes of a reply are.
enum Batch {
    /// As the driver gives them out.
    Raw(RawBatch),
    /// As a test has made them up.
    #[cfg(test)]
    Scripted(bson::RawDocumentBuf),
}

impl Batch {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Raw(batch) => batch.as_raw_document().as_bytes(),
            #[cfg(test)]
            Self::Scripted(reply) => reply.as_bytes(),
        }
    }
}

impl Reply {
    pub fn new(batch: RawBatch, reservation: Option<Reservation>) -> Self {
        Self::of(Batch::Raw(batch), reservation)
    }

    /// The reply of a server that a test scripts.
    #[cfg(test)]
    pub(crate) fn scripted(reply: &bson::Document) -> Self {
        let reply = bson::RawDocumentBuf::try_from(reply).expect("a reply is BSON");
        Self::of(Batch::Scripted(reply), None)
    }

    fn of(batch: Batch, mut reservation: Option<Reservation>) -> Self {
        if let Some(reservation) = &mut reservation {
            reservation.resize(batch.as_bytes().len());
        }
        Self {
            batch,
            repeated: 0,
            is_withheld: false,
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

    /// Leaves out the leading events up to `last`, and says how many: a stream that was opened again
    /// after an error has been seen to go back (NODE-7042 in the drivers' tracker). Only tokens whose
    /// order can be told are compared.
    pub fn leave_out_until(&mut self, last: &ResumeToken) -> usize {
        let repeated = match self.events() {
            Ok(events) => leading_repeats(events.map_while(Result::ok), last),
            Err(_) => 0,
        };
        self.repeated += repeated;
        repeated
    }

    /// Leaves out what was read before in a stream that was opened at `time`, the cluster time of `last`, and
    /// says how many events that were. Where tokens cannot be sorted, that is all up to `last` itself; where
    /// `last` is not among the events of that time, nothing, and some may come again.
    pub fn leave_out_through(&mut self, last: &ResumeToken, time: ClusterTime) -> usize {
        let sorted = self.leave_out_until(last);
        if sorted > 0 {
            return sorted;
        }
        let found = match self.events() {
            Ok(events) => place_of(events.map_while(Result::ok), last, time),
            Err(_) => None,
        };
        let repeated = found.map_or(0, |place| place + 1);
        self.repeated += repeated;
        repeated
    }

    /// The events, each one whole BSON document.
    ///
    /// # Errors
    /// [`Malformed`] when the reply is not of a cursor's shape.
    pub fn events(
        &self,
    ) -> Result<impl Iterator<Item = Result<&[u8], Malformed>> + use<'_>, Malformed> {
        Ok(events_of(self.bytes())?.skip(self.repeated))
    }

    /// Whether its post-batch token, where it has one, is a token.
    ///
    /// # Errors
    /// [`Malformed`] where it is not.
    pub fn check_post_batch_token(&self) -> Result<(), Malformed> {
        match raw::find(cursor_of(self.bytes())?, "postBatchResumeToken")? {
            Some(token) if token.as_document().is_none_or(|token| token.len() <= 5) => {
                Err(nothing_of(self.bytes()))
            }
            _ => Ok(()),
        }
    }

    /// The token of the first event; none in an empty reply.
    pub fn first_event_token(&self) -> Option<ResumeToken> {
        let first = self.events().ok()?.next()?.ok()?;
        ResumeToken::from_bytes(raw::find(first, "_id").ok()??.as_document()?)
    }

    /// Where the stream stands after this reply, also when it is empty.
    pub fn post_batch_token(&self) -> Option<ResumeToken> {
        if self.is_withheld {
            return None;
        }
        let token = raw::find(cursor_of(self.bytes()).ok()?, "postBatchResumeToken").ok()??;
        ResumeToken::from_bytes(token.as_document()?)
    }

    /// Whether the server has no more for this cursor.
    pub fn is_exhausted(&self) -> bool {
        let id = cursor_of(self.bytes()).and_then(|cursor| raw::find(cursor, "id"));
        matches!(id, Ok(Some(id)) if id.as_i64() == Some(0))
    }

    /// Whether its post-batch token is not to be used.
    pub fn is_withheld(&self) -> bool {
        self.is_withheld
    }

    /// Keeps the post-batch token from being used: it lies before what was read.
    pub fn withhold_post_batch_token(&mut self) {
        self.is_withheld = true;
    }

    /// The server's clock at the end of this reply, in seconds, where it says so.
    pub fn operation_time(&self) -> Option<u32> {
        self.operation_cluster_time().map(|time| time.seconds)
    }

    /// The same with its increment.
    pub fn operation_cluster_time(&self) -> Option<ClusterTime> {
        let element = raw::find(self.bytes(), "operationTime").ok()??;
        let time = element.as_timestamp();
        time.map(|(seconds, increment)| ClusterTime::new(seconds, increment))
    }

    fn bytes(&self) -> &[u8] {
        self.batch.as_bytes()
    }
}

fn nothing_of(reply: &[u8]) -> Malformed {
    Malformed {
        offset: 0,
        len: reply.len(),
    }
}

fn cursor_of(reply: &[u8]) -> Result<&[u8], Malformed> {
    let cursor = raw::find(reply, "cursor")?;
    let cursor = cursor.and_then(|element| element.as_document());
    cursor.ok_or(nothing_of(reply))
}

/// The events of a reply, which may be any bytes.
pub(crate) fn events_of(
    reply: &[u8],
) -> Result<impl Iterator<Item = Result<&[u8], Malformed>>, Malformed> {
    let malformed = nothing_of(reply);
    let cursor = cursor_of(reply)?;
    let events = match raw::find(cursor, "nextBatch")? {
        Some(batch) => Some(batch),
        None => raw::find(cursor, "firstBatch")?,
    };
    let array = events.and_then(|e| e.as_array()).ok_or(malformed)?;
    Ok(raw::walk(array)?.map(move |e| e?.as_document().ok_or(malformed)))
}

fn leading_repeats<'a>(events: impl Iterator<Item = &'a [u8]>, last: &ResumeToken) -> usize {
    events
        .take_while(|event| {
            let token = raw::find(event, "_id").ok().flatten();
            let token = token.and_then(|e| ResumeToken::from_bytes(e.as_document()?));
            let order = token.and_then(|token| token.stream_order(last));
            matches!(order, Some(Ordering::Less | Ordering::Equal))
        })
        .count()
}

/// Where `last` is among the leading events that are not later than `time`.
fn place_of<'a>(
    events: impl Iterator<Item = &'a [u8]>,
    last: &ResumeToken,
    time: ClusterTime,
) -> Option<usize> {
    let events = events.map_while(|event| Event::parse(event).ok());
    events
        .take_while(|event| event.cluster_time.is_some_and(|then| then <= time))
        .position(|event| event.token == last.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    fn repeats(events: &[&str], last: &str) -> usize {
        let events: Vec<RawDocumentBuf> = events
            .iter()
            .map(|data| RawDocumentBuf::try_from(&doc! {"_id": {"_data": *data}}).unwrap())
            .collect();
        let events = events.iter().map(|event| event.as_bytes());
        leading_repeats(events, &ResumeToken::from_data(last))
    }

    const TOKENS: [&str; 3] = [
        "8265A1B2C3000000012B0229296E04",
        "8265A1B2C3000000022B0229296E04",
        "8265A1B2C4000000012B0229296E04",
    ];

    #[test]
    fn events_up_to_the_last_one_read_are_left_out() {
        assert_eq!(repeats(&TOKENS, TOKENS[1]), 2);
        assert_eq!(repeats(&TOKENS[1..], TOKENS[0]), 0);
        assert_eq!(repeats(&TOKENS, TOKENS[2]), 3);
    }

    #[test]
    fn a_token_that_cannot_be_sorted_is_found_among_the_events_of_its_time() {
        let event = |data: &str, seconds: u32| {
            let time = bson::Timestamp {
                time: seconds,
                increment: 1,
            };
            let event = doc! {"_id": {"_data": data}, "operationType": "drop", "clusterTime": time};
            RawDocumentBuf::try_from(&event).unwrap()
        };
        let events = [event("2B0A", 7), event("2B0B", 7), event("2B0C", 8)];
        let place = |data: &str| {
            let events = events.iter().map(|event| event.as_bytes());
            place_of(
                events,
                &ResumeToken::from_data(data),
                ClusterTime::new(7, 1),
            )
        };
        assert_eq!(place("2B0B"), Some(1));
        assert_eq!(place("2B0C"), None, "an event of a later time");
        assert_eq!(place("2B0D"), None, "hidden");
    }

    #[test]
    fn tokens_whose_order_cannot_be_told_are_never_left_out() {
        assert_eq!(repeats(&TOKENS, "2B00000012"), 0);
        assert_eq!(repeats(&["2B00000011", "2B00000012"], TOKENS[2]), 0);
    }
}
