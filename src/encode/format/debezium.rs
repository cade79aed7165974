//! The records of Debezium's connector for MongoDB (3.5), through its `JsonConverter`.

pub(super) mod avro;
mod avro_schema;
pub mod bounds;
mod schema;

use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use crate::change::transactions::Place;
use crate::config;
use crate::encode::driver::{self, Mode, Style};
use crate::encode::json::{EncodeError, Stats, short_escape};

pub use bounds::Bound;

/// What `source.version` says: consumers may look at it.
const VERSION: &str = "3.5.0.Final";

/// Documents are in Extended JSON v1, identities and what an update has set in v2.
const DOCUMENT: Style = Style::compact(Mode::Strict);
const IDENTITY: Style = Style::compact(Mode::Relaxed);
const UPDATED: Style = Style::plain(Mode::Relaxed);

/// The settings of one stream, and room for texts within texts.
#[derive(Debug)]
pub struct Debezium {
    settings: config::Debezium,
    context: Context,
    text: Vec<u8>,
    /// `transaction` of the events that follow.
    block: Vec<u8>,
}

/// The headers of each record.
#[derive(Debug)]
pub struct Context {
    name: String,
    run: String,
}

impl Context {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            run: uuid::Uuid::now_v7().to_string(),
        }
    }

    /// Names and values, in the connector's order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        [
            (
                "__debezium.context.connectorLogicalName",
                self.name.as_bytes(),
            ),
            ("__debezium.context.taskId", b"0".as_slice()),
            ("__debezium.context.connectorName", b"mongodb"),
            ("__debezium.context.runId", self.run.as_bytes()),
        ]
        .into_iter()
    }
}

impl Debezium {
    pub(super) fn new(settings: config::Debezium) -> Self {
        Self {
            context: Context::new(&settings.name),
            settings,
            text: Vec::new(),
            block: b"null".to_vec(),
        }
    }

    /// Says where the events that follow stand in their transaction.
    pub(super) fn place(&mut self, place: Option<&Place<'_>>) -> Result<(), EncodeError> {
        self.block = bounds::block(place)?;
        Ok(())
    }

    /// Appends key and value of what says where a transaction begins or ends.
    pub(super) fn write_bound(
        &self,
        bound: &Bound<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        bounds::write(bound, self.settings.schemas, key, value)
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn write(
        &mut self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Stats, EncodeError> {
        let subject = schema::Subject {
            name: &self.settings.name,
            database: event.database,
            collection: event.collection,
        };
        if self.settings.schemas {
            schema::open_key(key, subject);
            schema::open_value(value, subject);
        }
        let mut writer = Writer {
            out: key,
            text: &mut self.text,
            stats: Stats::default(),
        };
        writer.key(event)?;
        writer.out = value;
        writer.stats = Stats::default();
        writer.envelope(event, &self.settings.name, &self.block)?;
        let stats = writer.stats;
        if self.settings.schemas {
            key.push(b'}');
            value.push(b'}');
        }
        Ok(stats)
    }
}

/// `op`.
fn operation(event: &Event<'_>) -> &'static str {
    match event.operation {
        Operation::Insert => "c",
        Operation::Delete => "d",
        Operation::Read => "r",
        _ => "u",
    }
}

/// `after`.
fn after<'a>(event: &Event<'a>) -> Option<Element<'a>> {
    match event.operation {
        Operation::Delete => None,
        _ => event.full_document,
    }
}

/// `source.snapshot`: rows come beside the changes, as those of Debezium's incremental snapshots do.
fn snapshot(event: &Event<'_>) -> &'static str {
    match event.operation {
        Operation::Read => "incremental",
        _ => "false",
    }
}

/// `source.ord`.
fn order(event: &Event<'_>) -> i64 {
    let increment = event.cluster_time.map(|time| i64::from(time.increment));
    let is_row = event.operation == Operation::Read;
    increment.filter(|_| !is_row).unwrap_or(-1)
}

/// What the server says of an update.
struct Description<'a> {
    updated: Option<&'a [u8]>,
    removed: Option<&'a [u8]>,
    truncated: Option<&'a [u8]>,
}

impl<'a> Description<'a> {
    fn read(description: &'a [u8]) -> Result<Self, EncodeError> {
        let mut read = Self {
            updated: None,
            removed: None,
            truncated: None,
        };
        for element in raw::walk(description)? {
            let element = element?;
            match element.name {
                b"updatedFields" => read.updated = element.as_document(),
                b"removedFields" => read.removed = element.as_array(),
                b"truncatedArrays" => read.truncated = element.as_array(),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// The path and the new size of an array.
fn truncated_array(cut: Element<'_>) -> Result<(&[u8], i64), EncodeError> {
    let cut = cut.as_document().unwrap_or(&[5, 0, 0, 0, 0]);
    let field = raw::find(cut, "field")?;
    let size = raw::find(cut, "newSize")?;
    Ok((
        field.and_then(|it| it.string_bytes()).unwrap_or_default(),
        size.and_then(|it| it.as_i64()).unwrap_or_default(),
    ))
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    text: &'a mut Vec<u8>,
    stats: Stats,
}

impl Writer<'_> {
    fn key(&mut self, event: &Event<'_>) -> Result<(), EncodeError> {
        self.raw(r#"{"id":"#);
        match event.document_id() {
            Some(id) => self.embedded(IDENTITY, id)?,
            None => self.raw("null"),
        }
        self.raw("}");
        Ok(())
    }

    fn envelope(
        &mut self,
        event: &Event<'_>,
        name: &str,
        transaction: &[u8],
    ) -> Result<(), EncodeError> {
        self.raw(r#"{"before":"#);
        self.image(event.full_document_before_change)?;
        self.raw(r#","after":"#);
        self.image(after(event))?;
        self.raw(r#","updateDescription":"#);
        match event.update_description {
            Some(description) if event.operation == Operation::Update => {
                self.update_description(&Description::read(description)?)?;
            }
            _ => self.raw("null"),
        }
        self.source(event, name)?;
        self.raw(r#","op":""#);
        self.raw(operation(event));
        self.raw(r#"","ts_ms":"#);
        self.number(jiff::Timestamp::now().as_millisecond());
        self.raw(r#","transaction":"#);
        self.out.extend_from_slice(transaction);
        self.raw("}");
        Ok(())
    }

    /// A document as a string, or null.
    fn image(&mut self, document: Option<Element<'_>>) -> Result<(), EncodeError> {
        match document.filter(|document| document.as_document().is_some()) {
            Some(document) => self.embedded(DOCUMENT, document),
            None => {
                self.raw("null");
                Ok(())
            }
        }
    }

    fn update_description(&mut self, description: &Description<'_>) -> Result<(), EncodeError> {
        let Description {
            updated,
            removed,
            truncated,
        } = *description;
        self.raw(r#"{"removedFields":"#);
        self.list(removed, |writer, field| {
            writer.string(field.string_bytes().unwrap_or_default());
            Ok(())
        })?;
        self.raw(r#","updatedFields":"#);
        match updated {
            Some(updated) => {
                self.text.clear();
                self.stats += driver::write_document(self.text, UPDATED, updated)?;
                write_string(self.out, self.text);
            }
            None => self.raw("null"),
        }
        self.raw(r#","truncatedArrays":"#);
        self.list(truncated, |writer, cut| {
            let (field, size) = truncated_array(cut)?;
            writer.raw(r#"{"field":"#);
            writer.string(field);
            writer.raw(r#","size":"#);
            writer.number(size);
            writer.raw("}");
            Ok(())
        })?;
        self.raw("}");
        Ok(())
    }

    /// The elements of a list; null for none.
    fn list(
        &mut self,
        list: Option<&[u8]>,
        write: impl Fn(&mut Self, Element<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut is_first = true;
        for element in list.map(raw::walk).transpose()?.into_iter().flatten() {
            self.raw(if is_first { "[" } else { "," });
            is_first = false;
            write(self, element?)?;
        }
        self.raw(if is_first { "null" } else { "]" });
        Ok(())
    }

    fn source(&mut self, event: &Event<'_>, name: &str) -> Result<(), EncodeError> {
        let millis = event.timestamp_millis().unwrap_or_default();
        self.raw(r#","source":{"version":""#);
        self.raw(VERSION);
        self.raw(r#"","connector":"mongodb","name":"#);
        self.string(name.as_bytes());
        self.raw(r#","ts_ms":"#);
        self.number(millis);
        self.raw(r#","snapshot":""#);
        self.raw(snapshot(event));
        self.raw(r#"","db":"#);
        self.string(event.database.as_bytes());
        self.raw(r#","sequence":null,"ts_us":"#);
        self.number(millis.saturating_mul(1_000));
        self.raw(r#","ts_ns":"#);
        self.number(millis.saturating_mul(1_000_000));
        self.raw(r#","collection":"#);
        self.string(event.collection.as_bytes());
        self.raw(r#","ord":"#);
        self.number(order(event));
        self.raw(r#","lsid":"#);
        match event.lsid {
            Some(lsid) => {
                self.text.clear();
                self.stats += driver::write_document(self.text, DOCUMENT, lsid)?;
                write_string(self.out, self.text);
            }
            None => self.raw("null"),
        }
        for (name, number) in [
            (r#","txnNumber":"#, event.txn_number),
            (r#","wallTime":"#, event.wall_time),
        ] {
            self.raw(name);
            match number {
                Some(number) => self.number(number),
                None => self.raw("null"),
            }
        }
        self.raw("}");
        Ok(())
    }

    /// A value's JSON as a JSON string.
    fn embedded(&mut self, style: Style, value: Element<'_>) -> Result<(), EncodeError> {
        self.text.clear();
        self.stats += driver::write_value(self.text, style, value)?;
        write_string(self.out, self.text);
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        write_string(self.out, text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Appends valid UTF-8 as Jackson writes a string: as JSON has it, with upper-case digits in what is escaped.
fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    let mut rest = text;
    let is_special = |byte: &u8| *byte < 0x20 || matches!(*byte, b'"' | b'\\');
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        match short_escape(byte) {
            Some(short) => out.extend_from_slice(&[b'\\', short]),
            None => {
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
