//! The same records through an `AvroConverter`: key and value in Avro, by schemas in a registry.

use super::{
    Bound, Context, DOCUMENT, Description, IDENTITY, UPDATED, VERSION, after, avro_schema, bounds,
    operation, order, snapshot, truncated_array,
};
use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use crate::change::transactions::Place;
use crate::config::{self, Schemas};
use crate::encode::driver::{self, Style};
use crate::encode::json::{EncodeError, Stats};
use crate::encode::serialization::{Frame, OfFormat, avro_long as long};

/// The settings of one stream, its schemas, and room for texts.
#[derive(Debug)]
pub struct DebeziumAvro {
    name: String,
    context: Context,
    pub(in crate::encode::format) schemas: OfFormat,
    text: Vec<u8>,
    /// Those of what says where transactions begin and end.
    pub(in crate::encode::format) of_bounds: OfFormat,
    /// `transaction` of the events that follow.
    block: Vec<u8>,
}

/// Nothing.
const NULL: [u8; 1] = [0];

impl DebeziumAvro {
    pub(in crate::encode::format) fn new(settings: &config::Debezium, schemas: Schemas) -> Self {
        Self {
            name: settings.name.clone(),
            context: Context::new(&settings.name),
            of_bounds: OfFormat::new(
                schemas.clone(),
                settings.name.clone(),
                avro_schema::of_bounds,
            ),
            schemas: OfFormat::new(schemas, settings.name.clone(), avro_schema::of),
            text: Vec::new(),
            block: NULL.to_vec(),
        }
    }

    /// Says where the events that follow stand in their transaction.
    pub(in crate::encode::format) fn place(&mut self, place: Option<&Place<'_>>) -> Outcome {
        self.block = block(place)?;
        Ok(())
    }

    /// Appends key and value of what says where a transaction begins or ends.
    pub(in crate::encode::format) fn write_bound(
        &mut self,
        bound: &Bound<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Outcome {
        let [of_key, of_value] = self.of_bounds.frames(&avro_schema::BOUND)?;
        key.extend_from_slice(&of_key.prefix);
        value.extend_from_slice(&of_value.prefix);
        write_bound(bound, key, value)
    }

    pub(in crate::encode::format) fn write(
        &mut self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Stats, EncodeError> {
        let [of_key, of_value] = self.schemas.frames(event)?;
        key.extend_from_slice(&of_key.prefix);
        value.extend_from_slice(&of_value.prefix);
        write(&mut self.text, &self.name, &self.block, event, key, value)
    }

    /// What all records say, and what says the schemas of the last one.
    pub(in crate::encode::format) fn headers(&self) -> (&Context, Option<&[Frame; 2]>) {
        (&self.context, self.schemas.last())
    }
}

/// Appends the key and the value of a record of transactions, without what says their schemas.
fn write_bound(bound: &Bound<'_>, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Outcome {
    let id = bounds::id(bound.span.id())?;
    string(key, &id);
    string(value, bound.status().as_bytes());
    string(value, &id);
    match bound.collections() {
        None => value.extend_from_slice(&[NULL, NULL].concat()),
        Some(collections) => {
            long(value, 1);
            long(value, bound.span.total as i64);
            long(value, 1);
            // It has one at least.
            long(value, collections.len() as i64);
            for (name, count) in collections {
                long(value, 1);
                string(value, name.as_bytes());
                long(value, *count as i64);
            }
            long(value, 0);
        }
    }
    long(value, bound.millis);
    Ok(())
}

/// The value of the envelope's `transaction`.
fn block(place: Option<&Place<'_>>) -> Result<Vec<u8>, EncodeError> {
    let Some((id, in_span)) = bounds::in_span(place) else {
        return Ok(NULL.to_vec());
    };
    let mut block = Vec::new();
    long(&mut block, 1);
    string(&mut block, &bounds::id(id)?);
    long(&mut block, in_span.total as i64);
    long(&mut block, in_span.of_collection as i64);
    Ok(block)
}

/// Appends the key and the value of an event, without what says their schemas.
fn write(
    text: &mut Vec<u8>,
    name: &str,
    transaction: &[u8],
    event: &Event<'_>,
    key: &mut Vec<u8>,
    value: &mut Vec<u8>,
) -> Result<Stats, EncodeError> {
    let mut writer = Writer {
        out: key,
        text,
        stats: Stats::default(),
    };
    match event.document_id() {
        Some(id) => writer.embedded(IDENTITY, id)?,
        // Of a collection, and those make no records.
        None => writer.string(b""),
    }
    writer.out = value;
    writer.stats = Stats::default();
    writer.envelope(event, name)?;
    let stats = writer.stats;
    value.extend_from_slice(transaction);
    Ok(stats)
}

/// Writes in the order of the fields in the schema. Of what may be null, the null comes first but for
/// `source.snapshot`, which has a default.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    text: &'a mut Vec<u8>,
    stats: Stats,
}

type Outcome = Result<(), EncodeError>;

impl Writer<'_> {
    fn envelope(&mut self, event: &Event<'_>, name: &str) -> Outcome {
        self.image(event.full_document_before_change)?;
        self.image(after(event))?;
        match event.update_description {
            Some(description) if event.operation == Operation::Update => {
                self.long(1);
                self.update_description(&Description::read(description)?)?;
            }
            _ => self.long(0),
        }
        self.source(event, name)?;
        self.long(1);
        self.string(operation(event).as_bytes());
        self.optional(Some(jiff::Timestamp::now().as_millisecond()));
        Ok(())
    }

    fn image(&mut self, document: Option<Element<'_>>) -> Outcome {
        match document.filter(|document| document.as_document().is_some()) {
            Some(document) => {
                self.long(1);
                self.embedded(DOCUMENT, document)
            }
            None => {
                self.long(0);
                Ok(())
            }
        }
    }

    fn update_description(&mut self, description: &Description<'_>) -> Outcome {
        self.list(description.removed, |writer, field| {
            writer.string(field.string_bytes().unwrap_or_default());
            Ok(())
        })?;
        self.document(UPDATED, description.updated)?;
        self.list(description.truncated, |writer, cut| {
            let (field, size) = truncated_array(cut)?;
            writer.string(field);
            writer.long(size);
            Ok(())
        })
    }

    fn source(&mut self, event: &Event<'_>, name: &str) -> Outcome {
        let millis = event.timestamp_millis().unwrap_or_default();
        self.string(VERSION.as_bytes());
        self.string(b"mongodb");
        self.string(name.as_bytes());
        self.long(millis);
        self.long(0);
        self.string(snapshot(event).as_bytes());
        self.string(event.database.as_bytes());
        // The sequence.
        self.long(0);
        self.optional(Some(millis.saturating_mul(1_000)));
        self.optional(Some(millis.saturating_mul(1_000_000)));
        self.string(event.collection.as_bytes());
        self.long(order(event));
        self.document(DOCUMENT, event.lsid)?;
        self.optional(event.txn_number);
        self.optional(event.wall_time);
        Ok(())
    }

    /// The elements of a list; null for none.
    fn list(
        &mut self,
        list: Option<&[u8]>,
        write: impl Fn(&mut Self, Element<'_>) -> Outcome,
    ) -> Outcome {
        let list = list.unwrap_or(&[5, 0, 0, 0, 0]);
        let mut count = 0;
        for element in raw::walk(list)? {
            element?;
            count += 1;
        }
        if count > 0 {
            self.long(1);
            self.long(count);
            for element in raw::walk(list)? {
                write(self, element?)?;
            }
        }
        self.long(0);
        Ok(())
    }

    /// A document's JSON, or null.
    fn document(&mut self, style: Style, document: Option<&[u8]>) -> Outcome {
        match document {
            Some(document) => {
                self.text.clear();
                self.stats += driver::write_document(self.text, style, document)?;
                self.long(1);
                self.texted();
            }
            None => self.long(0),
        }
        Ok(())
    }

    /// A value's JSON.
    fn embedded(&mut self, style: Style, value: Element<'_>) -> Outcome {
        self.text.clear();
        self.stats += driver::write_value(self.text, style, value)?;
        self.texted();
        Ok(())
    }

    fn texted(&mut self) {
        self.long(self.text.len() as i64);
        self.out.extend_from_slice(self.text);
    }

    fn string(&mut self, bytes: &[u8]) {
        string(self.out, bytes);
    }

    fn optional(&mut self, number: Option<i64>) {
        match number {
            Some(number) => {
                self.long(1);
                self.long(number);
            }
            None => self.long(0),
        }
    }

    fn long(&mut self, number: i64) {
        long(self.out, number);
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
