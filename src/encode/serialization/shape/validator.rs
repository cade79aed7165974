//! What a collection's `$jsonSchema` validator says of its documents.

use super::{Record, Shape, Slot};
use crate::config::SchemaKind;
use bson::{Bson, Document};

/// Takes what the validator says into `record`. What it leaves open, or has several types for, is left to the
/// documents themselves.
pub fn of_validator(kind: SchemaKind, record: &mut Record, schema: &Document) {
    let Ok(properties) = schema.get_document("properties") else {
        return;
    };
    for (name, property) in properties {
        if record.slot(name.as_bytes()).is_none()
            && let Bson::Document(property) = property
            && let Some(shape) = shape(kind, property)
            // A list of what is not known yet is no field in Protobuf.
            && !(kind == SchemaKind::Protobuf && is_of_unknown(&shape))
        {
            record.add(name.as_bytes(), Slot::optional(shape), kind);
        }
    }
}

fn shape(kind: SchemaKind, schema: &Document) -> Option<Shape> {
    let types = types(schema)?;
    let mut shapes = types.into_iter().map(|of| of_type(kind, of, schema));
    let first = shapes.next()??;
    // Numbers are the widest of them; other types do not go together.
    shapes.try_fold(first, |known, next| match (known, next?) {
        (known, next) if known == next => Some(known),
        (Shape::Long | Shape::Double, Shape::Long | Shape::Double) => Some(Shape::Double),
        _ => None,
    })
}

/// The types that are allowed, but null, which always is.
fn types(schema: &Document) -> Option<Vec<&str>> {
    let said = schema.get("bsonType").or_else(|| schema.get("type"));
    let all = match said {
        Some(Bson::String(one)) => vec![one.as_str()],
        Some(Bson::Array(several)) => several.iter().filter_map(Bson::as_str).collect(),
        // What has properties is a document.
        None if schema.contains_key("properties") => vec!["object"],
        _ => return None,
    };
    Some(all.into_iter().filter(|kind| *kind != "null").collect())
}

fn of_type(kind: SchemaKind, of: &str, schema: &Document) -> Option<Shape> {
    Some(match of {
        "bool" | "boolean" => Shape::Boolean,
        "int" | "long" | "integer" => Shape::Long,
        "double" | "number" => Shape::Double,
        "timestamp" | "regex" | "javascript" if kind == SchemaKind::JsonSchema => {
            Shape::AnyDocument
        }
        "string" | "objectId" | "decimal" | "symbol" | "timestamp" | "regex" | "javascript" => {
            Shape::String
        }
        "date" => Shape::Date,
        // A UUID is text, and other binary is not: `binData` is left to the documents.
        "array" => {
            let items = schema.get_document("items").ok();
            let items = items.and_then(|items| shape(kind, items));
            Shape::Array(Box::new(inner(kind, items)))
        }
        "object" => of_document(kind, schema),
        _ => return None,
    })
}

/// A map where all values have one type and no names are given.
fn of_document(kind: SchemaKind, schema: &Document) -> Shape {
    if !schema.contains_key("properties")
        && let Ok(values) = schema.get_document("additionalProperties")
    {
        return match (kind, shape(kind, values)) {
            (SchemaKind::Protobuf, None) => Shape::AnyDocument,
            (_, values) => Shape::Map(Box::new(inner(kind, values))),
        };
    }
    let mut record = Record::default();
    of_validator(kind, &mut record, schema);
    Shape::Record(record)
}

/// What an array or a map holds.
fn inner(kind: SchemaKind, shape: Option<Shape>) -> Slot {
    Slot::optional(match (kind, shape.unwrap_or(Shape::Unknown)) {
        (SchemaKind::Protobuf, Shape::Array(_)) => Shape::AnyArray,
        (SchemaKind::Protobuf, Shape::Map(_)) => Shape::AnyDocument,
        (_, shape) => shape,
    })
}

fn is_of_unknown(shape: &Shape) -> bool {
    matches!(shape, Shape::Array(items) if items.shape == Shape::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn types_that_a_validator_gives_are_those_of_the_schema() {
        let mut record = Record::default();
        let schema = doc! {"bsonType": "object", "required": ["name"], "properties": {
            "_id": {"bsonType": "objectId"},
            "name": {"bsonType": ["string", "null"]},
            "age": {"bsonType": ["int", "double"]},
            "either": {"bsonType": ["int", "string"]},
            "tags": {"bsonType": "array", "items": {"bsonType": "string"}},
            "byDay": {"bsonType": "object", "additionalProperties": {"bsonType": "long"}},
            "place": {"properties": {"zip": {"type": "string"}, "open": {}}},
            "open": {"enum": ["a", "b"]},
        }};
        of_validator(SchemaKind::Avro, &mut record, &schema);
        let shape = |record: &Record, name: &str| {
            let index = record.find(name.as_bytes(), 0)?;
            Some(record.fields()[index].slot.shape.clone())
        };
        assert_eq!(shape(&record, "_id"), Some(Shape::String));
        assert_eq!(shape(&record, "name"), Some(Shape::String));
        assert_eq!(shape(&record, "age"), Some(Shape::Double));
        let of = |shape| Box::new(Slot::optional(shape));
        assert_eq!(
            shape(&record, "tags"),
            Some(Shape::Array(of(Shape::String)))
        );
        assert_eq!(shape(&record, "byDay"), Some(Shape::Map(of(Shape::Long))));
        let Some(Shape::Record(place)) = shape(&record, "place") else {
            panic!("a document");
        };
        assert_eq!(shape(&place, "zip"), Some(Shape::String));
        for left_open in ["either", "open"] {
            assert_eq!(shape(&record, left_open), None, "{left_open}");
        }
        assert_eq!(shape(&place, "open"), None);
    }
}
