//! What a stream's records look like: key, value and headers of an event. One implementation for each format,
//! chosen once for a stream.

mod cloud_events;
mod debezium;
mod document;
mod mongo_kafka;
mod tailwater;
mod with_schema;

use super::envelope::Shape;
use super::headers::Headers;
use super::json::{EncodeError, JsonMode, Stats};
use super::record::HeaderList;
use super::serialization::{Frame, Schematic};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::change::transactions::Place;
use crate::config::{self, StreamSpec};
use crate::route::ListenerTag;
use cloud_events::{Attributes, CloudEvents};
pub use debezium::Bound;
use debezium::avro::DebeziumAvro;
use debezium::{Context, Debezium};
use document::Document;
use mongo_kafka::MongoKafka;
use mongo_kafka::converted::Converted;
use tailwater::Tailwater;
use with_schema::WithSchema;

/// The format of one stream. An enum and not a trait object: what is called for each event is known when this is
/// compiled.
#[derive(Debug)]
pub enum Format {
    /// The format of `docs/formats.md`.
    Tailwater(Tailwater),
    /// Debezium's connector for MongoDB.
    Debezium(Box<Debezium>),
    /// The same in Avro.
    DebeziumAvro(Box<DebeziumAvro>),
    /// MongoDB's own connector.
    MongoKafka(MongoKafka),
    /// The same through other converters.
    Converted(Box<Converted>),
    /// The document is the value.
    Document(Document),
    CloudEvents(Box<CloudEvents>),
    /// One of these with a schema in a registry.
    WithSchema(Box<WithSchema>),
}

/// What the value of an event's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Value,
    /// It has none: it deletes.
    Tombstone,
    /// There is no record.
    Nothing,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub stats: Stats,
    pub body: Body,
}

impl Written {
    fn value(stats: Stats) -> Self {
        Self {
            stats,
            body: Body::Value,
        }
    }

    fn without_value(body: Body) -> Self {
        Self {
            stats: Stats::default(),
            body,
        }
    }
}

impl Format {
    /// The format that a stream is configured to have.
    pub fn of(stream: &StreamSpec) -> Self {
        let mode = stream.pipeline.json_mode;
        let shape = Shape::of(stream.sink.envelope.as_ref());
        let schemas = stream.sink.serialization.schemas();
        if let config::Format::MongoKafka(settings) = &stream.sink.format {
            return match Converted::new(settings, schemas) {
                Some(format) => Self::Converted(Box::new(format)),
                None => Self::MongoKafka(MongoKafka::new(settings)),
            };
        }
        if let Some(schemas) = schemas {
            if let config::Format::Debezium(settings) = &stream.sink.format {
                let format = DebeziumAvro::new(settings, schemas.clone());
                return Self::DebeziumAvro(Box::new(format));
            }
            let format = WithSchema::new(&stream.id, mode, &stream.sink.format, schemas);
            return Self::WithSchema(Box::new(format));
        }
        match &stream.sink.format {
            config::Format::Tailwater => Self::Tailwater(Tailwater::new(&stream.id, mode, shape)),
            config::Format::Debezium(settings) => {
                Self::Debezium(Box::new(Debezium::new(settings.clone())))
            }
            config::Format::MongoKafka(settings) => Self::MongoKafka(MongoKafka::new(settings)),
            config::Format::Document => Self::Document(Document::new(&stream.id, mode)),
            config::Format::CloudEvents(settings) => {
                let format = CloudEvents::new(&stream.id, mode, shape, settings.clone());
                Self::CloudEvents(Box::new(format))
            }
        }
    }

    /// That of records for listeners, which workers read.
    pub fn of_listeners(stream: &StreamSpec) -> Self {
        Self::tailwater(&stream.id, stream.pipeline.json_mode)
    }

    /// That of `docs/formats.md`, for the stream of this id.
    pub fn tailwater(stream: &str, mode: JsonMode) -> Self {
        Self::Tailwater(Tailwater::new(stream, mode, Shape::default()))
    }

    /// Appends the key and the value of `event`, which has the number `seq`.
    ///
    /// # Errors
    /// [`EncodeError`]: the event can have no record. What was appended means nothing then.
    #[inline]
    pub fn write(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        match self {
            Self::Tailwater(format) => format.write(event, key, value).map(Written::value),
            Self::Debezium(format) => format.write(event, key, value).map(Written::value),
            Self::DebeziumAvro(format) => format.write(event, key, value).map(Written::value),
            Self::MongoKafka(format) => format.write(event, key, value),
            Self::Converted(format) => format.write(event, key, value),
            Self::Document(format) => format.write(event, key, value),
            Self::CloudEvents(format) => format.write(event, seq, key, value).map(Written::value),
            Self::WithSchema(format) => format.write(event, seq, key, value),
        }
    }

    /// Says where the events that follow stand in their transaction, until something else is said; whether values have
    /// a place for that.
    ///
    /// # Errors
    /// [`EncodeError`] when what names the transaction is malformed.
    pub fn place(&mut self, place: Option<&Place<'_>>) -> Result<bool, EncodeError> {
        match self {
            Self::Tailwater(format) => format.place(place)?,
            Self::CloudEvents(format) => format.place(place)?,
            Self::Debezium(format) => format.place(place)?,
            Self::DebeziumAvro(format) => format.place(place)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Appends the key and the value of a record that says where a transaction begins or ends. Formats without such
    /// records append nothing.
    ///
    /// # Errors
    /// [`EncodeError`]; [`Unsettled`](EncodeError::Unsettled) where the registry has to be asked.
    pub fn write_bound(
        &mut self,
        bound: &Bound<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Debezium(format) => format.write_bound(bound, key, value),
            Self::DebeziumAvro(format) => format.write_bound(bound, key, value),
            _ => Ok(()),
        }
    }

    /// The headers of such a record.
    pub fn bound_headers(&self) -> FormatHeaders<'_> {
        match self {
            Self::DebeziumAvro(format) => {
                let frames = format.of_bounds.last();
                let frames = frames.map(|[key, value]| [Some(key), Some(value)]);
                FormatHeaders::OfSchemas(frames.unwrap_or_default())
            }
            _ => FormatHeaders::None,
        }
    }

    /// What has to know the schemas of such records, where they have any.
    pub fn bound_schemas(&mut self) -> Option<Schematic<'_>> {
        match self {
            Self::DebeziumAvro(format) => Some(Schematic::OfFormat(&mut format.of_bounds)),
            _ => None,
        }
    }

    /// What has to know the schemas of values, where they have any.
    pub fn schemas(&mut self) -> Option<Schematic<'_>> {
        match self {
            Self::WithSchema(format) => Some(Schematic::OfDocuments(&mut format.values)),
            Self::DebeziumAvro(format) => Some(Schematic::OfFormat(&mut format.schemas)),
            Self::Converted(format) => format.schemas.as_mut().map(Schematic::OfEvents),
            _ => None,
        }
    }

    /// The headers of `event`, which has the number `seq` and was written last.
    #[inline]
    pub fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq) -> FormatHeaders<'a> {
        match self {
            Self::Tailwater(format) => FormatHeaders::Own(format.headers(event, seq)),
            Self::Document(format) => FormatHeaders::Own(format.headers(event, seq)),
            Self::WithSchema(format) => format.headers(event, seq),
            Self::Debezium(format) => FormatHeaders::Debezium(format.context()),
            Self::DebeziumAvro(format) => {
                let (context, of_schemas) = format.headers();
                let [of_key, of_value] = match of_schemas {
                    Some([key, value]) => [Some(key), Some(value)],
                    None => [None, None],
                };
                FormatHeaders::DebeziumAvro(context, of_key, of_value)
            }
            Self::MongoKafka(_) => FormatHeaders::None,
            Self::Converted(format) => FormatHeaders::OfSchemas(format.frames()),
            Self::CloudEvents(format) => FormatHeaders::CloudEvents(format.attributes(), None),
        }
    }
}

/// The headers of a record, borrowed from the event and the format.
#[derive(Debug, Clone, Copy)]
pub enum FormatHeaders<'a> {
    /// `tw-*`.
    Own(Headers<'a>),
    /// The same, and those that say the schema of the value.
    WithSchema(Headers<'a>, Option<&'a Frame>),
    Debezium(&'a Context),
    /// The same, and what says the schemas of key and value.
    DebeziumAvro(&'a Context, Option<&'a Frame>, Option<&'a Frame>),
    /// Attributes, and what says the schema of the data.
    CloudEvents(Attributes<'a>, Option<&'a Frame>),
    /// What says the schemas of key and value, alone.
    OfSchemas([Option<&'a Frame>; 2]),
    None,
}

impl<'a> FormatHeaders<'a> {
    /// The same headers for a listener. Only records of Tailwater's own format are for listeners.
    #[must_use]
    pub fn of_listener(self, listener: &'a ListenerTag, id: &'a mut Vec<u8>) -> Self {
        match self {
            Self::Own(headers) => Self::Own(headers.of_listener(listener, id)),
            other => other,
        }
    }

    /// The same headers for the tombstone that follows a delete.
    #[must_use]
    pub fn of_tombstone(self) -> Self {
        match self {
            Self::Own(headers) | Self::WithSchema(headers, _) => Self::Own(headers.of_tombstone()),
            Self::DebeziumAvro(context, of_key, _) => Self::DebeziumAvro(context, of_key, None),
            Self::CloudEvents(attributes, _) => Self::CloudEvents(attributes.of_tombstone(), None),
            other => other,
        }
    }

    /// Names and values, in order.
    #[inline]
    pub fn list(&self) -> HeaderList<'a> {
        match self {
            Self::Own(headers) => HeaderList::of_own(headers),
            Self::WithSchema(headers, of_schema) => {
                let mut list = HeaderList::of_own(headers);
                if let Some(frame) = *of_schema {
                    list.extend(frame.headers());
                }
                list
            }
            Self::Debezium(context) => HeaderList::collect(context.iter()),
            Self::DebeziumAvro(context, of_key, of_value) => {
                let mut list = HeaderList::collect(context.iter());
                for frame in [*of_key, *of_value].into_iter().flatten() {
                    list.extend(frame.headers());
                }
                list
            }
            Self::CloudEvents(attributes, of_schema) => {
                let mut list = HeaderList::collect(attributes.iter());
                if let Some(frame) = *of_schema {
                    list.extend(frame.headers());
                }
                list
            }
            Self::OfSchemas(frames) => {
                let mut list = HeaderList::default();
                for frame in frames.iter().copied().flatten() {
                    list.extend(frame.headers());
                }
                list
            }
            Self::None => HeaderList::default(),
        }
    }
}

#[cfg(test)]
mod tests;
