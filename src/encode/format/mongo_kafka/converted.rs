//! The same through Connect's converters: keys and values as texts in quotes, by schemas that are given, or by schemas
//! that are inferred from each.

use super::MongoKafka;
use crate::change::event::{Event, Operation};
use crate::change::raw::Element;
use crate::config::connect_schema::Schema;
use crate::config::{self, Converter, Output, OutputForm, Schemas};
use crate::encode::connect;
use crate::encode::format::{Body, Written};
use crate::encode::json::{EncodeError, Stats};
use crate::encode::serialization::{Describe, Frame, Named, OfEvents, avro_long};
use bson::spec::ElementType;
use std::borrow::Cow;
use std::sync::Arc;

/// The settings of one stream, and its schemas where they are in a registry.
#[derive(Debug)]
pub struct Converted {
    shapes: Arc<Shapes>,
    pub(in crate::encode::format) schemas: Option<OfEvents>,
    /// Room for texts.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Shapes {
    plain: MongoKafka,
    key: Output,
    value: Output,
}

impl Converted {
    /// None where keys and values are plain texts.
    pub(in crate::encode::format) fn new(
        settings: &config::MongoKafka,
        schemas: Option<&Schemas>,
    ) -> Option<Self> {
        let is_plain = |output: &Output| output.converter == Converter::String;
        if is_plain(&settings.key) && is_plain(&settings.value) {
            return None;
        }
        let shapes = Arc::new(Shapes {
            plain: MongoKafka::new(settings),
            key: settings.key.clone(),
            value: settings.value.clone(),
        });
        let describe = Arc::clone(&shapes) as Arc<dyn Describe>;
        Some(Self {
            shapes,
            schemas: schemas.map(|schemas| OfEvents::new(schemas.clone(), describe)),
            text: Vec::new(),
        })
    }

    pub(in crate::encode::format) fn write(
        &mut self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        let shapes = Arc::clone(&self.shapes);
        let whole = whole(event)?;
        let body = shapes.body(event);
        let [of_key, of_value] = shapes.of(event, &whole)?;
        if let Some(schemas) = &mut self.schemas {
            let wanted = [
                of_key.as_deref().filter(|_| shapes.key.is_avro()),
                of_value.as_deref().filter(|_| shapes.value.is_avro()),
            ];
            for (frame, out) in schemas
                .frames(event, wanted)?
                .iter()
                .zip([&mut *key, &mut *value])
            {
                if let Some(frame) = frame {
                    out.extend_from_slice(&frame.prefix);
                }
            }
        }
        let text = &mut self.text;
        if shapes.key.form == OutputForm::Json {
            text.clear();
            shapes.plain.key(event, text)?;
        }
        let mut stats = shapes.put(
            key,
            &shapes.key,
            of_key.as_deref(),
            Some(element(&whole)),
            text,
        )?;
        if body == Body::Value {
            text.clear();
            if shapes.value.form == OutputForm::Json {
                stats += shapes.plain.value(event, text)?.stats;
            }
            let content = shapes.content(event, &whole);
            stats += shapes.put(value, &shapes.value, of_value.as_deref(), content, text)?;
        }
        Ok(Written { stats, body })
    }

    /// What says the schemas of what was written last.
    pub(in crate::encode::format) fn frames(&self) -> [Option<&Frame>; 2] {
        match &self.schemas {
            Some(schemas) => schemas.last().each_ref().map(Option::as_ref),
            None => [None, None],
        }
    }
}

impl Shapes {
    fn body(&self, event: &Event<'_>) -> Body {
        match event.full_document {
            _ if !self.plain.full_document_only => Body::Value,
            Some(field) if field.as_document().is_some() => Body::Value,
            None if self.plain.tombstones => Body::Tombstone,
            _ => Body::Nothing,
        }
    }

    /// What the value is of.
    fn content<'a>(&self, event: &Event<'a>, whole: &'a [u8]) -> Option<Element<'a>> {
        match self.plain.full_document_only {
            true => event.full_document,
            false => Some(element(whole)),
        }
    }

    /// The schemas of key and value; none of what has no record.
    fn of(
        &self,
        event: &Event<'_>,
        whole: &[u8],
    ) -> Result<[Option<Cow<'_, Schema>>; 2], EncodeError> {
        let body = self.body(event);
        if body == Body::Nothing {
            return Ok([None, None]);
        }
        Ok([
            Some(schema(&self.key, None)?),
            match body {
                Body::Value => Some(schema(&self.value, self.content(event, whole))?),
                _ => None,
            },
        ])
    }

    /// Appends a key or a value: a text, or what its schema takes of `content`.
    fn put(
        &self,
        out: &mut Vec<u8>,
        output: &Output,
        schema: Option<&Schema>,
        content: Option<Element<'_>>,
        text: &[u8],
    ) -> Result<Stats, EncodeError> {
        let Some(schema) = schema else {
            return Ok(Stats::default());
        };
        let is_text = output.form == OutputForm::Json;
        let (style, mut stats) = (self.plain.style, Stats::default());
        match output.converter {
            Converter::String => out.extend_from_slice(text),
            Converter::Json { schemas } => {
                if schemas {
                    connect::open_json_schema(out, schema);
                }
                match is_text {
                    true => connect::write_json_string(out, &String::from_utf8_lossy(text)),
                    false => connect::write_json(out, schema, content, style, &mut stats)?,
                }
                if schemas {
                    out.push(b'}');
                }
            }
            Converter::Avro if is_text => {
                avro_long(out, text.len() as i64);
                out.extend_from_slice(text);
            }
            Converter::Avro => connect::write_avro(out, schema, content, style, &mut stats)?,
        }
        Ok(stats)
    }
}

impl Describe for Shapes {
    fn schemas(&self, event: &Event<'_>) -> Result<[Option<Schema>; 2], EncodeError> {
        let whole = whole(event)?;
        let [key, value] = self.of(event, &whole)?;
        Ok([
            key.filter(|_| self.key.is_avro()).map(Cow::into_owned),
            value.filter(|_| self.value.is_avro()).map(Cow::into_owned),
        ])
    }

    fn text(&self, schema: &Schema) -> Result<Named, String> {
        Ok(Named {
            name: schema.name.clone().unwrap_or_else(|| "string".to_owned()),
            schema: connect::avro_schema(schema)?,
        })
    }
}

/// A document as a value.
fn element(document: &[u8]) -> Element<'_> {
    Element {
        kind: ElementType::EmbeddedDocument,
        name: b"",
        value: document,
    }
}

/// The event as the connector has it: as it came, and a row of a snapshot as an insert of `startup.mode=copy_existing`.
fn whole<'a>(event: &Event<'a>) -> Result<Cow<'a, [u8]>, EncodeError> {
    if event.operation != Operation::Read {
        return Ok(Cow::Borrowed(event.raw));
    }
    let mut id = Vec::new();
    if let Some(of) = event.document_id() {
        put(&mut id, of.kind, "_id", of.value);
    }
    put(&mut id, ElementType::Boolean, "copyingData", &[1]);
    let mut namespace = Vec::new();
    put(
        &mut namespace,
        ElementType::String,
        "db",
        &string(event.database),
    );
    put(
        &mut namespace,
        ElementType::String,
        "coll",
        &string(event.collection),
    );
    let mut row = Vec::new();
    let document = ElementType::EmbeddedDocument;
    put(&mut row, document, "_id", &closed(&id));
    put(
        &mut row,
        ElementType::String,
        "operationType",
        &string("insert"),
    );
    put(&mut row, document, "ns", &closed(&namespace));
    if let Some(key) = event.document_key {
        put(&mut row, document, "documentKey", key);
    }
    if let Some(full) = event.full_document {
        put(&mut row, full.kind, "fullDocument", full.value);
    }
    Ok(Cow::Owned(closed(&row)))
}

/// Appends an element.
fn put(out: &mut Vec<u8>, kind: ElementType, name: &str, value: &[u8]) {
    out.push(kind as u8);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(value);
}

fn string(text: &str) -> Vec<u8> {
    let mut value = (text.len() as i32 + 1).to_le_bytes().to_vec();
    value.extend_from_slice(text.as_bytes());
    value.push(0);
    value
}

/// Elements as a document.
fn closed(elements: &[u8]) -> Vec<u8> {
    let mut document = (elements.len() as i32 + 5).to_le_bytes().to_vec();
    document.extend_from_slice(elements);
    document.push(0);
    document
}

/// The schema of a key or of a value that is this document.
fn schema<'a>(
    output: &'a Output,
    content: Option<Element<'_>>,
) -> Result<Cow<'a, Schema>, EncodeError> {
    Ok(match (&output.form, content) {
        (OutputForm::Schema(schema), _) => Cow::Borrowed(schema),
        (OutputForm::Infer, Some(content)) => Cow::Owned(connect::infer(content.value)?),
        (OutputForm::Infer | OutputForm::Json, _) => Cow::Owned(Schema::string()),
    })
}
