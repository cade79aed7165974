//! `SERIALIZATION`: values with a schema in a registry, in Confluent's framing (a zero, the schema's number in four
//! bytes, and the value) or with a header that says the schema.
//!
//! A value is written straight from BSON by the schema that is known. Where it does not fit, encoding ends with
//! [`EncodeError::Unsettled`](crate::encode::json::EncodeError::Unsettled), and the pump has the schema
//! [settled](Serialized::settle) with the registry before it encodes the event again. So nothing waits, and nothing
//! is asked, as long as documents are like those before.

mod avro;
mod frame;
mod json_schema;
mod kept;
mod language;
mod of_events;
mod of_format;
mod protobuf;
pub mod registry;
#[cfg(test)]
mod samples;
mod schema;
mod shape;
mod subject;
mod text;

pub use avro::long as avro_long;
pub use frame::{Frame, Half};
pub use of_events::{Describe, OfEvents};
pub use of_format::{Named, OfFormat};
pub use schema::Place;
pub use subject::Unsettled;

use crate::change::event::{Event, Operation};
use crate::config::{Format, Schemas};
use crate::encode::format::{Body, Written};
use crate::encode::json::{EncodeError, JsonMode, Stats};
use bson::Document;
use futures_util::future::BoxFuture;
use language::Writer;
use registry::Registry;
use schema::{Layout, Schema};
use std::collections::HashMap;
use subject::Subject;

/// Says what a collection's validator has under `$jsonSchema`.
pub trait Validators: Sync {
    fn of<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Option<Document>>;
}

/// For where schemas come from documents alone.
pub struct NoValidators;

impl Validators for NoValidators {
    fn of<'a>(&'a self, _place: &'a Place) -> BoxFuture<'a, Option<Document>> {
        Box::pin(std::future::ready(None))
    }
}

/// What has to know schemas before an event can be written.
#[derive(Debug)]
pub enum Schematic<'a> {
    /// Schemas that follow the documents.
    OfDocuments(&'a mut Serialized),
    /// Those of a format, whatever documents are like.
    OfFormat(&'a mut OfFormat),
    /// Those that each event has of its own.
    OfEvents(&'a mut OfEvents),
}

impl Schematic<'_> {
    /// Sees to the schemas that an event's record needs, which goes to `topic`. It may ask the registry, once; when
    /// it is tried again is the caller's.
    ///
    /// # Errors
    /// [`Unsettled`].
    pub async fn settle(
        &mut self,
        event: &Event<'_>,
        topic: &str,
        validators: &dyn Validators,
    ) -> Result<(), Unsettled> {
        match self {
            Self::OfDocuments(values) => values.settle(event, topic, validators).await,
            Self::OfFormat(schemas) => schemas.settle(event, topic).await,
            Self::OfEvents(schemas) => schemas.settle(event, topic).await,
        }
    }
}

/// Writes the values of one stream.
#[derive(Debug)]
pub struct Serialized {
    settings: Schemas,
    layout: Layout,
    mode: JsonMode,
    /// Made when it is needed first.
    registry: Option<Registry>,
    subjects: Vec<Subject>,
    /// The subject of an event by its operation and its namespace, on which its topic depends.
    by_event: HashMap<Vec<u8>, usize, foldhash::fast::FixedState>,
    /// Room for what is looked up there.
    lookup: Vec<u8>,
    writer: Writer,
    /// The subject of what was written last.
    last: Option<usize>,
}

impl Serialized {
    pub fn new(settings: Schemas, format: &Format, mode: JsonMode) -> Self {
        Self {
            settings,
            layout: match format {
                Format::Document => Layout::Document,
                _ => Layout::Change,
            },
            mode,
            registry: None,
            subjects: Vec::new(),
            by_event: HashMap::default(),
            lookup: Vec::new(),
            writer: Writer::default(),
            last: None,
        }
    }

    /// Appends the value of an event.
    ///
    /// # Errors
    /// [`EncodeError`]; [`Unsettled`](EncodeError::Unsettled) where no schema is known that it fits.
    pub fn write(&mut self, out: &mut Vec<u8>, event: &Event<'_>) -> Result<Written, EncodeError> {
        self.last = None;
        if self.layout == Layout::Document {
            let document = event.full_document.and_then(|field| field.as_document());
            let body = match (event.operation, document) {
                (Operation::Delete, _) => Body::Tombstone,
                // It is gone by now: the event of that comes, too.
                (_, None) => Body::Nothing,
                (_, Some(_)) => Body::Value,
            };
            if body != Body::Value {
                return Ok(Written {
                    stats: Stats::default(),
                    body,
                });
            }
        }
        self.last = self.subject_of(event);
        let subject = self.last.map(|index| &self.subjects[index]);
        let subject = subject.filter(|subject| !subject.is_due(&self.settings));
        let Some((subject, frame)) = subject.and_then(|it| Some((it, it.frame.as_ref()?))) else {
            return Err(EncodeError::Unsettled);
        };
        out.extend_from_slice(&frame.prefix);
        let stats = self.writer.write(out, &subject.schema, self.mode, event)?;
        Ok(Written {
            stats,
            body: Body::Value,
        })
    }

    /// What the record of what was written last says of its schema; none where it has no value.
    pub fn frame(&self) -> Option<&Frame> {
        let subject = self.last.map(|index| &self.subjects[index]);
        subject.and_then(|subject| subject.frame.as_ref())
    }

    fn subject_of(&mut self, event: &Event<'_>) -> Option<usize> {
        look_up(&mut self.lookup, event);
        self.by_event.get(&self.lookup).copied()
    }

    /// Sees to a schema that the value of an event can be written by, which goes to `topic`. It may ask the registry,
    /// once; when it is tried again is the caller's.
    ///
    /// # Errors
    /// [`Unsettled`].
    pub async fn settle(
        &mut self,
        event: &Event<'_>,
        topic: &str,
        validators: &dyn Validators,
    ) -> Result<(), Unsettled> {
        let registry = Registry::once(&mut self.registry, &self.settings)?;
        let known = self.subject_of(event);
        let index = match known {
            Some(index) => index,
            None => self.find(&registry, event, topic, validators).await?,
        };
        let subject = &mut self.subjects[index];
        subject.settle(&registry, &self.settings, event).await
    }

    /// The subject of an event that is the first of its operation and namespace.
    async fn find(
        &mut self,
        registry: &Registry,
        event: &Event<'_>,
        topic: &str,
        validators: &dyn Validators,
    ) -> Result<usize, Unsettled> {
        let place = Place {
            database: event.database.to_owned(),
            collection: event.collection.to_owned(),
        };
        let kind = self.settings.kind;
        let new = Schema::new(kind, self.layout, place, None);
        let name = subject::name(self.settings.subject, topic, Half::Value, &new.full_name());
        let known = self.subjects.iter().position(|known| known.name == name);
        if let Some(known) = known.map(|index| &self.subjects[index])
            && known.schema.place != new.place
        {
            return Err(Unsettled::Record(format!(
                "the schema of the subject {name} {}",
                schema::of_another(&known.schema.place.name())
            )));
        }
        let index = match known {
            Some(index) => index,
            None => {
                let found = Subject::find(registry, kind, &name, self.layout, &new.place).await?;
                let subject = match found {
                    Some(found) => found,
                    None => {
                        let validator = validators.of(&new.place).await;
                        let schema = Schema::new(kind, self.layout, new.place, validator.as_ref());
                        Subject::begin(&name, schema)
                    }
                };
                self.subjects.push(subject);
                self.subjects.len() - 1
            }
        };
        self.by_event.insert(self.lookup.clone(), index);
        Ok(index)
    }
}

/// What tells apart events whose records may go to different topics.
fn look_up(room: &mut Vec<u8>, event: &Event<'_>) {
    room.clear();
    for part in [event.operation_name, event.database, event.collection] {
        room.extend_from_slice(part.as_bytes());
        room.push(0);
    }
}
