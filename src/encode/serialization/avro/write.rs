//! Values in Avro's binary encoding, straight from BSON bytes.

use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use crate::config::SchemaKind;
use crate::encode::json::{self, EncodeError, JsonMode, Stats};
use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{
    Branch, MAX_DEPTH, Record, Shape, Slot, fits, is_null, whole,
};
use crate::encode::serialization::text;
use bson::spec::ElementType;

/// Writes values. It keeps room for what is seen before it is written.
#[derive(Debug, Default)]
pub struct Writer {
    /// The elements of the records that are being written, by field: a record has its fields in the schema's order.
    /// Offsets into the document, since this is kept from event to event.
    found: Vec<Option<Place>>,
    text: Vec<u8>,
}

/// Where an element is in its document.
#[derive(Debug, Clone, Copy)]
struct Place {
    kind: ElementType,
    start: usize,
    len: usize,
}

/// Why a value cannot be written.
pub type Outcome<T = ()> = Result<T, EncodeError>;

impl Writer {
    /// Appends the value of an event.
    ///
    /// # Errors
    /// [`EncodeError::Unsettled`] where it does not fit the schema.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        schema: &Schema,
        mode: JsonMode,
        event: &Event<'_>,
    ) -> Outcome<Stats> {
        self.found.clear();
        let mut writing = Writing {
            out,
            found: &mut self.found,
            text: &mut self.text,
            mode,
            stats: Stats::default(),
        };
        match schema.layout {
            Layout::Change => writing.change(schema, event)?,
            Layout::Document => {
                let document = event.full_document.and_then(|field| field.as_document());
                writing.record(&schema.document, document.unwrap_or(EMPTY), 0)?;
            }
        }
        Ok(writing.stats)
    }
}

const EMPTY: &[u8] = &[5, 0, 0, 0, 0];

struct Writing<'a> {
    out: &'a mut Vec<u8>,
    found: &'a mut Vec<Option<Place>>,
    text: &'a mut Vec<u8>,
    mode: JsonMode,
    stats: Stats,
}

impl Writing<'_> {
    /// In the order of the fields in the schema.
    fn change(&mut self, schema: &Schema, event: &Event<'_>) -> Outcome {
        self.string(event.operation_name.as_bytes());
        self.string(event.database.as_bytes());
        self.string(event.collection.as_bytes());
        match event.document_key {
            Some(key) => {
                self.long(1);
                self.record(&schema.key, key, 0)?;
            }
            None => self.long(0),
        }
        match event.timestamp_millis() {
            Some(millis) => {
                self.long(1);
                self.long(millis);
            }
            None => self.long(0),
        }
        let is_delete = event.operation == Operation::Delete;
        self.image(schema, event.full_document.filter(|_| !is_delete))?;
        match event.update_description {
            Some(description) if event.operation == Operation::Update => {
                self.long(1);
                self.update_description(description)?;
            }
            _ => self.long(0),
        }
        self.image(schema, event.full_document_before_change)?;
        match event.rename_to {
            Some(to) => {
                self.long(1);
                let part = |name| -> Outcome<&[u8]> {
                    let element = raw::find(to, name)?;
                    Ok(element.and_then(|e| e.string_bytes()).unwrap_or_default())
                };
                let name = [part("db")?, b".", part("coll")?].concat();
                self.string(&name);
            }
            None => self.long(0),
        }
        match event.operation_description {
            Some(description) if !event.operation.is_document() => {
                self.long(1);
                self.json(description)?;
            }
            _ => self.long(0),
        }
        Ok(())
    }

    fn image(&mut self, schema: &Schema, image: Option<Element<'_>>) -> Outcome {
        match image.and_then(|image| image.as_document()) {
            Some(document) => {
                self.long(1);
                self.record(&schema.document, document, 0)
            }
            None => {
                self.long(0);
                Ok(())
            }
        }
    }

    fn update_description(&mut self, description: &[u8]) -> Outcome {
        let mut parts = [None; 4];
        for element in raw::walk(description)? {
            let element = element?;
            match element.name {
                b"updatedFields" => parts[0] = Some(element),
                b"removedFields" => parts[1] = Some(element),
                b"truncatedArrays" => parts[2] = Some(element),
                b"disambiguatedPaths" => parts[3] = Some(element),
                _ => {}
            }
        }
        let [updated, removed, truncated, paths] = parts;
        fn of(part: Option<Element<'_>>) -> &[u8] {
            part.map_or(EMPTY, |part| part.value)
        }
        self.block(of(updated), |writing, element| {
            writing.string(element.name);
            writing.json(element)
        })?;
        self.block(of(removed), |writing, element| {
            writing.string(element.string_bytes().unwrap_or_default());
            Ok(())
        })?;
        self.block(of(truncated), |writing, element| {
            let field = raw::find(element.value, "field")?;
            writing.string(field.and_then(|it| it.string_bytes()).unwrap_or_default());
            let size = raw::find(element.value, "newSize")?;
            writing.long(size.and_then(|it| it.as_i64()).unwrap_or_default());
            Ok(())
        })?;
        match paths {
            Some(paths) => {
                self.long(1);
                self.json(paths)
            }
            None => {
                self.long(0);
                Ok(())
            }
        }
    }

    fn record(&mut self, record: &Record, document: &[u8], depth: usize) -> Outcome {
        if depth >= MAX_DEPTH {
            return Err(EncodeError::Unsettled);
        }
        let base = self.found.len();
        self.found.resize(base + record.fields().len(), None);
        let mut expected = 0;
        for element in raw::walk(document)? {
            let element = element?;
            let Some(index) = record.find(element.name, expected) else {
                if is_null(SchemaKind::Avro, element) {
                    continue;
                }
                return Err(EncodeError::Unsettled);
            };
            expected = index + 1;
            self.found[base + index] = Some(Place {
                kind: element.kind,
                start: element.value.as_ptr() as usize - document.as_ptr() as usize,
                len: element.value.len(),
            });
        }
        for (index, field) in record.fields().iter().enumerate() {
            let element = self.found[base + index].map(|place| Element {
                kind: place.kind,
                name: &field.name,
                value: &document[place.start..place.start + place.len],
            });
            self.slot(&field.slot, element, depth)?;
        }
        self.found.truncate(base);
        Ok(())
    }

    fn slot(&mut self, slot: &Slot, element: Option<Element<'_>>, depth: usize) -> Outcome {
        let Some(element) = element.filter(|it| !is_null(SchemaKind::Avro, *it)) else {
            return match slot.null {
                Some(branch) => {
                    self.branch(branch);
                    Ok(())
                }
                None if slot.shape == Shape::Unknown => Ok(()),
                None => Err(EncodeError::Unsettled),
            };
        };
        if let Some(null) = slot.null {
            self.branch(null.other());
        }
        self.value(&slot.shape, element, depth)
    }

    fn value(&mut self, shape: &Shape, element: Element<'_>, depth: usize) -> Outcome {
        match (shape, element.kind) {
            (Shape::Record(record), ElementType::EmbeddedDocument) => {
                return self.record(record, element.value, depth + 1);
            }
            (Shape::Map(values), ElementType::EmbeddedDocument) if depth < MAX_DEPTH => {
                return self.block(element.value, |writing, element| {
                    writing.string(element.name);
                    writing.slot(values, Some(element), depth + 1)
                });
            }
            (Shape::Array(items), ElementType::Array) if depth < MAX_DEPTH => {
                return self.block(element.value, |writing, element| {
                    writing.slot(items, Some(element), depth + 1)
                });
            }
            _ => {}
        }
        if !fits(SchemaKind::Avro, shape, element) {
            return Err(EncodeError::Unsettled);
        }
        match shape {
            Shape::Boolean => self.out.push(u8::from(element.value != [0])),
            Shape::Int | Shape::Long => self.long(whole(element).unwrap_or_default()),
            Shape::Date => self.long(element.as_date_millis().unwrap_or_default()),
            Shape::Double => {
                let double = match element.kind {
                    ElementType::Double => element.value.try_into().map(f64::from_le_bytes),
                    _ => Ok(element.as_i64().unwrap_or_default() as f64),
                };
                let double = double.unwrap_or_default();
                self.out.extend_from_slice(&double.to_le_bytes());
            }
            Shape::Bytes => {
                let bytes = text::binary(element);
                self.long(bytes.len() as i64);
                self.out.extend_from_slice(bytes);
            }
            Shape::String => match element.kind {
                ElementType::String | ElementType::Symbol => {
                    self.string(element.string_bytes().unwrap_or_default());
                }
                _ => {
                    self.text.clear();
                    self.stats += text::write(self.text, element)?;
                    self.long(self.text.len() as i64);
                    self.out.extend_from_slice(self.text);
                }
            },
            Shape::Unknown
            | Shape::Array(_)
            | Shape::Map(_)
            | Shape::Record(_)
            | Shape::AnyArray
            | Shape::AnyDocument => {
                return Err(EncodeError::Unsettled);
            }
        }
        Ok(())
    }

    /// The elements of an array or a map: how many, each, and a zero.
    fn block(
        &mut self,
        document: &[u8],
        mut each: impl FnMut(&mut Self, Element<'_>) -> Outcome,
    ) -> Outcome {
        let mut count = 0;
        for element in raw::walk(document)? {
            element?;
            count += 1;
        }
        if count > 0 {
            self.long(count);
            for element in raw::walk(document)? {
                each(self, element?)?;
            }
        }
        self.long(0);
        Ok(())
    }

    /// A value as text in JSON.
    fn json(&mut self, element: Element<'_>) -> Outcome {
        self.text.clear();
        self.stats += json::write_value(self.text, self.mode, element)?;
        self.long(self.text.len() as i64);
        self.out.extend_from_slice(self.text);
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(_) => {
                self.long(bytes.len() as i64);
                self.out.extend_from_slice(bytes);
            }
            Err(_) => {
                self.text.clear();
                self.stats += text::lossy(self.text, bytes);
                self.long(self.text.len() as i64);
                self.out.extend_from_slice(self.text);
            }
        }
    }

    fn branch(&mut self, branch: Branch) {
        self.long(match branch {
            Branch::First | Branch::Absent => 0,
            Branch::Second => 1,
        });
    }

    #[inline]
    fn long(&mut self, number: i64) {
        long(self.out, number);
    }
}

/// Appends a number of 32 or 64 bits, or a length: zigzag, seven bits in a byte.
#[inline]
pub fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
