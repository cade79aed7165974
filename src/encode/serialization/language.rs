//! The languages of schemas, behind one door.

use super::avro;
use super::json_schema;
use super::protobuf;
use super::schema::{Layout, Place, Schema};
use crate::change::event::Event;
use crate::config::SchemaKind;
use crate::encode::json::{EncodeError, JsonMode, Stats};

/// A schema as text, always the same for the same.
pub fn schema(schema: &Schema) -> String {
    match schema.kind {
        SchemaKind::Avro => avro::schema(schema),
        SchemaKind::JsonSchema => json_schema::schema(schema),
        SchemaKind::Protobuf => protobuf::schema(schema),
    }
}

/// The schema that a registry holds for values of this layout.
///
/// # Errors
/// A sentence: why values cannot be written by it.
pub fn read(kind: SchemaKind, text: &str, layout: Layout, place: &Place) -> Result<Schema, String> {
    match kind {
        SchemaKind::Avro => avro::read(text, layout, place),
        SchemaKind::JsonSchema => json_schema::read(text, layout, place),
        SchemaKind::Protobuf => protobuf::read(text, layout, place),
    }
}

/// Writes values. It keeps room for what is seen before it is written.
#[derive(Debug, Default)]
pub struct Writer {
    avro: avro::Writer,
    protobuf: protobuf::Writer,
}

impl Writer {
    /// Appends the value of an event by a schema.
    ///
    /// # Errors
    /// [`EncodeError::Unsettled`] where it does not fit the schema.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        schema: &Schema,
        mode: JsonMode,
        event: &Event<'_>,
    ) -> Result<Stats, EncodeError> {
        match schema.kind {
            SchemaKind::Avro => self.avro.write(out, schema, mode, event),
            SchemaKind::JsonSchema => json_schema::write(out, schema, mode, event),
            SchemaKind::Protobuf => self.protobuf.write(out, schema, mode, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::serialization::samples::{insert, place};
    use bson::doc;

    /// Otherwise each process would add them once more.
    #[test]
    fn names_that_are_not_utf_8_are_found_again_in_what_the_registry_has() {
        let mut bytes = insert(&doc! {"_id": 1, "caf?": 1, "in": {"?": [1]}}).into_bytes();
        for byte in bytes.iter_mut().filter(|byte| **byte == b'?') {
            *byte = 0xe9;
        }
        let event = Event::parse(&bytes).unwrap();
        for kind in [
            SchemaKind::Avro,
            SchemaKind::JsonSchema,
            SchemaKind::Protobuf,
        ] {
            let mut first = Schema::new(kind, Layout::Change, place(), None);
            assert!(first.widen(&event).unwrap().is_some());
            let text = schema(&first);
            let mut again = read(kind, &text, Layout::Change, &place()).unwrap();
            assert_eq!(again.widen(&event).unwrap(), None, "{text}");
            let mut out = Vec::new();
            let written = Writer::default().write(&mut out, &again, JsonMode::Simple, &event);
            assert!(written.is_ok(), "{kind:?}");
        }
    }
}
