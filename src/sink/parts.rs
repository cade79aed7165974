//! Dead letters: a refused event as records of the dead-letter topic, part by part.
//!
//! The event is held once, as it is written; each part borrows its piece of it. Sizes are exact, so
//! that a dead letter never meets the limit that it was written because of.

use super::dead_letter::Refused;
use crate::change::event::Event;
use crate::config::JsonMode;
use crate::encode::record::HeaderList;
use crate::encode::{headers, json, key};
use crate::error::{Code, Error};
use crate::kafka::produce::Record;
use sha2::{Digest, Sha256};
use std::ffi::CStr;
use std::fmt::Write as _;

/// [`Reason::name`](super::dead_letter::Reason::name).
pub const REASON: &str = "tw-dlq-reason";
/// The reason as a sentence.
pub const DETAIL: &str = "tw-dlq-detail";
/// Which part of the dead letter the record is, and of how many: `1/3`.
pub const PART: &str = "tw-dlq-part";
/// The topic of a job that failed for good: only on dead letters of workers, which are the job's own record.
pub const FROM: &str = "tw-dlq-topic";
/// How many attempts were made at it.
pub const ATTEMPTS: &str = "tw-dlq-attempts";
/// The last answer's status, or the exit code of the program.
pub const STATUS: &str = "tw-dlq-status";
/// The group of the worker.
pub const GROUP: &str = "tw-dlq-group";
/// What all headers begin with that only a dead letter has.
pub const PREFIX: &str = "tw-dlq-";
/// What was too long for the topic and is there as its SHA-256: `key`, `tw-id` or `key,tw-id`.
pub const HASHED: &str = "tw-dlq-hashed";

/// By which rules `FIELDS_*` were applied to the event; only where there are some for its collection.
pub const FIELDS: &str = "tw-dlq-fields";

/// What is assumed of a topic whose `max.message.bytes` may not be read: a little under Kafka's default.
const USUAL_LIMIT: usize = 1_000_000;
/// A part with less of the event than this is not worth its headers, in bytes.
const LEAST_ROOM: usize = 64;

/// The SHA-256 of what was too long, as it stands in its place.
pub fn hashed(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One event on its way to the dead-letter topic.
#[derive(Debug)]
pub struct DeadLetter {
    /// The event whole: canonical Extended JSON, or BSON where that would not give it back.
    body: Vec<u8>,
    key: Vec<u8>,
    /// All but [`PART`].
    headers: Vec<(&'static str, String)>,
    /// Bytes of `body` in each part.
    room: usize,
}

impl DeadLetter {
    /// Writes `refused` for a topic that takes `limit` bytes a record. The key of its record and its
    /// `tw-id` stay where each takes at most a quarter of that, and are hashed otherwise: every part has
    /// both.
    ///
    /// # Errors
    /// [`Code::RecordRefused`] for a topic that has no room for more than the headers.
    pub fn new(refused: &Refused<'_>, topic: &str, limit: Option<usize>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(USUAL_LIMIT);
        let event = refused.event;
        let mut short = Vec::new();
        let mut id = Vec::new();
        headers::write_id(&mut id, event);
        if let Some(listener) = refused.listener {
            headers::write_listener(&mut id, listener);
        }
        // JSON in any case.
        let mut id = String::from_utf8_lossy(&id).into_owned();
        let mut key = key_of(event);
        if key.len() > limit / 4 {
            key = hashed(&key).into_bytes();
            short.push("key");
        }
        if id.len() > limit / 4 {
            id = hashed(id.as_bytes());
            short.push(headers::ID);
        }
        let mut headers = vec![
            (headers::ID, id),
            (headers::SEQ, refused.seq.to_string()),
            (headers::OPERATION, event.operation_name.to_owned()),
            (headers::NAMESPACE, namespace(event)),
            (REASON, refused.reason.name().to_owned()),
            (DETAIL, cut(refused.reason.sentence(), limit / 8)),
        ];
        if let Some(listener) = refused.listener {
            headers.push((headers::LISTENER, listener.id.clone()));
            headers.push((headers::JOB, listener.job.clone()));
        }
        if let Some(rules) = refused.rules {
            headers.push((FIELDS, rules.to_owned()));
        }
        if !short.is_empty() {
            headers.push((HASHED, short.join(",")));
        }
        let mut dead_letter = Self {
            body: body_of(event),
            key,
            headers,
            room: 0,
        };
        match dead_letter.room_within(limit) {
            Some(room) => dead_letter.room = room,
            None => {
                return Err(Error::new(
                    Code::RecordRefused,
                    format!(
                        "the dead letter of the event with tw-seq {} does not fit into the topic {topic}: \
                         beside {} bytes of key and headers, its max.message.bytes of {limit} leaves no \
                         room for the event; raise it, or choose ON_RECORD_ERROR=skip",
                        refused.seq,
                        dead_letter.overhead(),
                    ),
                ));
            }
        }
        Ok(dead_letter)
    }

    /// As [`new`](Self::new), where the topic has refused such a dead letter so many times: each time its parts
    /// are half as large, down to what a topic whose limit may not be read takes.
    ///
    /// # Errors
    /// [`Code::RecordRefused`] when that leaves no room for more than the headers.
    pub fn after_refusals(
        refused: &Refused<'_>,
        topic: &str,
        limit: Option<usize>,
        times: u32,
    ) -> Result<Self, Error> {
        let mut dead_letter = Self::new(refused, topic, limit)?;
        for _ in 0..times {
            dead_letter = Self::new(refused, topic, Some(dead_letter.largest() / 2))?;
        }
        Ok(dead_letter)
    }

    /// Bytes of its largest part, as the topic's limit counts them.
    pub fn largest(&self) -> usize {
        let first = self.part(0);
        first.record(c"", &first.headers()).wire_size()
    }

    /// How much of the body each part takes, where the topic takes `limit` bytes a record.
    fn room_within(&mut self, limit: usize) -> Option<usize> {
        // The more parts there are, the longer are their numbers.
        (1..=10_u32).find_map(|digits| {
            let longest = "9".repeat(digits as usize);
            let label = format!("{longest}/{longest}");
            let part = Part {
                key: &self.key,
                headers: &self.headers,
                value: &[],
                label,
            };
            let headers = part.headers();
            let room = part.record(c"", &headers).room_for_value(limit)?;
            let parts = self.body.len().div_ceil(room.max(1));
            (room >= LEAST_ROOM && parts < 10_usize.pow(digits)).then_some(room)
        })
    }

    /// Bytes of a part without the event.
    fn overhead(&self) -> usize {
        let part = Part {
            key: &self.key,
            headers: &self.headers,
            value: &[],
            label: String::from("1/1"),
        };
        part.record(c"", &part.headers()).wire_size()
    }

    /// How many records it takes.
    pub fn count(&self) -> usize {
        self.body.len().div_ceil(self.room.max(1)).max(1)
    }

    /// The parts in order, each made when it is asked for.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        (0..self.count()).map(|index| self.part(index))
    }

    fn part(&self, index: usize) -> Part<'_> {
        let start = (index * self.room).min(self.body.len());
        let end = (start + self.room).min(self.body.len());
        Part {
            key: &self.key,
            headers: &self.headers,
            value: &self.body[start..end],
            label: format!("{}/{}", index + 1, self.count()),
        }
    }
}

/// One record of a dead dead_letter.
#[derive(Debug)]
pub struct Part<'a> {
    key: &'a [u8],
    headers: &'a [(&'static str, String)],
    value: &'a [u8],
    label: String,
}

impl Part<'_> {
    pub fn headers(&self) -> HeaderList<'_> {
        let own = self.headers.iter();
        let own = own.map(|(name, value)| (*name, value.as_bytes()));
        HeaderList::collect(own.chain([(PART, self.label.as_bytes())]))
    }

    pub fn record<'r>(&'r self, topic: &'r CStr, headers: &'r HeaderList<'r>) -> Record<'r> {
        Record {
            topic,
            partition: None,
            key: self.key,
            is_keyless: false,
            value: Some(self.value),
            timestamp_millis: 0,
            headers: headers.as_slice(),
            more_headers: &[],
        }
    }
}

/// Canonical Extended JSON where it can be read back as the same event. It cannot where strings are not
/// UTF-8, a document looks like a wrapper, or it is nested too deep:
/// then the bytes as they are, which nothing can refuse.
fn body_of(event: &Event<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(event.raw.len() * 2);
    let written = json::write_document(&mut body, JsonMode::Canonical, event.raw);
    if written.is_ok() && json::read_document(&body).is_ok_and(|back| back == event.raw) {
        return body;
    }
    body.clear();
    body.extend_from_slice(event.raw);
    body
}

fn key_of(event: &Event<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    let id = event.document_id();
    if key::write(&mut key, event.database, event.collection, id).is_err() {
        key.clear();
    }
    key
}

fn namespace(event: &Event<'_>) -> String {
    match event.collection {
        "" => event.database.to_owned(),
        collection => format!("{}.{collection}", event.database),
    }
}

/// The text, at most so many bytes of it.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::position::Seq;
    use crate::sink::dead_letter::Reason;
    use bson::{RawDocumentBuf, doc};

    fn event(id: &str, text: usize) -> RawDocumentBuf {
        // A real server's token holds the key, in hexadecimal digits.
        let token = format!("82{}", "ab".repeat(id.len()));
        RawDocumentBuf::try_from(&doc! {
            "_id": {"_data": token}, "operationType": "insert", "ns": {"db": "d", "coll": "c"},
            "documentKey": {"_id": id}, "fullDocument": {"_id": id, "text": "x".repeat(text)},
        })
        .unwrap()
    }

    fn dead_letter(raw: &[u8], limit: Option<usize>) -> Result<DeadLetter, Error> {
        let event = Event::parse(raw).unwrap();
        let reason = Reason::TooLarge {
            bytes: raw.len(),
            limit: limit.unwrap_or_default(),
        };
        let refused = Refused {
            event: &event,
            seq: Seq(1_795_238_189_187_462),
            listener: None,
            reason: &reason,
            rules: None,
        };
        DeadLetter::new(&refused, "dead", limit)
    }

    #[test]
    fn every_part_fits_its_topic_and_together_they_are_the_event() {
        for (limit, key_len, text) in [
            (1_048_588, 5_000, 1_200_000),
            (1_048_588, 1_100_000, 10),
            (1_048_588, 260_000, 3_000_000),
            (20_000, 5_000, 100_000),
            (2_048, 10, 100_000),
            (2_048, 3_000, 100_000),
            (1_024, 3_000, 0),
        ] {
            let raw = event(&"k".repeat(key_len), text);
            let dead_letter = dead_letter(raw.as_bytes(), Some(limit)).unwrap();
            let mut body = Vec::new();
            for (index, part) in dead_letter.parts().enumerate() {
                let headers = part.headers();
                let size = part.record(c"t", &headers).wire_size();
                assert!(size <= limit, "{size} over {limit}");
                // Exact to what the numbers of the parts may take.
                let is_last = index + 1 == dead_letter.count();
                assert!(is_last || size + 16 > limit, "{size} under {limit}");
                body.extend_from_slice(part.value);
            }
            assert_eq!(json::read_document(&body).unwrap(), raw.as_bytes());
        }
    }

    #[test]
    fn what_was_refused_as_too_large_is_halved_until_nothing_is_left_of_it() {
        let raw = event("k", 5_000);
        let parsed = Event::parse(raw.as_bytes()).unwrap();
        let reason = Reason::Broker(rdkafka::error::RDKafkaErrorCode::MessageSizeTooLarge);
        let refused = Refused {
            event: &parsed,
            seq: Seq(7),
            listener: None,
            reason: &reason,
            rules: None,
        };
        let after = |times| DeadLetter::after_refusals(&refused, "dead", None, times);
        let whole = after(0).unwrap();
        assert_eq!(whole.count(), 1);
        let mut before = whole.largest();
        for times in 1..=3 {
            let dead_letter = after(times).unwrap();
            assert!(dead_letter.largest() <= before / 2, "{times}");
            let body: Vec<u8> = dead_letter
                .parts()
                .flat_map(|part| part.value)
                .copied()
                .collect();
            assert_eq!(body, whole.body);
            before = dead_letter.largest();
        }
        assert_eq!(after(9).unwrap_err().code, Code::RecordRefused);
    }

    #[test]
    fn a_key_that_takes_too_much_of_each_part_is_hashed_and_so_is_the_token() {
        let raw = event(&"k".repeat(5_000), 10);
        let kept = dead_letter(raw.as_bytes(), Some(1_048_588)).unwrap();
        assert!(kept.key.starts_with(br#"{"database":"d","#));
        assert!(kept.headers.iter().all(|(name, _)| *name != HASHED));

        let parsed = Event::parse(raw.as_bytes()).unwrap();
        let short = dead_letter(raw.as_bytes(), Some(20_000)).unwrap();
        assert_eq!(short.key, hashed(&key_of(&parsed)).into_bytes());
        assert_eq!(
            short.headers[0].1,
            hashed(parsed.token_data().unwrap().as_bytes())
        );
        assert!(short.headers.contains(&(HASHED, "key,tw-id".to_owned())));
        assert_eq!(
            hashed(b"abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_topic_without_room_beside_the_headers_is_named() {
        let raw = event("k", 10);
        let error = dead_letter(raw.as_bytes(), Some(300)).unwrap_err();
        assert_eq!(error.code, Code::RecordRefused);
        for word in ["dead", "max.message.bytes of 300", "ON_RECORD_ERROR"] {
            assert!(error.detail.contains(word), "{error}");
        }
    }

    #[test]
    fn an_event_that_json_would_not_give_back_is_kept_as_bson() {
        let mut nested = RawDocumentBuf::new();
        for _ in 0..1_100 {
            let inner = std::mem::take(&mut nested);
            nested.append(bson::raw::cstr!("d"), inner);
        }
        let wrapper = doc! {"looks": {"$oid": "65bc9fb6c485f419a7a877fe"}};
        for document in [RawDocumentBuf::try_from(&wrapper).unwrap(), nested] {
            let mut raw = event("k", 10);
            raw.append(bson::raw::cstr!("fullDocumentBeforeChange"), document);
            let dead_letter = dead_letter(raw.as_bytes(), None).unwrap();
            assert_eq!(dead_letter.body, raw.as_bytes());
        }
    }
}
