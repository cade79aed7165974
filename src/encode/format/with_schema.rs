//! Values with a schema in a registry. Keys are those of Tailwater's own format: a key's bytes decide on its partition,
//! and must not change with a schema. Headers are its own, too, or the attributes of CloudEvents.

use super::cloud_events::CloudEvents;
use super::tailwater::Tailwater;
use super::{FormatHeaders, Written};
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::config::{self, SchemaKind, Schemas};
use crate::encode::envelope::Shape;
use crate::encode::json::{EncodeError, JsonMode};
use crate::encode::key;
use crate::encode::serialization::Serialized;

/// The settings of one stream, and the schemas that are known.
#[derive(Debug)]
pub struct WithSchema {
    headers: OfEvent,
    pub(super) values: Serialized,
}

/// What writes the headers of an event.
#[derive(Debug)]
enum OfEvent {
    Own(Tailwater),
    CloudEvents(CloudEvents),
}

impl WithSchema {
    pub(super) fn new(
        stream: &str,
        mode: JsonMode,
        format: &config::Format,
        schemas: &Schemas,
    ) -> Self {
        let headers = match format {
            config::Format::CloudEvents(settings) => {
                let events = CloudEvents::new(stream, mode, Shape::default(), settings.clone());
                OfEvent::CloudEvents(events.of(match schemas.kind {
                    SchemaKind::Avro => "application/avro",
                    SchemaKind::JsonSchema => "application/json",
                    SchemaKind::Protobuf => "application/protobuf",
                }))
            }
            _ => OfEvent::Own(Tailwater::new(stream, mode, Shape::default())),
        };
        Self {
            headers,
            values: Serialized::new(schemas.clone(), format, mode),
        }
    }

    pub(super) fn write(
        &mut self,
        event: &Event<'_>,
        seq: Seq,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        let id = event.document_id();
        key::write(key, event.database, event.collection, id)?;
        if let OfEvent::CloudEvents(events) = &mut self.headers {
            events.attribute(event, seq);
        }
        self.values.write(value, event)
    }

    /// The headers of what was written last, and what says its schema.
    pub(super) fn headers<'a>(&'a mut self, event: &Event<'a>, seq: Seq) -> FormatHeaders<'a> {
        let of_schema = self.values.frame();
        match &mut self.headers {
            OfEvent::Own(own) => FormatHeaders::WithSchema(own.headers(event, seq), of_schema),
            OfEvent::CloudEvents(events) => {
                FormatHeaders::CloudEvents(events.attributes(), of_schema)
            }
        }
    }
}
