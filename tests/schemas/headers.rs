//! The schema of a value in a header, and values read by those who read it there.

use super::{on, topic};
use crate::support::{self, Kafka, Node, PATIENCE, Record, Registry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::doc;
use serde_json::{Value, json};

/// What Confluent's client for JavaScript reads.
pub(super) async fn read_in_javascript(
    registry: &Registry,
    kind: &str,
    topic: &str,
    records: &[Record],
) -> Vec<Value> {
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            let value = STANDARD.encode(record.bytes.as_deref().unwrap());
            json!({"value": value, "headers": record.headers})
        })
        .collect();
    let records = json!(records).to_string();
    let url = registry.url();
    let mut program = Node::with("tests/schemas/node").start(
        &["read.cjs"],
        &[
            ("REGISTRY", url.as_str()),
            ("KIND", kind),
            ("TOPIC", topic),
            ("RECORDS", records.as_str()),
        ],
    );
    program.wait_exit(PATIENCE).await;
    let output = program.output();
    let lines = output.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|_| panic!("{output}"))
}

async fn written(
    kafka: &Kafka,
    registry: &Registry,
    kind: &str,
    id_in: &str,
) -> (String, Vec<Record>) {
    let db = support::database().await;
    let tailwater = on(&db, kafka, registry)
        .env("SERIALIZATION", kind)
        .env("SCHEMA_ID_IN", id_in)
        .env("TOMBSTONES", "true")
        .start()
        .await;
    let (users, topic) = (db.documents("users"), topic(&db, "users"));
    let ada = doc! {"_id": 1, "name": "Ada", "at": bson::DateTime::from_millis(7)};
    users.insert_one(ada).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    users.delete_one(doc! {"_id": 1}).await.unwrap();
    let mut records = kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;
    // A tombstone has no value, and so no schema.
    let tombstone = records.iter().position(|record| record.bytes.is_none());
    let tombstone = records.remove(tombstone.unwrap());
    let names: Vec<_> = tombstone.headers.keys().collect();
    assert!(
        names.iter().all(|name| name.starts_with("tw-")),
        "{names:?}"
    );
    (topic, records)
}

/// The numbers of this registry are small, so that headers are text.
#[tokio::test(flavor = "multi_thread")]
async fn confluents_client_reads_the_schema_from_the_value_and_from_a_header() {
    let kafka = support::kafka().await;
    let registry = Registry::start().await;
    for id_in in ["value", "header"] {
        for kind in ["avro", "json_schema"] {
            let (topic, records) = written(kafka, &registry, kind, id_in).await;
            let read = read_in_javascript(&registry, kind, &topic, &records).await;
            let of = |operation: &str| {
                let mut all = read.iter();
                all.find(|value| value["operationType"] == operation)
                    .unwrap_or_else(|| panic!("no {operation} in {read:?}"))
            };
            assert_eq!(
                of("insert")["fullDocument"]["name"],
                "Ada",
                "{kind} {id_in}"
            );
            assert_eq!(of("delete")["documentKey"]["_id"], 1, "{kind} {id_in}");
        }
        let (topic, records) = written(kafka, &registry, "protobuf", id_in).await;
        let read = read_in_javascript(&registry, "protobuf", &topic, &records).await;
        for (record, read) in records.iter().zip(read) {
            assert_eq!(read["indexes"], json!([0]));
            assert_eq!(read["read"], 6);
            let id = i32::try_from(read["id"].as_i64().unwrap()).unwrap();
            let start = if id_in == "value" { 6 } else { 0 };
            let value = &record.bytes.as_deref().unwrap()[start..];
            let value = super::protobuf::decoded(&registry.schema(id).await, value);
            let collection = value.get_field_by_name("collection").unwrap();
            assert_eq!(collection.as_str(), Some("users"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apicurios_clients_read_the_schema_from_a_header() {
    let kafka = support::kafka().await;
    let registry = Registry::start().await;
    for (kind, deserializer) in [
        ("avro", "avro.AvroKafkaDeserializer"),
        ("json_schema", "jsonschema.JsonSchemaKafkaDeserializer"),
        ("protobuf", "protobuf.ProtobufKafkaDeserializer"),
    ] {
        let (topic, _) = written(kafka, &registry, kind, "apicurio_header").await;
        let headers = &support::HEADERS;
        let read = support::read_in_java(kafka, &registry, &topic, 3, deserializer, headers).await;
        let read = read.join("\n");
        for value in ["operationType", "insert", "delete", "Ada", "users"] {
            assert!(read.contains(value), "{kind}: {value} in {read}");
        }
    }
}
