//! A schema as JSON Schema has it, of draft 7, which all that reads from registries knows.
//!
//! Documents are closed: registries take a new field of a document that is open for incompatible, because anything
//! could have been there before.

use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{Branch, Record, Shape, Slot};
use serde_json::{Map, Value, json};

/// What the comment of a schema begins with that says which collection it is of.
pub(super) const COLLECTION: &str = "mongodb.collection: ";
pub(super) const DATE: &str = "date-time";
pub(super) const BINARY: &str = "base64";
/// Where the types are that are used more than once.
pub(super) const DEFINITIONS: &str = "definitions";
const DEFINITION: &str = "Document";

/// The fields of a change.
pub(super) const KEY: &str = "documentKey";
pub(super) const DOCUMENT: &str = "fullDocument";
pub(super) const OPERATION: &str = "operationType";

/// The schema as text, always the same for the same.
pub fn schema(schema: &Schema) -> String {
    let mut root = match schema.layout {
        Layout::Document => record(&schema.document),
        Layout::Change => change(schema),
    };
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["$comment"] = json!(format!("{COLLECTION}{}", schema.place.name()));
    root["title"] = json!(schema.full_name());
    root.to_string()
}

fn change(schema: &Schema) -> Value {
    let string = json!({"type": "string"});
    let any = json!({"type": "object"});
    let document = json!({"$ref": format!("#/{DEFINITIONS}/{DEFINITION}")});
    let truncated = json!({"type": "object", "properties": {
        "field": &string, "newSize": {"type": "integer"}}});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [OPERATION],
        "properties": {
            OPERATION: &string,
            "database": &string,
            "collection": &string,
            KEY: record(&schema.key),
            "timestamp": or_null(shape(&Shape::Date)),
            DOCUMENT: or_null(document.clone()),
            "updateDescription": {"type": "object", "additionalProperties": false, "properties": {
                "updatedFields": &any,
                "removedFields": {"type": "array", "items": &string},
                "truncatedArrays": {"type": "array", "items": truncated},
                "disambiguatedPaths": &any,
            }},
            "fullDocumentBeforeChange": or_null(document),
            "to": {"type": "object", "additionalProperties": false, "properties": {
                "database": &string, "collection": &string}},
            "operationDescription": any,
        },
        DEFINITIONS: {DEFINITION: record(&schema.document)},
    })
}

fn or_null(of: Value) -> Value {
    json!({"oneOf": [{"type": "null"}, of]})
}

fn record(record: &Record) -> Value {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let fields = record.fields().iter();
    let properties: Map<_, _> = fields
        .map(|field| (name(&field.name), slot(&field.slot)))
        .collect();
    let required = record.fields().iter();
    let required: Vec<_> = required
        .filter(|field| field.slot.null.is_none())
        .map(|field| name(&field.name))
        .collect();
    let mut written = json!({
        "type": "object",
        "title": record.name,
        "additionalProperties": record.is_open,
        "properties": properties,
    });
    if !required.is_empty() {
        written["required"] = json!(required);
    }
    written
}

fn slot(slot: &Slot) -> Value {
    match slot.null {
        None | Some(Branch::Absent) => shape(&slot.shape),
        Some(_) if slot.shape == Shape::Unknown => shape(&slot.shape),
        Some(_) => or_null(shape(&slot.shape)),
    }
}

fn shape(shape: &Shape) -> Value {
    match shape {
        // A choice, which another branch may come to. Registries take no other type for null alone.
        Shape::Unknown => json!({"oneOf": [{"type": "null"}]}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Int | Shape::Long => json!({"type": "integer"}),
        Shape::Double => json!({"type": "number"}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "contentEncoding": BINARY}),
        Shape::Date => json!({"type": "string", "format": DATE}),
        Shape::Array(items) => json!({"type": "array", "items": slot(items)}),
        Shape::Map(values) => json!({"type": "object", "additionalProperties": slot(values)}),
        Shape::Record(of) => record(of),
        Shape::AnyArray => json!({"type": "array"}),
        Shape::AnyDocument => json!({"type": "object"}),
    }
}
