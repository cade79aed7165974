//! `SERIALIZATION=protobuf`: read by the schema that the registry has, with numbers that stay.

use super::{on, topic};
use crate::support::{self, Database, Kafka, Record, Registry, Setup};
use bson::doc;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};

fn in_protobuf(db: &Database, kafka: &Kafka, registry: &Registry) -> Setup {
    on(db, kafka, registry).env("SERIALIZATION", "protobuf")
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

/// A value as the first message of a schema.
pub(super) fn decoded(schema: &str, value: &[u8]) -> DynamicMessage {
    let pool = compiled(schema);
    let file = pool.get_file_by_name("schema.proto").unwrap();
    let message = DynamicMessage::decode(file.messages().next().unwrap(), value).unwrap();
    assert_eq!(message.unknown_fields().count(), 0);
    message
}

/// The number of a record's schema, and its value as JSON.
pub(super) async fn read(registry: &Registry, record: &Record) -> (i32, Value) {
    let bytes = record.bytes.as_deref().unwrap();
    assert_eq!(bytes[0], 0, "the magic byte");
    assert_eq!(bytes[5], 0, "the first message");
    let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
    let message = decoded(&registry.schema(id).await, &bytes[6..]);
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    (id, json.unwrap())
}

/// The numbers of the fields of a message.
fn numbers(schema: &str, message: &str) -> Value {
    let pool = compiled(schema);
    let file = pool.get_file_by_name("schema.proto").unwrap();
    let message = file.messages().find(|it| it.name() == message).unwrap();
    let fields = message.fields();
    fields
        .map(|field| (field.json_name().to_owned(), json!(field.number())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_those_that_are_registered_over_restarts_and_new_fields() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let setup = in_protobuf(&db, kafka, registry);
    let topic = topic(&db, "users");
    let subject = format!("{topic}-value");
    let users = db.documents("users");
    let latest = async || {
        let path = format!("/subjects/{subject}/versions/latest");
        registry.get(&path).await["schema"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut known = json!({});
    for (id, document, added) in [
        (
            1,
            doc! {"_id": 1, "b": "x", "zip-code": "1010", "none": null, "empty": []},
            json!({"_id": 1, "b": 2, "zip-code": 3}),
        ),
        (
            2,
            doc! {"a": 1, "_id": 2, "shape": [[1, 2], [0.5]]},
            json!({"a": 4, "shape": 5}),
        ),
        (
            3,
            doc! {"none": {"y": 1}, "_id": 3, "b": "z", "empty": ["x"]},
            json!({"none": 6, "empty": 7}),
        ),
        (4, doc! {"b": "y", "_id": 4, "empty": []}, json!({})),
    ] {
        let tailwater = setup.start().await;
        users.insert_one(document).await.unwrap();
        kafka.wait_for_records(&[&topic], id).await;
        if id == 1 {
            registry.demand_compatibility(&subject).await;
        }
        for (name, number) in added.as_object().unwrap() {
            known[name] = number.clone();
        }
        assert_eq!(numbers(&latest().await, "Document"), known);
        tailwater.stop().await;
    }
    let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(versions, json!([1, 2, 3]));
    let records = kafka.records(&[&topic]).await;
    let of = async |id: i32| {
        let record = records.iter().find(|record| record.key["_id"] == id);
        read(registry, record.unwrap()).await.1
    };
    let first = of(1).await;
    assert_eq!(first["operationType"], "insert");
    assert_eq!(
        first["fullDocument"],
        json!({"_id": 1, "b": "x", "zip-code": "1010"})
    );
    assert_eq!(
        of(2).await["fullDocument"]["shape"],
        json!([[1.0, 2.0], [0.5]])
    );
    assert_eq!(of(3).await["fullDocument"]["none"], json!({"y": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_protobuf_cannot_hold_is_a_record_error() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let (topic, dead) = (topic(&db, "users"), db.topic("dead"));
    let tailwater = in_protobuf(&db, kafka, registry)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let users = db.documents("users");
    for document in [
        doc! {"_id": 1, "n": 1, "tags": ["a"]},
        doc! {"_id": 2, "n": 0.5},
        doc! {"_id": 3, "tags": ["a", null]},
        doc! {"_id": 4, "n": 2.0},
    ] {
        users.insert_one(document).await.unwrap();
    }
    let letters = kafka.wait_for_records(&[&dead], 2).await;
    for (letter, said) in letters.iter().zip([
        "`fullDocument.n` is an integer in the schema, and here a double, which Protobuf cannot make of it",
        "`fullDocument.tags[]` is null, and Protobuf has no null in lists and maps",
    ]) {
        let detail = letter.header("tw-dlq-detail");
        assert!(detail.contains(said), "{detail}");
    }
    let records = kafka.wait_for_records(&[&topic], 2).await;
    let last = records.iter().find(|record| record.key["_id"] == 4);
    let (_, value) = read(registry, last.unwrap()).await;
    assert_eq!(value["fullDocument"], json!({"_id": 4, "n": 2}));
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_ones_own_keeps_its_numbers() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let topic = topic(&db, "users");
    let subject = format!("{topic}-value");
    let own = "syntax = \"proto3\"; package com.example;\nmessage User {\n  reserved 9;\n  \
               int64 id = 7 [json_name = \"_id\"];\n  string name = 2;\n}\n";
    registry.register(&subject, "PROTOBUF", own).await;
    let tailwater = in_protobuf(&db, kafka, registry)
        .env("FORMAT", "document")
        .start()
        .await;
    let users = db.documents("users");
    for document in [doc! {"_id": 1, "name": "Ada"}, doc! {"_id": 2, "age": 7}] {
        users.insert_one(document).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 2).await;
    let of = |id: i32| records.iter().find(|it| it.key["_id"] == id).unwrap();
    assert_eq!(
        read(registry, of(1)).await.1,
        json!({"_id": 1, "name": "Ada"})
    );
    let (id, value) = read(registry, of(2)).await;
    assert_eq!(value, json!({"_id": 2, "age": 7}));
    let schema = registry.schema(id).await;
    assert_eq!(
        numbers(&schema, "User"),
        json!({"_id": 7, "name": 2, "age": 10})
    );
    assert!(schema.contains("reserved 9;"), "{schema}");
    tailwater.stop().await;
}
