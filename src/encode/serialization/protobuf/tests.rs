//! What is written, read by the `prost-reflect` crate, with schemas compiled by `protox`.

mod limits;

use super::{Writer, read, schema};
use crate::change::event::Event;
use crate::config::SchemaKind;
use crate::encode::json::{EncodeError, JsonMode};
use crate::encode::serialization::samples::{document_of, insert, place, value};
use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{Record, Shape};
use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ReflectMessage, Value};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

fn new(layout: Layout) -> Schema {
    Schema::new(SchemaKind::Protobuf, layout, place(), None)
}

fn written(schema: &Schema, event: &RawDocumentBuf) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let event = Event::parse(event.as_bytes()).unwrap();
    Writer::default().write(&mut out, schema, JsonMode::Simple, &event)?;
    Ok(out)
}

fn widened(schema: &Schema, event: &RawDocumentBuf) -> Result<(Schema, bool), String> {
    let mut wider = schema.clone();
    let event = Event::parse(event.as_bytes()).unwrap();
    let changed = wider.widen(&event).map_err(|drift| drift.to_string())?;
    Ok((wider, changed.is_some()))
}

/// One file and those that Protobuf has itself.
struct One(String);

impl FileResolver for One {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "schema.proto" => File::from_source(name, &self.0),
            other => Err(protox::Error::file_not_found(other)),
        }
    }
}

fn compiled(text: &str) -> DescriptorPool {
    let mut files = ChainFileResolver::new();
    files.add(One(text.to_owned()));
    files.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true);
    compiler
        .open_file("schema.proto")
        .unwrap_or_else(|error| panic!("{error:?}: {text}"));
    compiler.descriptor_pool()
}

/// Reads a value as the first message of the schema.
fn read_back(pool: &DescriptorPool, bytes: &[u8]) -> DynamicMessage {
    let file = pool.get_file_by_name("schema.proto").unwrap();
    let first = file.messages().next().unwrap();
    let message = DynamicMessage::decode(first, bytes).unwrap();
    assert_eq!(message.unknown_fields().count(), 0);
    message
}

fn sub_message(message: &DynamicMessage, name: &str) -> DynamicMessage {
    let field = message.get_field_by_name(name).unwrap();
    field.as_message().unwrap().clone()
}

fn has_nothing(bson: Option<&Bson>) -> bool {
    match bson {
        None | Some(Bson::Null | Bson::Undefined) => true,
        Some(Bson::Array(array)) => array.is_empty(),
        Some(Bson::Document(_)) => false,
        Some(_) => false,
    }
}

/// Whether what was read is what the document has.
fn is_same(value: &Value, shape: &Shape, bson: &Bson) -> bool {
    let text = |bson: &Bson| match bson {
        Bson::String(text) | Bson::Symbol(text) => text.clone(),
        Bson::ObjectId(id) => id.to_hex(),
        Bson::Decimal128(number) => number.to_string(),
        Bson::Binary(binary) => binary.to_uuid().unwrap().to_string(),
        other => other.clone().into_relaxed_extjson().to_string(),
    };
    match (value, shape, bson) {
        (Value::Bool(one), _, Bson::Boolean(other)) => one == other,
        (Value::I64(one), _, Bson::Int32(other)) => *one == i64::from(*other),
        (Value::I64(one), _, Bson::Int64(other)) => one == other,
        (Value::I64(one), _, Bson::Double(other)) => *one as f64 == *other,
        (Value::F64(one), _, Bson::Double(other)) => one.to_bits() == other.to_bits(),
        (Value::F64(one), _, Bson::Int32(other)) => *one == f64::from(*other),
        (Value::F64(one), _, Bson::Int64(other)) => *one as i64 == *other,
        (Value::Bytes(one), _, Bson::Binary(other)) => *one == other.bytes,
        (Value::String(one), _, other) => *one == text(other),
        (Value::Message(one), Shape::Date, Bson::DateTime(other)) => {
            let seconds = one.get_field_by_name("seconds").unwrap().as_i64().unwrap();
            let nanos = one.get_field_by_name("nanos").unwrap().as_i32().unwrap();
            let rest = other.timestamp_millis().rem_euclid(1000) * 1_000_000;
            seconds == other.timestamp_millis().div_euclid(1000) && i64::from(nanos) == rest
        }
        (Value::List(one), Shape::Array(slot), Bson::Array(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(a, b)| is_same(a, &slot.shape, b))
        }
        (Value::Message(one), Shape::Record(record), Bson::Document(document)) => {
            is_document(one, record, document)
        }
        (Value::Message(one), Shape::AnyArray, Bson::Array(other)) => {
            let list = one.get_field_by_name("values").unwrap();
            list.as_list().unwrap().len() == other.len()
        }
        _ => false,
    }
}

fn is_document(message: &DynamicMessage, record: &Record, document: &Document) -> bool {
    let known = |name: &str| record.find(name.as_bytes(), 0).is_some();
    let all_known = document
        .iter()
        .all(|(name, bson)| known(name) || has_nothing(Some(bson)));
    all_known
        && record.fields().iter().all(|field| {
            let name = std::str::from_utf8(&field.name).unwrap();
            let descriptor = message.descriptor();
            // By the name that the document has.
            let of = descriptor.get_field_by_json_name(name).unwrap();
            assert_eq!(of.number(), field.number);
            match document.get(name) {
                bson if has_nothing(bson) => !message.has_field(&of),
                Some(bson) => {
                    message.has_field(&of)
                        && is_same(&message.get_field(&of), &field.slot.shape, bson)
                }
                None => false,
            }
        })
}

/// Each field with its message, its name, its number and its type.
fn fields(pool: &DescriptorPool) -> Vec<(String, String, u32, String)> {
    let file = pool.get_file_by_name("schema.proto").unwrap();
    let mut all = Vec::new();
    for message in file.messages() {
        for field in message.fields() {
            let of = format!("{:?} {:?}", field.cardinality(), field.kind());
            let name = message.name().to_owned();
            all.push((name, field.json_name().to_owned(), field.number(), of));
        }
    }
    all
}

proptest! {
    /// Whatever comes, in whatever order: it is read back as it was or refused, every schema is one that compiles,
    /// a field has its number and its type for ever, what was written by an older one is read by each newer one, and
    /// nothing is lost on the way through a registry.
    #[test]
    fn documents_are_read_back_and_numbers_stay(
        documents in prop::collection::vec(document_of(value()), 1..8)
    ) {
        let mut current = new(Layout::Change);
        let mut before: Vec<(Vec<u8>, &Document)> = Vec::new();
        let mut known = Vec::new();
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
            let pool = compiled(&text);
            let back = read(&text, Layout::Change, &place()).unwrap();
            prop_assert_eq!(&schema(&back), &text);
            prop_assert_eq!(&back, &wider);
            let all = fields(&pool);
            for field in &known {
                prop_assert!(all.contains(field), "{:?} is gone from {}", field, text);
            }
            known = all;
            before.push((written(&wider, &event).unwrap(), document));
            for (bytes, document) in &before {
                let value = read_back(&pool, bytes);
                let read = sub_message(&value, "fullDocument");
                prop_assert!(
                    is_document(&read, &wider.document, document),
                    "{:?}\n{:?}\n{}", document, read, text
                );
            }
            // A restart between two documents changes nothing.
            current = back;
        }
    }
}

#[test]
fn a_schema_is_such_a_file() {
    let event = insert(&doc! {
        "_id": 1, "user_name": "Ada", "userName": "x", "zip-code": "1010", "at": bson::DateTime::from_millis(-1),
        "address": {"lines": ["a"], "string": {"x": 1.5}}, "shape": [[0.5, 1], [null, "a", {"b": i64::MAX}]],
        "empty": [], "nothing": null,
    });
    let (schema_of, _) = widened(&new(Layout::Document), &event).unwrap();
    let text = schema(&schema_of);
    assert_eq!(
        text,
        r#"syntax = "proto3";

package tailwater.shop.or_ders;

import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";

message Document {
  optional int64 _id = 1 [json_name = "_id"];
  optional string user_name = 2 [json_name = "user_name"];
  optional string userName_2 = 3 [json_name = "userName"];
  optional string zip_code = 4 [json_name = "zip-code"];
  optional google.protobuf.Timestamp at = 5;
  optional Address address = 6;
  repeated google.protobuf.ListValue shape = 7;
}

message Address {
  repeated string lines = 1;
  optional String string = 2;
}

message String {
  optional double x = 1;
}
"#
    );
    let value = read_back(&compiled(&text), &written(&schema_of, &event).unwrap());
    let mut options = prost_reflect::SerializeOptions::new();
    options = options.stringify_64_bit_integers(false);
    let json = value.serialize_with_options(serde_json::value::Serializer, &options);
    assert_eq!(
        json.unwrap(),
        serde_json::json!({
            "_id": 1, "user_name": "Ada", "userName": "x", "zip-code": "1010", "at": "1969-12-31T23:59:59.999Z",
            "address": {"lines": ["a"], "string": {"x": 1.5}},
            "shape": [[0.5, 1.0], [null, "a", {"b": "9223372036854775807"}]],
        })
    );
}

#[test]
fn a_change_has_what_the_envelope_in_json_has() {
    let event = doc! {
        "_id": {"_data": "8265"}, "operationType": "update", "ns": {"db": "shop", "coll": "or-ders"},
        "clusterTime": bson::Timestamp { time: 7, increment: 1 },
        "documentKey": {"_id": "k"}, "fullDocument": {"_id": "k", "n": 0},
        "fullDocumentBeforeChange": {"_id": "k", "n": 1, "old": true},
        "updateDescription": {
            "updatedFields": {"n": 0, "a.b": {"c": [1]}}, "removedFields": ["old"],
            "truncatedArrays": [{"field": "list", "newSize": 2}],
        },
    };
    let event = RawDocumentBuf::try_from(&event).unwrap();
    let (schema_of, _) = widened(&new(Layout::Change), &event).unwrap();
    let pool = compiled(&schema(&schema_of));
    let value = read_back(&pool, &written(&schema_of, &event).unwrap());
    let string = |message: &DynamicMessage, name: &str| {
        message
            .get_field_by_name(name)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(string(&value, "operationType"), "update");
    assert_eq!(string(&value, "collection"), "or-ders");
    assert_eq!(string(&sub_message(&value, "documentKey"), "_id"), "k");
    let after = sub_message(&value, "fullDocument");
    // A zero is there, and what is missing is not.
    assert!(after.has_field_by_name("n"));
    assert!(!after.has_field_by_name("old"));
    let before = sub_message(&value, "fullDocumentBeforeChange");
    assert_eq!(
        before.get_field_by_name("old").unwrap().as_bool(),
        Some(true)
    );
    let description = sub_message(&value, "updateDescription");
    let updated = description.get_field_by_name("updatedFields").unwrap();
    let of = |name: &str| updated.as_map().unwrap()[&MapKey::String(name.into())].clone();
    assert_eq!(of("a.b").as_str(), Some(r#"{"c":[1]}"#));
    let truncated = description.get_field_by_name("truncatedArrays").unwrap();
    let first = truncated.as_list().unwrap()[0].clone();
    let size = first
        .as_message()
        .unwrap()
        .get_field_by_name("newSize")
        .unwrap();
    assert_eq!(size.as_i64(), Some(2));
    assert!(!value.has_field_by_name("to"));
}

#[test]
fn what_protobuf_cannot_hold_is_refused_with_its_path() {
    let mut current = new(Layout::Document);
    for (document, said) in [
        (doc! {"n": 1, "list": ["a"]}, None),
        (doc! {"n": 3.0}, None),
        (
            doc! {"n": 1.5},
            Some(
                "`fullDocument.n` is an integer in the schema, and here a double, which Protobuf cannot make of it",
            ),
        ),
        (
            doc! {"list": ["a", null]},
            Some("`fullDocument.list[]` is null, and Protobuf has no null in lists and maps"),
        ),
        (
            doc! {"list": [1]},
            Some("`fullDocument.list[]` is a string in the schema, and here an integer"),
        ),
        (
            doc! {"[x]": 1},
            Some("`fullDocument.[x]` begins and ends with a bracket"),
        ),
    ] {
        match (widened(&current, &insert(&document)), said) {
            (Ok((wider, _)), None) => current = wider,
            (Err(drift), Some(said)) => assert!(drift.starts_with(said), "{drift}"),
            (other, said) => panic!("{document}: {other:?}, not {said:?}"),
        }
    }
}

#[test]
fn a_validator_says_what_is_a_map_and_what_has_a_fraction() {
    let validator = doc! {"properties": {
        "price": {"bsonType": "double"}, "byDay": {"additionalProperties": {"bsonType": "int"}, "bsonType": "object"},
        "tags": {"bsonType": "array"}, "rows": {"bsonType": "array", "items": {"bsonType": "array"}},
    }};
    let schema_of = Schema::new(
        SchemaKind::Protobuf,
        Layout::Document,
        place(),
        Some(&validator),
    );
    let event = insert(&doc! {"price": 1, "byDay": {"2024-01-31": 7}, "rows": [[1]]});
    let pool = compiled(&schema(&schema_of));
    let value = read_back(&pool, &written(&schema_of, &event).unwrap());
    assert_eq!(
        value.get_field_by_name("price").unwrap().as_f64(),
        Some(1.0)
    );
    let days = value.get_field_by_name("byDay").unwrap();
    let day = MapKey::String("2024-01-31".into());
    assert_eq!(days.as_map().unwrap()[&day].as_i64(), Some(7));
    assert!(value.get_field_by_name("tags").is_none());
}

#[test]
fn schemas_of_others_keep_their_numbers_and_what_is_reserved() {
    let of_others = r#"
        syntax = "proto3"; // A comment.
        package com.example;
        /* An order. */
        message Order {
          reserved 4, 20 to 30;
          reserved "old";
          string id = 7 [json_name = "_id"];
          optional int32 count = 2;
          repeated .com.example.Line lines = 3;
        }
        message Line { double price = 1; }
    "#;
    let schema_of = read(of_others, Layout::Document, &place()).unwrap();
    assert_eq!(schema_of.full_name(), "com.example.Order");
    assert_eq!(schema_of.beyond, None);
    let event = insert(&doc! {"_id": "a", "count": 5, "lines": [{"price": 2}]});
    let value = read_back(&compiled(of_others), &written(&schema_of, &event).unwrap());
    assert_eq!(value.get_field_by_name("id").unwrap().as_str(), Some("a"));
    assert_eq!(value.get_field_by_name("count").unwrap().as_i32(), Some(5));
    let (wider, _) = widened(&schema_of, &insert(&doc! {"note": "x", "old": 1})).unwrap();
    let text = schema(&wider);
    compiled(&text);
    for line in [
        "reserved 4, 20 to 30;",
        "string id = 7",
        "string note = 31",
        "int64 old_2 = 32 [json_name = \"old\"]",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let other = "syntax = \"proto3\"; message A { oneof of { int64 a = 1; } enum E { X = 0; } option (o) = {a: 1}; }";
    let other = read(other, Layout::Document, &place()).unwrap();
    assert_eq!(other.beyond.as_deref(), Some("`oneof`"));
    for (unreadable, said) in [
        ("nonsense", "is no file in Protobuf's language"),
        ("message A {}", "is not of the syntax proto3"),
        (
            "syntax = \"proto2\"; message A {}",
            "is not of the syntax proto3",
        ),
        ("syntax = \"proto3\";", "has no message"),
        (
            "syntax = \"proto3\"; message A { B b = 1; } message B { fixed32 c = 1; }",
            "has at b.c what is of a type that documents are not written as",
        ),
        (
            "syntax = \"proto3\"; message A { A a = 1; }",
            "nested too deep, or holds itself",
        ),
        (
            "syntax = \"proto3\"; package tailwater.shop.others; message A {}",
            "put {collection} into the topic, too",
        ),
    ] {
        let error = read(unreadable, Layout::Document, &place()).unwrap_err();
        assert!(error.ends_with(said), "{error}");
    }
    assert_eq!(
        read(of_others, Layout::Change, &place()).unwrap_err(),
        "is not that of the envelope of FORMAT=tailwater"
    );
}
