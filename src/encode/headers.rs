//! The record's headers: who it is, where it stands in the stream, what happened where and when.

use super::json::{JsonMode, write_document};
use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::kafka::produce::MAX_HEADERS;
use crate::route::ListenerTag;

/// The change's identity: the resume token's `_data`, the same on every redelivery.
pub const ID: &str = "tw-id";
/// The event's number in its stream, in decimal digits; grows with each event.
pub const SEQ: &str = "tw-seq";
/// The server's `operationType`.
pub const OPERATION: &str = "tw-op";
/// `database.collection`, or only the database.
pub const NAMESPACE: &str = "tw-ns";
/// The change's time in milliseconds since the Unix epoch, in decimal digits.
pub const TIMESTAMP: &str = "tw-ts";
/// The stream id.
pub const STREAM: &str = "tw-stream";
/// The `_id` of the listener that the record is for; not on records of the configuration's own topics.
pub const LISTENER: &str = "tw-listener";
/// The listener's `jobName`.
pub const JOB: &str = "tw-job";
/// The listener's `priority`, where it has one.
pub const PRIORITY: &str = "tw-priority";
/// The id of the snapshot that the row is of; only on rows of snapshots.
pub const SNAPSHOT: &str = "tw-snapshot";

/// The session of the event's transaction; this and the next two only with `TRANSACTION_METADATA`, where the value has no
/// place for them.
pub const TRANSACTION_LSID: &str = "tw-txn-lsid";
/// The transaction's number in its session.
pub const TRANSACTION_NUMBER: &str = "tw-txn-number";
/// The event's number in its transaction, from 1.
pub const TRANSACTION_ORDER: &str = "tw-txn-order";

/// What a tombstone's `tw-id` ends with: it is a record of its own beside the delete's.
pub const TOMBSTONE_SUFFIX: &[u8] = b"-t";

/// What stands between the id of a snapshot and that of a row in the `tw-id` of the row.
pub const ROW_SEPARATOR: u8 = b'/';

/// How many headers each record has at most.
const COUNT: usize = 6;
/// How many more a record for a listener has at most; a row of a snapshot, which is for none, has one more.
const OF_LISTENER: usize = 3;
/// One more is that of a replay.
const _: () = assert!(COUNT + OF_LISTENER < MAX_HEADERS);

/// The headers of one event, borrowed from it and from a [`Scratch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    /// The token with the tombstone's suffix.
    tombstone_id: &'a [u8],
    is_tombstone: bool,
    seq: &'a [u8],
    operation: &'a [u8],
    namespace: &'a [u8],
    timestamp: &'a [u8],
    stream: &'a [u8],
    is_row: bool,
    listener: Option<&'a ListenerTag>,
}

impl<'a> Headers<'a> {
    /// The same headers for the tombstone that follows a delete.
    #[must_use]
    pub fn of_tombstone(self) -> Self {
        Self {
            is_tombstone: true,
            ..self
        }
    }

    /// The same headers for a listener. Its record's `tw-id`, which is one of its own, is written to `id`.
    #[must_use]
    pub fn of_listener(self, listener: &'a ListenerTag, id: &'a mut Vec<u8>) -> Self {
        id.clear();
        let own = self.tombstone_id.len() - TOMBSTONE_SUFFIX.len();
        id.extend_from_slice(&self.tombstone_id[..own]);
        write_listener(id, listener);
        id.extend_from_slice(TOMBSTONE_SUFFIX);
        Self {
            tombstone_id: id,
            listener: Some(listener),
            ..self
        }
    }

    /// The value of `tw-id`.
    pub fn id(&self) -> &'a [u8] {
        let suffix = if self.is_tombstone {
            0
        } else {
            TOMBSTONE_SUFFIX.len()
        };
        &self.tombstone_id[..self.tombstone_id.len() - suffix]
    }

    /// Names and values that each record has, in a fixed order. A change without a time has no `tw-ts`.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let all: [_; COUNT] = [
            (ID, self.id()),
            (SEQ, self.seq),
            (OPERATION, self.operation),
            (NAMESPACE, self.namespace),
            (TIMESTAMP, self.timestamp),
            (STREAM, self.stream),
        ];
        all.into_iter()
            .filter(|(name, value)| *name != TIMESTAMP || !value.is_empty())
    }

    /// What a listener's record or a row of a snapshot has beside them; none on records of changes in the
    /// configuration's own topics.
    pub fn of_target(&self) -> Option<impl Iterator<Item = (&'static str, &'a [u8])>> {
        let all: [_; OF_LISTENER] = match self.listener {
            Some(listener) => {
                let priority = listener.priority.as_deref();
                [
                    Some((LISTENER, listener.id.as_bytes())),
                    Some((JOB, listener.job.as_bytes())),
                    priority.map(|priority| (PRIORITY, priority.as_bytes())),
                ]
            }
            None if self.is_row => {
                let end = memchr::memchr(ROW_SEPARATOR, self.id());
                [Some((SNAPSHOT, &self.id()[..end?])), None, None]
            }
            None => return None,
        };
        Some(all.into_iter().flatten())
    }
}

/// Room for the header values that are not slices of the event; kept and used again.
#[derive(Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
}

impl Scratch {
    /// The headers of `event`, which is number `seq` of `stream`.
    pub fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq, stream: &'a str) -> Headers<'a> {
        let text = &mut self.text;
        text.clear();
        write_id(text, event);
        text.extend_from_slice(TOMBSTONE_SUFFIX);
        let id_end = text.len();
        text.extend_from_slice(itoa::Buffer::new().format(seq.0).as_bytes());
        let seq_end = text.len();
        text.extend_from_slice(event.database.as_bytes());
        if !event.collection.is_empty() {
            text.push(b'.');
            text.extend_from_slice(event.collection.as_bytes());
        }
        let namespace_end = text.len();
        if let Some(millis) = event.timestamp_millis() {
            text.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
        }

        let text = &self.text[..];
        Headers {
            tombstone_id: &text[..id_end],
            is_tombstone: false,
            seq: &text[id_end..seq_end],
            operation: event.operation_name.as_bytes(),
            namespace: &text[seq_end..namespace_end],
            timestamp: &text[namespace_end..],
            stream: stream.as_bytes(),
            is_row: event.operation == Operation::Read,
            listener: None,
        }
    }
}

/// Appends to the value of [`ID`] what tells a listener's record from the others of the event.
pub fn write_listener(out: &mut Vec<u8>, listener: &ListenerTag) {
    out.push(b'-');
    out.extend_from_slice(listener.id.as_bytes());
}

/// Appends the value of [`ID`].
pub fn write_id(out: &mut Vec<u8>, event: &Event<'_>) {
    match event.token_data() {
        Some(data) => out.extend_from_slice(data.as_bytes()),
        // No supported server sends such a token; should one do, its whole document is its identity.
        None => {
            let _ = write_document(out, JsonMode::Relaxed, event.token);
        }
    }
}
