//! What is written, read by the `apache-avro` crate.

use super::{Writer, read, schema};
use crate::change::event::Event;
use crate::config::SchemaKind;
use crate::encode::json::{EncodeError, JsonMode};
use crate::encode::serialization::samples::{document_of, insert, place, value};
use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{Record, Shape};
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use apache_avro::{Schema as Avro, from_avro_datum};
use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::prelude::*;

fn written(schema: &Schema, event: &RawDocumentBuf) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let event = Event::parse(event.as_bytes()).unwrap();
    let mut writer = Writer::default();
    writer.write(&mut out, schema, JsonMode::Simple, &event)?;
    Ok(out)
}

fn parsed(schema_text: &str) -> Avro {
    Avro::parse_str(schema_text).unwrap_or_else(|error| panic!("{error}: {schema_text}"))
}

/// Reads all of `bytes`.
fn read_back(writer: &Avro, bytes: &[u8], reader: Option<&Avro>) -> Value {
    let mut rest = bytes;
    let value = from_avro_datum(writer, &mut rest, reader).unwrap();
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    value
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let Value::Record(fields) = value else {
        panic!("{value:?} is no record");
    };
    let found = fields.iter().find(|(known, _)| known == name);
    match &found.unwrap_or_else(|| panic!("no {name} in {value:?}")).1 {
        Value::Union(_, of) => of,
        of => of,
    }
}

/// Whether what was read is what the document has.
fn is_same(value: &Value, shape: &Shape, bson: Option<&Bson>) -> bool {
    let value = match value {
        Value::Union(_, of) => of,
        of => of,
    };
    let text = |bson: &Bson| match bson {
        Bson::String(text) | Bson::Symbol(text) => text.clone(),
        Bson::ObjectId(id) => id.to_hex(),
        Bson::Decimal128(number) => number.to_string(),
        Bson::Binary(binary) => binary.to_uuid().unwrap().to_string(),
        other => other.clone().into_relaxed_extjson().to_string(),
    };
    match (value, shape, bson) {
        (Value::Null, _, None | Some(Bson::Null | Bson::Undefined)) => true,
        (Value::Boolean(one), _, Some(Bson::Boolean(other))) => one == other,
        (Value::Long(one), _, Some(Bson::Int32(other))) => *one == i64::from(*other),
        (Value::Long(one), _, Some(Bson::Int64(other))) => one == other,
        (Value::Long(one), _, Some(Bson::Double(other))) => *one as f64 == *other,
        (Value::Double(one), _, Some(Bson::Double(other))) => one.to_bits() == other.to_bits(),
        (Value::Double(one), _, Some(Bson::Int32(other))) => *one == f64::from(*other),
        (Value::Double(one), _, Some(Bson::Int64(other))) => *one as i64 == *other,
        (Value::TimestampMillis(one), _, Some(Bson::DateTime(other))) => {
            *one == other.timestamp_millis()
        }
        (Value::Bytes(one), _, Some(Bson::Binary(other))) => *one == other.bytes,
        (Value::String(one), _, Some(other)) => *one == text(other),
        (Value::Array(one), Shape::Array(slot), Some(Bson::Array(other))) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(a, b)| is_same(a, &slot.shape, Some(b)))
        }
        (Value::Record(_), Shape::Record(record), Some(Bson::Document(document))) => {
            is_document(value, record, document)
        }
        _ => false,
    }
}

fn is_document(value: &Value, record: &Record, document: &Document) -> bool {
    let known = |name: &str| record.find(name.as_bytes(), 0).is_some();
    let is_null = |bson: &Bson| matches!(bson, Bson::Null | Bson::Undefined);
    document
        .iter()
        .all(|(name, bson)| known(name) || is_null(bson))
        && record.fields().iter().all(|known| {
            let name = std::str::from_utf8(&known.name).unwrap();
            let read = field(value, &known.alias);
            is_same(read, &known.slot.shape, document.get(name))
        })
}

proptest! {
    /// Whatever comes, in whatever order: it is read back as it was or refused, every schema is one that the crate
    /// takes, what was written by an older one is read by each newer one, and nothing is lost on the way through a
    /// registry.
    #[test]
    fn documents_are_read_back_and_schemas_only_widen(
        documents in prop::collection::vec(document_of(value()), 1..8)
    ) {
        let mut current = Schema::new(SchemaKind::Avro, Layout::Change, place(), None);
        let mut before: Vec<(Avro, Vec<u8>)> = Vec::new();
        for document in &documents {
            let event = insert(document);
            let parsed_event = Event::parse(event.as_bytes()).unwrap();
            let mut wider = current.clone();
            let Ok(changed) = wider.widen(&parsed_event) else {
                // What was refused is not written by the schema as it is either.
                prop_assert_eq!(written(&current, &event), Err(EncodeError::Unsettled));
                continue;
            };
            if changed.is_some() {
                prop_assert_eq!(written(&current, &event), Err(EncodeError::Unsettled));
            } else {
                prop_assert_eq!(&wider, &current);
            }
            let text = schema(&wider);
            prop_assert_eq!(&read(&text, Layout::Change, &place()), &Ok(wider.clone()));
            let avro = parsed(&text);
            let bytes = written(&wider, &event).unwrap();
            let value = read_back(&avro, &bytes, None);
            prop_assert!(
                is_document(field(&value, "fullDocument"), &wider.document, document),
                "{document:?}\n{value:?}"
            );
            for (older, bytes) in &before {
                prop_assert!(SchemaCompatibility::can_read(older, &avro).is_ok(), "{text}");
                read_back(older, bytes, Some(&avro));
            }
            before.push((avro, bytes));
            current = wider;
        }
    }
}

#[test]
fn an_update_and_a_delete_have_what_the_envelope_in_json_has() {
    let mut schema_of = Schema::new(SchemaKind::Avro, Layout::Change, place(), None);
    let event = doc! {
        "_id": {"_data": "8265"}, "operationType": "update", "ns": {"db": "shop", "coll": "or-ders"},
        "clusterTime": bson::Timestamp { time: 7, increment: 1 },
        "documentKey": {"_id": "k"}, "fullDocument": {"_id": "k", "n": 1},
        "fullDocumentBeforeChange": {"_id": "k", "n": 0, "old": true},
        "updateDescription": {
            "updatedFields": {"n": 1, "a.b": {"c": [1]}}, "removedFields": ["old"],
            "truncatedArrays": [{"field": "list", "newSize": 2}],
        },
    };
    let event = RawDocumentBuf::try_from(&event).unwrap();
    let parsed_event = Event::parse(event.as_bytes()).unwrap();
    let changed = schema_of.widen(&parsed_event).unwrap();
    assert_eq!(changed.unwrap().to_string(), "documentKey._id");
    let avro = parsed(&schema(&schema_of));
    let value = read_back(&avro, &written(&schema_of, &event).unwrap(), None);
    let string = |text: &str| Value::String(text.into());
    assert_eq!(field(&value, "operationType"), &string("update"));
    assert_eq!(field(&value, "collection"), &string("or-ders"));
    assert_eq!(field(&value, "timestamp"), &Value::TimestampMillis(7000));
    assert_eq!(field(field(&value, "documentKey"), "_id"), &string("k"));
    assert_eq!(field(field(&value, "fullDocument"), "old"), &Value::Null);
    let old = field(field(&value, "fullDocumentBeforeChange"), "old");
    assert_eq!(old, &Value::Boolean(true));
    let description = field(&value, "updateDescription");
    let Value::Map(updated) = field(description, "updatedFields") else {
        panic!("{description:?}");
    };
    assert_eq!(updated["a.b"], string(r#"{"c":[1]}"#));
    let removed = Value::Array(vec![string("old")]);
    assert_eq!(field(description, "removedFields"), &removed);
    let Value::Array(truncated) = field(description, "truncatedArrays") else {
        panic!("{description:?}");
    };
    assert_eq!(field(&truncated[0], "newSize"), &Value::Long(2));
}

#[test]
fn what_would_change_the_type_of_a_field_is_refused_with_its_path() {
    let refused = |first: Document, second: Document| {
        let mut schema_of = Schema::new(SchemaKind::Avro, Layout::Change, place(), None);
        for (document, is_last) in [(first, false), (second, true)] {
            let event = insert(&document);
            let parsed_event = Event::parse(event.as_bytes()).unwrap();
            match schema_of.widen(&parsed_event) {
                Ok(_) => assert!(!is_last, "{document}"),
                Err(drift) => return drift.to_string(),
            }
        }
        unreachable!()
    };
    for (first, second, said) in [
        (
            doc! {"a": {"b": [{"c": 1}]}},
            doc! {"a": {"b": [{"c": "x"}]}},
            "`fullDocument.a.b[].c` is an integer in the schema, and here a string",
        ),
        (
            doc! {"a": "x"},
            doc! {"a": {"b": 1}},
            "`fullDocument.a` is a string in the schema, and here a document",
        ),
        (
            doc! {"a": 0.5},
            doc! {"a": i64::MAX},
            "`fullDocument.a` is a double in the schema, and no double holds this integer",
        ),
        (
            doc! {"_id": 1},
            doc! {"_id": "x"},
            "`documentKey._id` is an integer in the schema, and here a string",
        ),
    ] {
        assert_eq!(refused(first, second), said);
    }
}

#[test]
fn schemas_of_others_are_taken_where_documents_can_be_written_by_them() {
    let of_others = r#"{"type": "record", "name": "Order", "namespace": "com.example", "fields": [
        {"name": "id", "type": "int", "mongodb.field": "_id"},
        {"name": "note", "type": ["string", "null"], "default": ""}]}"#;
    let schema_of = read(of_others, Layout::Document, &place()).unwrap();
    assert_eq!(schema_of.full_name(), "com.example.Order");
    let bytes = written(&schema_of, &insert(&doc! {"_id": 7, "note": "x"})).unwrap();
    let value = read_back(&parsed(of_others), &bytes, None);
    assert_eq!(field(&value, "id"), &Value::Int(7));
    assert_eq!(field(&value, "note"), &Value::String("x".into()));
    // Without a field that must be there, with one that the schema lacks, and with a number that is too large.
    for other in [
        doc! {"note": "x"},
        doc! {"_id": 1, "b": 1},
        doc! {"_id": 1_i64 << 40},
    ] {
        assert_eq!(
            written(&schema_of, &insert(&other)),
            Err(EncodeError::Unsettled),
            "{other}"
        );
    }
    for (unreadable, said) in [
        ("nonsense", "is no JSON"),
        (r#""string""#, "is no record"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":["int","string"]}]}"#,
            "has at a what is a union of other than null and one type",
        ),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"S","fields":[
                {"name":"b","type":{"type":"enum","name":"E","symbols":["X"]}}]}}]}"#,
            "has at a.b what is of a type that documents are not written as",
        ),
        (
            r#"{"type":"record","name":"R","mongodb.collection":"shop.others","fields":[]}"#,
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

/// The specification does not allow it, and not every reader does.
#[test]
fn no_record_is_called_as_a_primitive_type() {
    let primitives = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string",
    ];
    let mut document = doc! {"_id": 1, "in": {"string": [{"long": {"x": 1}}]}};
    for name in primitives {
        document.insert(name, doc! {"x": 1});
    }
    let mut wider = Schema::new(SchemaKind::Avro, Layout::Change, place(), None);
    let event = insert(&document);
    let event = Event::parse(event.as_bytes()).unwrap();
    wider.widen(&event).unwrap();
    let text = schema(&wider);
    parsed(&text);
    for name in primitives {
        let record = format!("\"name\":\"{name}\",\"type\":\"record\"");
        assert!(!text.contains(&record), "{name} in {text}");
        let numbered = format!("\"name\":\"{name}_2\",\"type\":\"record\"");
        assert!(text.contains(&numbered), "{name}_2 in {text}");
    }
}
