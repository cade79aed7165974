//! Values in Protobuf's binary encoding, straight from BSON bytes.

mod any;
mod wire;

use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use crate::config::SchemaKind;
use crate::encode::json::{self, EncodeError, JsonMode, Stats};
use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{
    MAX_DEPTH, MOST_MESSAGES, Record, Shape, Slot, fits, is_nothing, is_null, whole,
};
use crate::encode::serialization::text;
use bson::spec::ElementType;
use wire::{Kind, fixed, tag, varint, with_length};

/// Writes values. It keeps room for text.
#[derive(Debug, Default)]
pub struct Writer {
    text: Vec<u8>,
}

/// Why a value cannot be written.
type Outcome<T = ()> = Result<T, EncodeError>;

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
        let mut writing = Writing {
            out,
            text: &mut self.text,
            mode,
            messages: 0,
            stats: Stats::default(),
        };
        match schema.layout {
            Layout::Change => writing.change(schema, event)?,
            Layout::Document => {
                // As in a change, so that the same documents fit.
                writing.messages += 1;
                let document = event.full_document.and_then(|field| field.as_document());
                if let Some(document) = document {
                    writing.record(&schema.document, document, 0)?;
                }
            }
        }
        Ok(writing.stats)
    }
}

struct Writing<'a> {
    out: &'a mut Vec<u8>,
    text: &'a mut Vec<u8>,
    mode: JsonMode,
    /// How many messages this is in, without the outermost.
    messages: usize,
    stats: Stats,
}

impl Writing<'_> {
    /// By the numbers of the fields in the schema.
    fn change(&mut self, schema: &Schema, event: &Event<'_>) -> Outcome {
        self.string(1, event.operation_name.as_bytes());
        self.string(2, event.database.as_bytes());
        self.string(3, event.collection.as_bytes());
        if let Some(key) = event.document_key {
            self.message(4, |it| it.record(&schema.key, key, 0))?;
        }
        if let Some(millis) = event.timestamp_millis() {
            self.date(5, millis);
        }
        let is_delete = event.operation == Operation::Delete;
        self.image(6, schema, event.full_document.filter(|_| !is_delete))?;
        if let Some(description) = event.update_description
            && event.operation == Operation::Update
        {
            self.message(7, |it| it.update_description(description))?;
        }
        self.image(8, schema, event.full_document_before_change)?;
        if let Some(to) = event.rename_to {
            let part = |name| -> Outcome<&[u8]> {
                let element = raw::find(to, name)?;
                Ok(element.and_then(|e| e.string_bytes()).unwrap_or_default())
            };
            let name = [part("db")?, b".", part("coll")?].concat();
            self.string(9, &name);
        }
        if let Some(description) = event.operation_description
            && !event.operation.is_document()
        {
            self.json(10, description)?;
        }
        Ok(())
    }

    fn image(&mut self, number: u32, schema: &Schema, image: Option<Element<'_>>) -> Outcome {
        match image.and_then(|image| image.as_document()) {
            Some(document) => self.message(number, |it| it.record(&schema.document, document, 0)),
            None => Ok(()),
        }
    }

    fn update_description(&mut self, description: &[u8]) -> Outcome {
        for part in raw::walk(description)? {
            let part = part?;
            match (part.name, part.kind) {
                (b"updatedFields", ElementType::EmbeddedDocument) => {
                    for element in raw::walk(part.value)? {
                        let element = element?;
                        self.message(1, |it| {
                            it.string(1, element.name);
                            it.json(2, element)
                        })?;
                    }
                }
                (b"removedFields", ElementType::Array) => {
                    for element in raw::walk(part.value)? {
                        self.string(2, element?.string_bytes().unwrap_or_default());
                    }
                }
                (b"truncatedArrays", ElementType::Array) => {
                    for element in raw::walk(part.value)? {
                        let of = element?.value;
                        self.message(3, |it| {
                            let field = raw::find(of, "field")?;
                            it.string(
                                1,
                                field.and_then(|it| it.string_bytes()).unwrap_or_default(),
                            );
                            let size = raw::find(of, "newSize")?.and_then(|it| it.as_i64());
                            tag(it.out, 2, Kind::Varint);
                            varint(it.out, size.unwrap_or_default() as u64);
                            Ok(())
                        })?;
                    }
                }
                (b"disambiguatedPaths", _) => self.json(4, part)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Fields may be in any order, so that they are in the document's.
    fn record(&mut self, record: &Record, document: &[u8], depth: usize) -> Outcome {
        if depth >= MAX_DEPTH {
            return Err(EncodeError::Unsettled);
        }
        let mut expected = 0;
        for element in raw::walk(document)? {
            let element = element?;
            match record.find(element.name, expected) {
                Some(index) => {
                    expected = index + 1;
                    let field = &record.fields()[index];
                    if !is_null(SchemaKind::Protobuf, element) {
                        self.field(field.number, &field.slot, element, depth)?;
                    }
                }
                None if is_nothing(SchemaKind::Protobuf, element) => {}
                None => return Err(EncodeError::Unsettled),
            }
        }
        Ok(())
    }

    fn field(&mut self, number: u32, slot: &Slot, element: Element<'_>, depth: usize) -> Outcome {
        match (&slot.shape, element.kind) {
            (Shape::Array(items), ElementType::Array) => {
                self.items(number, &items.shape, element.value, depth)
            }
            (Shape::Map(values), ElementType::EmbeddedDocument) => {
                for entry in raw::walk(element.value)? {
                    let entry = entry?;
                    self.message(number, |it| {
                        it.string(1, entry.name);
                        it.value(2, &values.shape, entry, depth)
                    })?;
                }
                Ok(())
            }
            (shape, _) => self.value(number, shape, element, depth),
        }
    }

    fn items(&mut self, number: u32, shape: &Shape, array: &[u8], depth: usize) -> Outcome {
        let is_packed = matches!(
            shape,
            Shape::Boolean | Shape::Int | Shape::Long | Shape::Double
        );
        if !is_packed {
            for element in raw::walk(array)? {
                self.value(number, shape, element?, depth)?;
            }
            return Ok(());
        }
        if raw::walk(array)?.next().is_none() {
            return Ok(());
        }
        self.message(number, |it| {
            for element in raw::walk(array)? {
                it.number(shape, element?)?;
            }
            Ok(())
        })
    }

    /// A value that is neither in a list of its own nor a map, with its number.
    fn value(&mut self, number: u32, shape: &Shape, element: Element<'_>, depth: usize) -> Outcome {
        if let (Shape::Record(record), ElementType::EmbeddedDocument) = (shape, element.kind) {
            return self.message(number, |it| it.record(record, element.value, depth + 1));
        }
        if !fits(SchemaKind::Protobuf, shape, element) {
            return Err(EncodeError::Unsettled);
        }
        match shape {
            Shape::Boolean | Shape::Int | Shape::Long => {
                tag(self.out, number, Kind::Varint);
                self.number(shape, element)
            }
            Shape::Double => {
                tag(self.out, number, Kind::Fixed64);
                self.number(shape, element)
            }
            Shape::Bytes => {
                self.bytes(number, text::binary(element));
                Ok(())
            }
            Shape::Date => {
                self.date(number, element.as_date_millis().unwrap_or_default());
                Ok(())
            }
            Shape::String => match element.kind {
                ElementType::String | ElementType::Symbol => {
                    self.string(number, element.string_bytes().unwrap_or_default());
                    Ok(())
                }
                _ => {
                    self.text.clear();
                    self.stats += text::write(self.text, element)?;
                    self.kept(number);
                    Ok(())
                }
            },
            Shape::AnyArray => self.message(number, |it| it.any_array(element.value)),
            Shape::AnyDocument => self.message(number, |it| it.any_document(element.value)),
            Shape::Unknown | Shape::Array(_) | Shape::Map(_) | Shape::Record(_) => {
                Err(EncodeError::Unsettled)
            }
        }
    }

    /// A number without a tag.
    fn number(&mut self, shape: &Shape, element: Element<'_>) -> Outcome {
        if !fits(SchemaKind::Protobuf, shape, element) {
            return Err(EncodeError::Unsettled);
        }
        match (shape, element.kind) {
            (Shape::Boolean, _) => varint(self.out, u64::from(element.value != [0])),
            (Shape::Double, ElementType::Double) => self.out.extend_from_slice(element.value),
            (Shape::Double, _) => {
                fixed(self.out, element.as_i64().unwrap_or_default() as f64);
            }
            _ => varint(self.out, whole(element).unwrap_or_default() as u64),
        }
        Ok(())
    }

    /// `google.protobuf.Timestamp`: seconds, and nanoseconds that are never negative.
    fn date(&mut self, number: u32, millis: i64) {
        let (seconds, rest) = (millis.div_euclid(1000), millis.rem_euclid(1000));
        tag(self.out, number, Kind::Length);
        with_length(self.out, |out| {
            for (number, part) in [(1, seconds), (2, rest * 1_000_000)] {
                if part != 0 {
                    tag(out, number, Kind::Varint);
                    varint(out, part as u64);
                }
            }
        });
    }

    /// What is written within a message of its own.
    fn message(&mut self, number: u32, write: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        self.messages += 1;
        if self.messages > MOST_MESSAGES {
            return Err(EncodeError::Unsettled);
        }
        tag(self.out, number, Kind::Length);
        let start = self.out.len();
        write(self)?;
        self.messages -= 1;
        wire::insert_length(self.out, start);
        Ok(())
    }

    /// A value as text in JSON.
    fn json(&mut self, number: u32, element: Element<'_>) -> Outcome {
        self.text.clear();
        self.stats += json::write_value(self.text, self.mode, element)?;
        self.kept(number);
        Ok(())
    }

    fn string(&mut self, number: u32, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(_) => self.bytes(number, bytes),
            Err(_) => {
                self.text.clear();
                self.stats += text::lossy(self.text, bytes);
                self.kept(number);
            }
        }
    }

    /// What is in the room for text.
    fn kept(&mut self, number: u32) {
        tag(self.out, number, Kind::Length);
        varint(self.out, self.text.len() as u64);
        self.out.extend_from_slice(self.text);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        tag(self.out, number, Kind::Length);
        varint(self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }
}
