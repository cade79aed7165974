//! An event's record, encoded into buffers that are used again for the next.

use crate::change::event::Event;
use crate::change::position::Seq;
use crate::change::transactions::Place;
use crate::config::{KeyFormat, RecordTimestamp, StreamSpec};
use crate::encode::format::{Body, Bound, Format, FormatHeaders};
use crate::encode::headers::{self, Headers};
use crate::encode::json::{EncodeError, JsonMode, write_document};
use crate::encode::key;
use crate::encode::serialization::Schematic;
use crate::kafka::produce::{MAX_HEADERS, Record};
use crate::route::ListenerTag;
use std::ffi::CStr;

/// Encodes the events of one stream.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    timestamp: RecordTimestamp,
    key_format: KeyFormat,
    mode: JsonMode,
    /// `EXTRA_HEADERS`, and behind them the transaction of the events that follow.
    more_headers: Vec<(String, String)>,
    /// How many of them are configured.
    configured: usize,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Above this, a buffer is given back after a large event instead of being kept for ever, in bytes.
const KEEP: usize = 4 << 20;

impl Encoder {
    /// That of a stream.
    pub fn of(stream: &StreamSpec) -> Self {
        Self {
            key_format: stream.sink.key_format,
            mode: stream.pipeline.json_mode,
            more_headers: stream.sink.headers.to_vec(),
            configured: stream.sink.headers.len(),
            ..Self::new(Format::of(stream), stream.sink.record_timestamp)
        }
    }

    pub fn new(format: Format, timestamp: RecordTimestamp) -> Self {
        Self {
            format,
            timestamp,
            key_format: KeyFormat::Tailwater,
            mode: JsonMode::Simple,
            more_headers: Vec::new(),
            configured: 0,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// What has to know the schemas of values, where they have any.
    pub fn schemas(&mut self) -> Option<Schematic<'_>> {
        self.format.schemas()
    }

    /// Says where the events that follow stand in their transaction, until something else is said: in the value, or in
    /// headers where that has no place for it.
    ///
    /// # Errors
    /// [`EncodeError`] when what names the transaction is malformed.
    pub fn place(&mut self, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        self.more_headers.truncate(self.configured);
        let is_in_value = self.format.place(place)?;
        if let Some(place) = place
            && !is_in_value
        {
            let mut lsid = Vec::new();
            write_document(&mut lsid, self.mode, place.id.lsid)?;
            let lsid = String::from_utf8_lossy(&lsid).into_owned();
            self.more_headers.extend(
                [
                    (headers::TRANSACTION_LSID, lsid),
                    (headers::TRANSACTION_NUMBER, place.id.number.to_string()),
                    (headers::TRANSACTION_ORDER, place.order.to_string()),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            );
        }
        Ok(())
    }

    /// Encodes key, value and headers of an event.
    ///
    /// # Errors
    /// [`EncodeError`]: the event can have no record.
    pub fn encode<'a>(
        &'a mut self,
        event: &Event<'a>,
        seq: Seq,
    ) -> Result<Encoded<'a>, EncodeError> {
        self.key.clear();
        self.value.clear();
        if self.value.capacity() > KEEP {
            self.value.shrink_to(KEEP);
        }
        let written = self
            .format
            .write(event, seq, &mut self.key, &mut self.value)?;
        if self.key_format != KeyFormat::Tailwater {
            key::rewrite(&mut self.key, self.key_format, event)?;
        }
        Ok(Encoded {
            key: &self.key,
            is_keyless: self.key_format == KeyFormat::None,
            value: &self.value,
            timestamp_millis: match self.timestamp {
                RecordTimestamp::Change => event.timestamp_millis().unwrap_or(0),
                RecordTimestamp::Now => 0,
            },
            headers: self.format.headers(event, seq),
            more_headers: &self.more_headers,
            body: written.body,
            replaced: written.stats.replaced,
        })
    }

    /// Encodes a record that says where a transaction begins or ends, beside an event of this time.
    ///
    /// # Errors
    /// [`EncodeError`]; [`Unsettled`](EncodeError::Unsettled) where the registry has to be asked.
    pub fn bound(
        &mut self,
        bound: &Bound<'_>,
        event_millis: Option<i64>,
    ) -> Result<Encoded<'_>, EncodeError> {
        self.key.clear();
        self.value.clear();
        self.format
            .write_bound(bound, &mut self.key, &mut self.value)?;
        Ok(Encoded {
            key: &self.key,
            is_keyless: false,
            value: &self.value,
            timestamp_millis: match self.timestamp {
                RecordTimestamp::Change => event_millis.unwrap_or(0),
                RecordTimestamp::Now => 0,
            },
            headers: self.format.bound_headers(),
            more_headers: &self.more_headers[..self.configured],
            body: Body::Value,
            replaced: 0,
        })
    }
}

/// The encoders of one stream, by whom a record is for.
#[derive(Debug)]
pub struct Encoders {
    of_topics: Encoder,
    /// That of listeners, where their records have another format than those of the configuration's topics: workers
    /// read them.
    of_listeners: Option<Encoder>,
}

impl Encoders {
    /// Those of a stream.
    pub fn of(stream: &StreamSpec) -> Self {
        let is_needed = stream.source.listeners.is_some() && !stream.sink.is_usual();
        let timestamp = stream.sink.record_timestamp;
        Self {
            of_topics: Encoder::of(stream),
            of_listeners: is_needed.then(|| Encoder::new(Format::of_listeners(stream), timestamp)),
        }
    }

    /// The encoder of a record for a listener, or for the configuration's topics.
    pub fn one(&mut self, is_for_listener: bool) -> &mut Encoder {
        match &mut self.of_listeners {
            Some(encoder) if is_for_listener => encoder,
            _ => &mut self.of_topics,
        }
    }

    /// As [`Encoder::place`], for whomever records are.
    ///
    /// # Errors
    /// As there.
    pub fn place(&mut self, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        if let Some(of_listeners) = &mut self.of_listeners {
            of_listeners.place(place)?;
        }
        self.of_topics.place(place)
    }

    /// As [`Encoder::bound`].
    ///
    /// # Errors
    /// As there.
    pub fn bound(
        &mut self,
        bound: &Bound<'_>,
        event_millis: Option<i64>,
    ) -> Result<Encoded<'_>, EncodeError> {
        self.of_topics.bound(bound, event_millis)
    }

    /// What has to know the schemas of records of transactions, where they have any.
    pub fn bound_schemas(&mut self) -> Option<Schematic<'_>> {
        self.of_topics.format.bound_schemas()
    }

    /// What has to know the schemas of the configuration's own topics, where they have any.
    pub fn schemas(&mut self) -> Option<Schematic<'_>> {
        self.of_topics.schemas()
    }

    /// Encodes an event once for each format that somebody wants it in.
    pub fn encode<'a>(
        &'a mut self,
        event: &Event<'a>,
        seq: Seq,
        mut are_for_listeners: impl Iterator<Item = bool> + Clone,
    ) -> InFormats<'a> {
        let Some(of_listeners) = &mut self.of_listeners else {
            return InFormats::One(self.of_topics.encode(event, seq));
        };
        match (
            are_for_listeners.clone().any(|is| is),
            are_for_listeners.any(|is| !is),
        ) {
            (true, true) => InFormats::Both {
                of_listeners: of_listeners.encode(event, seq),
                of_topics: self.of_topics.encode(event, seq),
            },
            (true, false) => InFormats::One(of_listeners.encode(event, seq)),
            (false, _) => InFormats::One(self.of_topics.encode(event, seq)),
        }
    }
}

type Outcome<'a> = Result<Encoded<'a>, EncodeError>;

/// An event in each format that somebody wants it in.
pub enum InFormats<'a> {
    /// In the same one for all.
    One(Outcome<'a>),
    Both {
        of_listeners: Outcome<'a>,
        of_topics: Outcome<'a>,
    },
}

impl<'a> InFormats<'a> {
    /// For a listener, or for the configuration's topics.
    pub fn one(&self, is_for_listener: bool) -> &Outcome<'a> {
        match self {
            Self::Both { of_topics, .. } if !is_for_listener => of_topics,
            Self::Both {
                of_listeners: one, ..
            }
            | Self::One(one) => one,
        }
    }

    /// Whether the registry has to be asked before the event can be had for the configuration's topics.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        matches!(self.one(false), Err(EncodeError::Unsettled))
    }

    /// How many sequences were not UTF-8 and became U+FFFD.
    pub fn replaced(&self) -> u64 {
        self.one(true).as_ref().map_or(0, Encoded::replaced)
    }
}

/// An encoded event, borrowed from the [`Encoder`].
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    key: &'a [u8],
    is_keyless: bool,
    value: &'a [u8],
    timestamp_millis: i64,
    headers: FormatHeaders<'a>,
    more_headers: &'a [(String, String)],
    body: Body,
    replaced: u64,
}

/// Headers as the sink takes them.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderList<'a> {
    list: [(&'a str, &'a [u8]); MAX_HEADERS],
    len: usize,
}

impl<'a> HeaderList<'a> {
    /// The headers in order; what is beyond [`MAX_HEADERS`] is cut.
    pub fn collect(headers: impl Iterator<Item = (&'static str, &'a [u8])>) -> Self {
        let mut collected = Self {
            list: [("", &[]); MAX_HEADERS],
            len: 0,
        };
        collected.extend(headers);
        collected
    }

    /// Those of Tailwater's own records.
    #[inline]
    pub fn of_own(headers: &Headers<'a>) -> Self {
        let mut list = Self::collect(headers.iter());
        // Seldom, and not worth asking for with each header.
        if let Some(of_target) = headers.of_target() {
            list.extend(of_target);
        }
        list
    }

    pub(super) fn extend(&mut self, headers: impl Iterator<Item = (&'static str, &'a [u8])>) {
        for (slot, header) in self.list[self.len..].iter_mut().zip(headers) {
            *slot = header;
            self.len += 1;
        }
    }

    pub fn as_slice(&self) -> &[(&'a str, &'a [u8])] {
        &self.list[..self.len]
    }
}

impl<'a> Encoded<'a> {
    /// How many sequences of the value were not UTF-8 and became U+FFFD.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Whether the event makes a record at all.
    pub fn is_record(&self) -> bool {
        self.body != Body::Nothing
    }

    /// The same record for a listener, whose `tw-id` is written to `id`.
    #[must_use]
    pub fn of_listener(self, listener: &'a ListenerTag, id: &'a mut Vec<u8>) -> Self {
        Self {
            headers: self.headers.of_listener(listener, id),
            ..self
        }
    }

    pub fn headers(&self) -> HeaderList<'a> {
        self.headers.list()
    }

    /// The headers of the tombstone that follows a delete.
    pub fn tombstone_headers(&self) -> HeaderList<'a> {
        self.headers.of_tombstone().list()
    }

    pub fn record<'r>(&'r self, topic: &'r CStr, headers: &'r HeaderList<'r>) -> Record<'r> {
        Record {
            topic,
            partition: None,
            key: self.key,
            is_keyless: self.is_keyless,
            value: (self.body == Body::Value).then_some(self.value),
            timestamp_millis: self.timestamp_millis,
            headers: headers.as_slice(),
            more_headers: self.more_headers,
        }
    }
}
