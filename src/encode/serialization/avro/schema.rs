//! A schema as the JSON that Avro has for it.

use crate::config::Envelope;
use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{Branch, Record, Shape, Slot, alias};
use serde_json::{Value, json};

/// The property of a field whose name in documents is another than in the schema.
pub(super) const FIELD: &str = "mongodb.field";
/// The property of the outermost record that says which collection it is of.
pub(super) const COLLECTION: &str = "mongodb.collection";

/// The fields of a change, in order. It has no place for the transaction, which is in headers.
pub(super) const FIELDS: [&str; 10] = match Envelope::FIELDS.first_chunk() {
    Some(fields) => *fields,
    None => unreachable!(),
};

/// The schema as text, always the same for the same.
pub fn schema(schema: &Schema) -> String {
    let mut root = match schema.layout {
        Layout::Document => record(&schema.document),
        Layout::Change => change(schema),
    };
    root["namespace"] = json!(schema.namespace);
    root[COLLECTION] = json!(schema.place.name());
    root.to_string()
}

fn change(schema: &Schema) -> Value {
    let optional = |of: Value| json!({"type": ["null", of], "default": null});
    let types = [
        json!({"type": "string"}),
        json!({"type": "string"}),
        json!({"type": "string"}),
        optional(record(&schema.key)),
        optional(json!({"type": "long", "logicalType": "timestamp-millis"})),
        optional(record(&schema.document)),
        optional(update_description()),
        optional(json!(schema.document.name)),
        optional(json!("string")),
        optional(json!("string")),
    ];
    let fields = FIELDS.into_iter().zip(types).map(|(name, mut field)| {
        field["name"] = json!(name);
        field
    });
    json!({"type": "record", "name": "Change", "fields": fields.collect::<Vec<_>>()})
}

fn update_description() -> Value {
    json!({"type": "record", "name": "UpdateDescription", "fields": [
        {"name": "updatedFields", "type": {"type": "map", "values": "string"}},
        {"name": "removedFields", "type": {"type": "array", "items": "string"}},
        {"name": "truncatedArrays", "type": {"type": "array", "items":
            {"type": "record", "name": "TruncatedArray", "fields": [
                {"name": "field", "type": "string"}, {"name": "newSize", "type": "long"}]}}},
        {"name": "disambiguatedPaths", "type": ["null", "string"], "default": null},
    ]})
}

fn record(record: &Record) -> Value {
    let fields = record.fields().iter().map(|field| {
        let mut written = json!({"name": field.alias, "type": slot(&field.slot)});
        if field.slot.null == Some(Branch::First) {
            written["default"] = Value::Null;
        }
        if field.alias.as_bytes() != field.name {
            written[FIELD] = json!(String::from_utf8_lossy(&field.name));
        }
        written
    });
    json!({"type": "record", "name": record.name, "fields": fields.collect::<Vec<_>>()})
}

fn slot(slot: &Slot) -> Value {
    let of = shape(&slot.shape);
    match slot.null {
        None => of,
        Some(_) if slot.shape == Shape::Unknown => json!(["null"]),
        Some(Branch::First | Branch::Absent) => json!(["null", of]),
        Some(Branch::Second) => json!([of, "null"]),
    }
}

fn shape(shape: &Shape) -> Value {
    match shape {
        Shape::Unknown => json!("null"),
        Shape::Boolean => json!("boolean"),
        Shape::Int => json!("int"),
        Shape::Long => json!("long"),
        Shape::Double => json!("double"),
        // Whatever comes has a type here, so that the last two are never asked for.
        Shape::String | Shape::AnyArray | Shape::AnyDocument => json!("string"),
        Shape::Bytes => json!("bytes"),
        Shape::Date => json!({"type": "long", "logicalType": "timestamp-millis"}),
        Shape::Array(items) => json!({"type": "array", "items": slot(items)}),
        Shape::Map(values) => json!({"type": "map", "values": slot(values)}),
        Shape::Record(of) => record(of),
    }
}

/// Whether a name is one that schemas allow.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && alias(name.as_bytes()) == name
}
