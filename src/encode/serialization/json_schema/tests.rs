//! What is written, held against its schema by the `jsonschema` crate.

use super::{read, schema, write};
use crate::change::event::Event;
use crate::config::SchemaKind;
use crate::encode::envelope;
use crate::encode::json::{EncodeError, JsonMode};
use crate::encode::serialization::samples::{document_of, insert, place, value};
use crate::encode::serialization::schema::{Layout, Schema};
use bson::{Bson, Document, RawDocumentBuf, doc};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::Value;

fn new(layout: Layout) -> Schema {
    Schema::new(SchemaKind::JsonSchema, layout, place(), None)
}

fn written(schema: &Schema, event: &RawDocumentBuf) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let event = Event::parse(event.as_bytes()).unwrap();
    write(&mut out, schema, JsonMode::Simple, &event)?;
    Ok(out)
}

fn widened(schema: &Schema, event: &RawDocumentBuf) -> Result<(Schema, bool), String> {
    let mut wider = schema.clone();
    let event = Event::parse(event.as_bytes()).unwrap();
    let changed = wider.widen(&event).map_err(|drift| drift.to_string())?;
    Ok((wider, changed.is_some()))
}

/// Without a look at formats: a date beyond the year 9999 is no `date-time`.
fn validator(text: &str) -> Validator {
    let schema: Value = serde_json::from_str(text).unwrap();
    let options = jsonschema::draft7::options();
    options
        .should_validate_formats(false)
        .build(&schema)
        .unwrap()
}

/// What JSON has no type for beside what each language is tried with.
fn seldom() -> impl Strategy<Value = Bson> {
    prop_oneof![
        8 => value(),
        1 => any::<u32>().prop_map(|time| Bson::Timestamp(bson::Timestamp { time, increment: 1 })),
        1 => Just(Bson::Double(f64::NAN)),
        1 => Just(Bson::MinKey),
        1 => "\\PC{0,9}".prop_map(Bson::JavaScriptCode),
    ]
}

proptest! {
    /// Whatever comes, in whatever order: what is written is what there is without a schema, and valid by the schema,
    /// also by each that came later; nothing is lost on the way through a registry.
    #[test]
    fn values_are_those_without_a_schema_and_valid_by_it_and_by_later_ones(
        documents in prop::collection::vec(document_of(seldom()), 1..8)
    ) {
        let mut current = new(Layout::Change);
        let mut before: Vec<Value> = Vec::new();
        for document in &documents {
            let event = insert(document);
            let Ok((wider, changed)) = widened(&current, &event) else {
                prop_assert_eq!(written(&current, &event), Err(EncodeError::Unsettled));
                continue;
            };
            if changed {
                prop_assert_eq!(written(&current, &event), Err(EncodeError::Unsettled));
            }
            let text = schema(&wider);
            let back = read(&text, Layout::Change, &place()).unwrap();
            prop_assert_eq!(schema(&back), text.clone());
            prop_assert_eq!(&back.beyond, &None);
            // What the registry gives back is as wide.
            prop_assert!(!widened(&back, &event).unwrap().1, "{}", text);
            let bytes = written(&wider, &event).unwrap();
            let mut plain = Vec::new();
            let parsed = Event::parse(event.as_bytes()).unwrap();
            envelope::write(&mut plain, JsonMode::Simple, &parsed).unwrap();
            prop_assert_eq!(&bytes, &plain);
            before.push(serde_json::from_slice(&bytes).unwrap());
            let validator = validator(&text);
            for value in &before {
                let valid = validator.validate(value);
                prop_assert!(valid.is_ok(), "{:?}\n{}\n{}", valid.err(), value, text);
            }
            current = wider;
        }
    }
}

#[test]
fn a_value_that_is_not_of_the_schema_is_not_valid_by_it() {
    let event = insert(&doc! {"_id": 1, "name": "Ada", "at": bson::DateTime::from_millis(7)});
    let (schema_of, _) = widened(&new(Layout::Change), &event).unwrap();
    let text: Value = serde_json::from_str(&schema(&schema_of)).unwrap();
    let validator = jsonschema::draft7::options()
        .should_validate_formats(true)
        .build(&text)
        .unwrap();
    let value: Value = serde_json::from_slice(&written(&schema_of, &event).unwrap()).unwrap();
    assert!(validator.is_valid(&value));
    for (path, other) in [
        ("/fullDocument/name", serde_json::json!(1)),
        ("/fullDocument/at", serde_json::json!("yesterday")),
        ("/documentKey/_id", serde_json::json!("1")),
        ("/operationType", serde_json::json!(null)),
        ("/fullDocument", serde_json::json!({"unknown": 1})),
    ] {
        let mut wrong = value.clone();
        *wrong.pointer_mut(path).unwrap() = other;
        assert!(!validator.is_valid(&wrong), "{path}");
    }
}

#[test]
fn an_update_a_delete_and_a_rename_are_valid() {
    let event = |operation: &str, more: Document| {
        let mut event = doc! {
            "_id": {"_data": "8265"}, "operationType": operation,
            "ns": {"db": "shop", "coll": "or-ders"}, "clusterTime": bson::Timestamp { time: 7, increment: 1 },
        };
        event.extend(more);
        RawDocumentBuf::try_from(&event).unwrap()
    };
    let mut current = new(Layout::Change);
    for event in [
        event(
            "update",
            doc! {"documentKey": {"_id": 1}, "fullDocument": null,
            "updateDescription": {"updatedFields": {"n": 1, "a.b": {"c": [1]}}, "removedFields": ["old"],
                "truncatedArrays": [{"field": "list", "newSize": 2}],
                "disambiguatedPaths": {"a.0": ["a", "0"]}}},
        ),
        event(
            "delete",
            doc! {"documentKey": {"_id": 1}, "fullDocumentBeforeChange": {"n": 1.5}},
        ),
        event("rename", doc! {"to": {"db": "shop", "coll": "b"}}),
        event(
            "create",
            doc! {"operationDescription": {"idIndex": {"v": 2}}},
        ),
    ] {
        (current, _) = widened(&current, &event).unwrap();
        let bytes = written(&current, &event).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let valid = validator(&schema(&current))
            .validate(&value)
            .map_err(|e| e.to_string());
        assert_eq!(valid, Ok(()), "{value}");
    }
}

#[test]
fn numbers_become_wider_and_other_types_do_not_change() {
    let mut current = new(Layout::Document);
    for (document, said) in [
        (
            doc! {"n": 1, "when": bson::Timestamp { time: 1, increment: 1 }},
            None,
        ),
        (doc! {"n": 1.5}, None),
        (doc! {"n": i64::MAX}, None),
        (
            doc! {"n": "x"},
            Some("`fullDocument.n` is a double in the schema, and here a string"),
        ),
        (
            doc! {"when": "x"},
            Some("`fullDocument.when` is a document in the schema, and here a string"),
        ),
    ] {
        match (widened(&current, &insert(&document)), said) {
            (Ok((wider, _)), None) => current = wider,
            (Err(drift), Some(said)) => assert_eq!(drift, said),
            (other, said) => panic!("{document}: {other:?}, not {said:?}"),
        }
    }
}

#[test]
fn schemas_of_others_are_taken_as_they_are_meant() {
    let of_others = r##"{"title": "com.example.Order", "type": "object", "required": ["id"], "properties": {
        "id": {"type": "integer"}, "note": {"type": "string"}, "tags": {"type": "array"},
        "when": {"type": ["null", "string"], "format": "date-time"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
        "additionalProperties": false,
        "$defs": {"line": {"type": "object", "properties": {"n": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}}}"##;
    let schema_of = read(of_others, Layout::Document, &place()).unwrap();
    assert_eq!(schema_of.full_name(), "com.example.Order");
    assert_eq!(schema_of.beyond, None);
    for (document, fits) in [
        (doc! {"id": 1}, true),
        (
            doc! {"id": 1, "note": "x", "tags": [1, "a"], "when": null},
            true,
        ),
        // A document that is open may have any other field.
        (
            doc! {"id": 1, "lines": [{"n": null, "other": "x"}, {}]},
            true,
        ),
        (doc! {"note": "x"}, false),
        (doc! {"id": 1, "note": null}, false),
        (doc! {"id": 1, "lines": [null]}, false),
        (doc! {"id": 1, "lines": [{"n": "x"}]}, false),
        (doc! {"id": 1, "other": 1}, false),
    ] {
        let event = insert(&document);
        assert_eq!(written(&schema_of, &event).is_ok(), fits, "{document}");
        let value = document.clone();
        let value = serde_json::to_value(Bson::Document(value).into_relaxed_extjson()).unwrap();
        assert_eq!(validator(of_others).is_valid(&value), fits, "{value}");
    }
    let narrow =
        r#"{"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]+$"}}}"#;
    let narrow = read(narrow, Layout::Document, &place()).unwrap();
    assert_eq!(narrow.beyond.as_deref(), Some("`pattern` at zip"));
    for (unreadable, said) in [
        ("nonsense", "is no JSON"),
        (r#""string""#, "is no document's"),
        (
            r#"{"properties": {"a": {"type": ["integer", "string"]}}}"#,
            "has at a what is of a type that documents are not written as",
        ),
        (
            r#"{"properties": {"a": {"properties": {"b": {"$ref": "other.json"}}, "type": "object"}}}"#,
            "has at a.b what is in another schema",
        ),
        (
            r##"{"properties": {"a": {"$ref": "#/definitions/a"}}, "definitions": {"a": {"$ref": "#/definitions/a"}}}"##,
            "has at a what refers to itself",
        ),
        (
            r#"{"$comment": "mongodb.collection: shop.others", "type": "object"}"#,
            "is of shop.others, and each collection needs a subject of its own: set SCHEMA_SUBJECT=topic_record; where schemas \
             know no difference between two names, such as `a-b` and `a_b`, put {collection} into the topic, too",
        ),
    ] {
        assert_eq!(
            read(unreadable, Layout::Document, &place()).unwrap_err(),
            said
        );
    }
    assert_eq!(
        read(of_others, Layout::Change, &place()).unwrap_err(),
        "is not that of the envelope of FORMAT=tailwater"
    );
}
