//! CloudEvents 1.0, by its binding for Kafka: structured (all in the value) or binary (attributes as headers). The data
//! is the envelope of Tailwater's own format.

use crate::change::event::{Event, Operation};
use crate::change::position::Seq;
use crate::change::raw::{self, Element};
use crate::change::transactions::Place;
use crate::config;
use crate::encode::envelope::Shape;
use crate::encode::headers::{TOMBSTONE_SUFFIX, write_id};
use crate::encode::json::{EncodeError, JsonMode, Stats, write_string, write_timestamp};
use crate::encode::{envelope, key};
use std::fmt::Write as _;
use std::ops::Range;

const STRUCTURED: &[u8] = b"application/cloudevents+json; charset=UTF-8";
const JSON: &str = "application/json";

/// How many digits `sequence` has, so that texts compare as their numbers do.
const DIGITS: usize = 20;

/// The settings of one stream, and the attributes of the event in hand.
#[derive(Debug)]
pub struct CloudEvents {
    settings: config::CloudEvents,
    mode: JsonMode,
    shape: Shape,
    source: String,
    /// What the data is, in binary mode.
    data: &'static str,
    text: Vec<u8>,
    /// Where in `text` each attribute is, in the order of [`NAMES`].
    at: [Range<usize>; NAMES.len()],
}

/// The attributes that events differ in: the name in a value, and as a header.
const NAMES: [(&str, &str); 6] = [
    ("id", "ce_id"),
    ("type", "ce_type"),
    ("subject", "ce_subject"),
    ("time", "ce_time"),
    ("sequence", "ce_sequence"),
    ("traceparent", "ce_traceparent"),
];

/// The headers of one event.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    of: &'a CloudEvents,
    is_tombstone: bool,
}

impl CloudEvents {
    pub(super) fn new(
        stream: &str,
        mode: JsonMode,
        shape: Shape,
        settings: config::CloudEvents,
    ) -> Self {
        let mut source = "/tailwater/".to_owned();
        for byte in stream.bytes() {
            match byte.is_ascii_alphanumeric() || b"-._~:*".contains(&byte) {
                true => source.push(char::from(byte)),
                false => {
                    // Writing to a string cannot fail.
                    let _ = write!(source, "%{byte:02X}");
                }
            }
        }
        Self {
            settings,
            mode,
            shape,
            source,
            data: JSON,
            text: Vec::new(),
            at: Default::default(),
        }
    }

    /// As [`Shape::place`].
    pub(super) fn place(&mut self, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        self.shape.place(self.mode, place)
    }

    /// The same whose data is written by somebody else and is of this type.
    pub(super) fn of(self, data: &'static str) -> Self {
        Self { data, ..self }
    }

    pub(super) fn write(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Stats, EncodeError> {
        key::write(key, event.database, event.collection, event.document_id())?;
        self.attribute(event, seq);
        if self.settings.is_binary {
            return envelope::write_as(value, self.mode, &self.shape, event);
        }
        value.extend_from_slice(br#"{"specversion":"1.0","source":"#);
        write_string(value, self.source.as_bytes());
        for ((name, _), at) in NAMES.iter().zip(&self.at) {
            if !at.is_empty() {
                value.extend_from_slice(format!(r#","{name}":"#).as_bytes());
                write_string(value, &self.text[at.clone()]);
            }
        }
        value.extend_from_slice(br#","datacontenttype":"application/json","data":"#);
        let stats = envelope::write_as(value, self.mode, &self.shape, event)?;
        value.push(b'}');
        Ok(stats)
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            of: self,
            is_tombstone: false,
        }
    }

    /// Takes the attributes of an event.
    pub(super) fn attribute(&mut self, event: &Event<'_>, seq: Seq) {
        let text = &mut self.text;
        text.clear();
        let mut starts = [0; NAMES.len()];
        // The suffix of a tombstone stands behind the id, so that it is there when it is wanted.
        write_id(text, event);
        let id = 0..text.len();
        text.extend_from_slice(TOMBSTONE_SUFFIX);
        starts[1] = text.len();
        text.extend_from_slice(b"tailwater.mongodb.");
        text.extend_from_slice(event.operation_name.as_bytes());
        starts[2] = text.len();
        text.extend_from_slice(event.database.as_bytes());
        if !event.collection.is_empty() {
            text.push(b'.');
            text.extend_from_slice(event.collection.as_bytes());
        }
        starts[3] = text.len();
        if let Some(millis) = event.timestamp_millis() {
            write_timestamp(text, millis);
        }
        starts[4] = text.len();
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(seq.0).as_bytes();
        text.resize(starts[4] + DIGITS - digits.len(), b'0');
        text.extend_from_slice(digits);
        starts[5] = text.len();
        if let Some(trace) = trace(event, &self.settings.traceparent) {
            text.extend_from_slice(trace);
        }
        for (index, at) in self.at.iter_mut().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(text.len());
            *at = starts[index]..end;
        }
        self.at[0] = id;
    }
}

impl<'a> Attributes<'a> {
    /// The same for the tombstone that follows a delete.
    pub(super) fn of_tombstone(self) -> Self {
        Self {
            is_tombstone: true,
            ..self
        }
    }

    /// Names and values of headers. A tombstone of the structured mode has none: it holds no event.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, &'a [u8])> {
        let Self { of, is_tombstone } = self;
        let is_binary = of.settings.is_binary;
        let kind = match is_binary {
            true => of.data.as_bytes(),
            false => STRUCTURED,
        };
        let of_all = [
            ("content-type", kind),
            ("ce_specversion", b"1.0"),
            ("ce_source", of.source.as_bytes()),
        ];
        let of_all = of_all.into_iter().take(match (is_binary, is_tombstone) {
            (true, _) => 3,
            (false, false) => 1,
            (false, true) => 0,
        });
        let own = NAMES.iter().zip(&of.at).enumerate();
        let own = own.filter(move |(_, (_, at))| is_binary && !at.is_empty());
        of_all.chain(own.map(move |(index, ((_, name), at))| {
            let suffix = match index == 0 && is_tombstone {
                true => TOMBSTONE_SUFFIX.len(),
                false => 0,
            };
            (*name, &of.text[at.start..at.end + suffix])
        }))
    }
}

/// The trace context that a document carries, if it is one.
fn trace<'a>(event: &Event<'a>, path: &[String]) -> Option<&'a [u8]> {
    let (last, parents) = path.split_last()?;
    let document = match event.operation {
        Operation::Delete => event.full_document_before_change,
        _ => event.full_document,
    };
    let mut document = document?.as_document()?;
    for name in parents {
        document = raw::find(document, name).ok()??.as_document()?;
    }
    let found: Element<'a> = raw::find(document, last).ok()??;
    let text = found.string_bytes()?;
    is_trace(text).then_some(text)
}

/// Whether a text is a W3C `traceparent`: whoever reads it must not fail on it.
fn is_trace(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let is_zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let mut parts = text.split(|byte| *byte == b'-');
    let mut part = |len: usize| {
        let part = parts.next().unwrap_or_default();
        (part.len() == len && is_hex(part)).then_some(part)
    };
    let (version, trace, parent, flags) = (part(2), part(32), part(16), part(2));
    version.is_some_and(|version| version != b"ff")
        && trace.is_some_and(|trace| !is_zero(trace))
        && parent.is_some_and(|parent| !is_zero(parent))
        && flags.is_some()
        && parts.next().is_none()
}
