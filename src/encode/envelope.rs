//! The default format of a record's value: one JSON object per change.

use super::json::{
    EncodeError, JsonMode, Stats, write_document, write_string, write_timestamp, write_value,
};
use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};

/// Appends the envelope of `event`.
///
/// The fields and their order, for a change of a document: `operationType`, `database`, `collection`,
/// `documentKey`, `timestamp`, `fullDocument`, `updateDescription`, `fullDocumentBeforeChange`. Other events
/// have no `documentKey` and, after `timestamp`, `to` and `operationDescription` where the server sent them.
///
/// # Errors
/// [`EncodeError`] when the event's BSON is malformed or nested too deep; `out` is then as it was before.
pub fn write(out: &mut Vec<u8>, mode: JsonMode, event: &Event<'_>) -> Result<Stats, EncodeError> {
    let before = out.len();
    let mut envelope = Envelope {
        out,
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
    mode: JsonMode,
    stats: Stats,
}

impl Envelope<'_> {
    fn write(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        self.text(br#"{"operationType":"#);
        self.string(event.operation_name.as_bytes());
        self.namespace(event.database, event.collection);
        if let Some(key) = event.document_key {
            self.text(br#","documentKey":"#);
            self.document(key)?;
        }
        match event.timestamp_millis() {
            Some(millis) => {
                self.text(br#","timestamp":""#);
                write_timestamp(self.out, millis);
                self.text(b"\"");
            }
            None => self.text(br#","timestamp":null"#),
        }
        if event.operation.is_document() {
            self.document_change(event)?;
        } else {
            self.definition_change(event)?;
        }
        self.text(b"}");
        Ok(())
    }

    fn document_change(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        if event.operation != Operation::Delete {
            self.optional(br#","fullDocument":"#, event.full_document)?;
        }
        if event.operation == Operation::Update
            && let Some(description) = event.update_description
        {
            self.update_description(description)?;
        }
        self.optional(
            br#","fullDocumentBeforeChange":"#,
            event.full_document_before_change,
        )
    }

    fn definition_change(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        if let Some(to) = event.rename_to {
            let name = |part| -> Result<&[u8], EncodeError> {
                let element = raw::find(to, part)?;
                Ok(element.and_then(|e| e.string_bytes()).unwrap_or_default())
            };
            let (database, collection) = (name("db")?, name("coll")?);
            self.text(br#","to":{"database":"#);
            self.string(database);
            self.text(br#","collection":"#);
            self.string(collection);
            self.text(b"}");
        }
        self.optional(br#","operationDescription":"#, event.operation_description)
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
        self.text(br#","updateDescription":{"updatedFields":"#);
        self.value_or(updated, b"{}")?;
        self.text(br#","removedFields":"#);
        self.value_or(removed, b"[]")?;
        self.text(br#","truncatedArrays":"#);
        self.value_or(truncated, b"[]")?;
        self.optional(br#","disambiguatedPaths":"#, paths)?;
        self.text(b"}");
        Ok(())
    }

    /// Names that the event does not have (`invalidate`, the collection of `dropDatabase`) are left out.
    fn namespace(&mut self, database: &str, collection: &str) {
        if !database.is_empty() {
            self.text(br#","database":"#);
            self.string(database.as_bytes());
        }
        if !collection.is_empty() {
            self.text(br#","collection":"#);
            self.string(collection.as_bytes());
        }
    }

    fn optional(&mut self, name: &[u8], value: Option<Element<'_>>) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.text(name);
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

    fn text(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }
}
