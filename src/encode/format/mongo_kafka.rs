//! The records of MongoDB's own connector (2.0.1), with strings as values: the event as the server sent it.

pub(super) mod converted;

use super::{Body, Written};
use crate::change::event::{Event, Operation};
use crate::config::{self, MongoKafkaJson};
use crate::encode::driver::{self, Mode, Style};
use crate::encode::json::{EncodeError, Stats};

/// The settings of one stream.
#[derive(Debug, Clone)]
pub struct MongoKafka {
    style: Style,
    full_document_only: bool,
    tombstones: bool,
}

impl MongoKafka {
    pub(super) fn new(settings: &config::MongoKafka) -> Self {
        let mode = match settings.json {
            MongoKafkaJson::Default => Mode::Strict,
            MongoKafkaJson::Extended => Mode::Extended,
            MongoKafkaJson::Simplified => Mode::Simplified,
        };
        Self {
            style: Style::plain(mode),
            full_document_only: settings.full_document_only,
            tombstones: settings.tombstones,
        }
    }

    pub(super) fn write(
        &self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        self.key(event, key)?;
        self.value(event, value)
    }

    fn value(&self, event: &Event<'_>, value: &mut Vec<u8>) -> Result<Written, EncodeError> {
        if !self.full_document_only {
            let stats = match event.operation {
                Operation::Read => self.row(event, value)?,
                _ => driver::write_document(value, self.style, event.raw)?,
            };
            return Ok(Written::value(stats));
        }
        match event.full_document {
            Some(field) => match field.as_document() {
                Some(document) => {
                    driver::write_document(value, self.style, document).map(Written::value)
                }
                // It was looked up and is gone.
                None => Ok(Written::without_value(Body::Nothing)),
            },
            // As the connector does, for all events without the field and not only for deletes.
            None if self.tombstones => Ok(Written::without_value(Body::Tombstone)),
            None => Ok(Written::without_value(Body::Nothing)),
        }
    }

    fn key(&self, event: &Event<'_>, key: &mut Vec<u8>) -> Result<(), EncodeError> {
        match event.document_key {
            Some(document_key) => {
                driver::write_document(key, self.style, document_key)?;
            }
            None => {
                key.extend_from_slice(br#"{"_id": "#);
                driver::write_document(key, self.style, event.token)?;
                key.push(b'}');
            }
        }
        Ok(())
    }

    /// A row of a snapshot, as the connector has those of `startup.mode=copy_existing`: as an insert.
    fn row(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<Stats, EncodeError> {
        let mut stats = Stats::default();
        out.extend_from_slice(br#"{"_id": {"_id": "#);
        if let Some(id) = event.document_id() {
            stats += driver::write_value(out, self.style, id)?;
        }
        out.extend_from_slice(
            br#", "copyingData": true}, "operationType": "insert", "ns": {"db": "#,
        );
        stats += driver::write_string(out, event.database.as_bytes());
        out.extend_from_slice(br#", "coll": "#);
        stats += driver::write_string(out, event.collection.as_bytes());
        out.push(b'}');
        if let Some(key) = event.document_key {
            out.extend_from_slice(br#", "documentKey": "#);
            stats += driver::write_document(out, self.style, key)?;
        }
        if let Some(document) = event.full_document {
            out.extend_from_slice(br#", "fullDocument": "#);
            stats += driver::write_value(out, self.style, document)?;
        }
        out.push(b'}');
        Ok(stats)
    }
}
