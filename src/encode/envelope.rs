//! The default format of a record's value: one JSON object per change.

use super::json::{
    EncodeError, JsonMode, Stats, write_document, write_string, write_timestamp, write_value,
};
use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use crate::change::transactions::Place;
use crate::config;
use std::sync::{Arc, LazyLock};

/// What an envelope has in common for all events, ready to be written: `,"name":` for each field, in the order of
/// [`config::Envelope::FIELDS`], and what stands before the end.
#[derive(Debug, Clone)]
pub struct Shape {
    names: [Box<[u8]>; config::Envelope::FIELDS.len()],
    /// What is configured, and behind it the transaction of the events that follow.
    more: Vec<u8>,
    /// How much of that is configured.
    configured: usize,
}

const OPERATION_TYPE: usize = 0;
const DATABASE: usize = 1;
const COLLECTION: usize = 2;
const DOCUMENT_KEY: usize = 3;
const TIMESTAMP: usize = 4;
const FULL_DOCUMENT: usize = 5;
const UPDATE_DESCRIPTION: usize = 6;
const BEFORE_CHANGE: usize = 7;
const TO: usize = 8;
const DESCRIPTION: usize = 9;
const TRANSACTION: usize = 10;

impl Default for Shape {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Shape {
    /// The one that is configured; the usual one where none is.
    pub fn of(settings: Option<&Arc<config::Envelope>>) -> Self {
        let usual = config::Envelope::default();
        let settings = settings.map_or(&usual, |settings| settings);
        let name = |field: &str| {
            let mut out = b",".to_vec();
            write_string(&mut out, settings.name_of(field).as_bytes());
            out.push(b':');
            out.into_boxed_slice()
        };
        let mut names = config::Envelope::FIELDS.map(name);
        // The first one of all.
        names[OPERATION_TYPE][0] = b'{';
        let mut more = Vec::new();
        for (name, value) in &settings.fields {
            more.push(b',');
            write_string(&mut more, name.as_bytes());
            more.push(b':');
            more.extend_from_slice(value.as_bytes());
        }
        Self {
            names,
            configured: more.len(),
            more,
        }
    }

    /// Says where the events that follow stand in their transaction, until something else is said. It is written with
    /// what all events have in common, so that those of streams which ask for no transactions are not looked at for it.
    ///
    /// # Errors
    /// [`EncodeError`] when what names the transaction is malformed; nothing is said then.
    pub fn place(&mut self, mode: JsonMode, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        self.more.truncate(self.configured);
        let Some(place) = place else {
            return Ok(());
        };
        let mut out = self.names[TRANSACTION].to_vec();
        out.extend_from_slice(br#"{"lsid":"#);
        write_document(&mut out, mode, place.id.lsid)?;
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(br#","txnNumber":"#);
        out.extend_from_slice(number.format(place.id.number).as_bytes());
        out.extend_from_slice(br#","order":"#);
        out.extend_from_slice(number.format(place.order).as_bytes());
        out.push(b'}');
        self.more.extend_from_slice(&out);
        Ok(())
    }
}

/// Appends the envelope of `event`.
///
/// The fields and their order, for a change of a document: `operationType`, `database`, `collection`,
/// `documentKey`, `timestamp`, `fullDocument`, `updateDescription`, `fullDocumentBeforeChange`. Other events
/// have no `documentKey` and, after `timestamp`, `to` and `operationDescription` where the server sent them. The last
/// one is `transaction`, where [that was said](Shape::place).
///
/// # Errors
/// [`EncodeError`] when the event's BSON is malformed or nested too deep; `out` is then as it was before.
pub fn write(out: &mut Vec<u8>, mode: JsonMode, event: &Event<'_>) -> Result<Stats, EncodeError> {
    static USUAL: LazyLock<Shape> = LazyLock::new(Shape::default);
    write_as(out, mode, &USUAL, event)
}

/// The same with the names and more fields of this shape.
///
/// # Errors
/// As [`write`].
pub fn write_as(
    out: &mut Vec<u8>,
    mode: JsonMode,
    shape: &Shape,
    event: &Event<'_>,
) -> Result<Stats, EncodeError> {
    let before = out.len();
    let mut envelope = Envelope {
        out,
        shape,
        mode,
        stats: Stats::default(),
    };
    match envelope.write(event) {
        Ok(()) => Ok(envelope.stats),
        Err(error) => {
            out.truncate(before);
            Err(error)
        }
    }
}

struct Envelope<'a> {
    out: &'a mut Vec<u8>,
    shape: &'a Shape,
    mode: JsonMode,
    stats: Stats,
}

impl Envelope<'_> {
    fn write(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        self.name(OPERATION_TYPE);
        self.string(event.operation_name.as_bytes());
        self.namespace(event.database, event.collection);
        if let Some(key) = event.document_key {
            self.name(DOCUMENT_KEY);
            self.document(key)?;
        }
        self.name(TIMESTAMP);
        match event.timestamp_millis() {
            Some(millis) => {
                self.text(b"\"");
                write_timestamp(self.out, millis);
                self.text(b"\"");
            }
            None => self.text(b"null"),
        }
        if event.operation.is_document() {
            self.document_change(event)?;
        } else {
            self.definition_change(event)?;
        }
        let shape = self.shape;
        self.text(&shape.more);
        self.text(b"}");
        Ok(())
    }

    fn document_change(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        if event.operation != Operation::Delete {
            self.optional(FULL_DOCUMENT, event.full_document)?;
        }
        if event.operation == Operation::Update
            && let Some(description) = event.update_description
        {
            self.update_description(description)?;
        }
        self.optional(BEFORE_CHANGE, event.full_document_before_change)
    }

    fn definition_change(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        if let Some(to) = event.rename_to {
            let name = |part| -> Result<&[u8], EncodeError> {
                let element = raw::find(to, part)?;
                Ok(element.and_then(|e| e.string_bytes()).unwrap_or_default())
            };
            let (database, collection) = (name("db")?, name("coll")?);
            self.name(TO);
            self.text(br#"{"database":"#);
            self.string(database);
            self.text(br#","collection":"#);
            self.string(collection);
            self.text(b"}");
        }
        self.optional(DESCRIPTION, event.operation_description)
    }

    /// The three parts in a fixed order, each there also when the server left it out as empty.
    fn update_description(&mut self, description: &[u8]) -> Result<(), EncodeError> {
        let (mut updated, mut removed, mut truncated, mut paths) = (None, None, None, None);
        for element in raw::walk(description)? {
            let element = element?;
            match element.name {
                b"updatedFields" => updated = Some(element),
                b"removedFields" => removed = Some(element),
                b"truncatedArrays" => truncated = Some(element),
                b"disambiguatedPaths" => paths = Some(element),
                _ => {}
            }
        }
        self.name(UPDATE_DESCRIPTION);
        self.text(br#"{"updatedFields":"#);
        self.value_or(updated, b"{}")?;
        self.text(br#","removedFields":"#);
        self.value_or(removed, b"[]")?;
        self.text(br#","truncatedArrays":"#);
        self.value_or(truncated, b"[]")?;
        if let Some(paths) = paths {
            self.text(br#","disambiguatedPaths":"#);
            self.value(paths)?;
        }
        self.text(b"}");
        Ok(())
    }

    /// Names that the event does not have (`invalidate`, the collection of `dropDatabase`) are left out.
    fn namespace(&mut self, database: &str, collection: &str) {
        if !database.is_empty() {
            self.name(DATABASE);
            self.string(database.as_bytes());
        }
        if !collection.is_empty() {
            self.name(COLLECTION);
            self.string(collection.as_bytes());
        }
    }

    fn optional(&mut self, name: usize, value: Option<Element<'_>>) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.name(name);
                self.value(value)
            }
            None => Ok(()),
        }
    }

    fn value_or(&mut self, value: Option<Element<'_>>, absent: &[u8]) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.value(value),
            None => {
                self.text(absent);
                Ok(())
            }
        }
    }

    fn value(&mut self, value: Element<'_>) -> Result<(), EncodeError> {
        self.stats += write_value(self.out, self.mode, value)?;
        Ok(())
    }

    fn document(&mut self, document: &[u8]) -> Result<(), EncodeError> {
        self.stats += write_document(self.out, self.mode, document)?;
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.stats += write_string(self.out, bytes);
    }

    /// What stands before the value of a field.
    #[inline]
    fn name(&mut self, field: usize) {
        let shape = self.shape;
        self.text(&shape.names[field]);
    }

    fn text(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }
}
