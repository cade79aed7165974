//! CloudEvents whose data has a schema, in each language of schemas.

use super::headers::read_in_javascript;
use super::{field, on, topic};
use crate::support::{self, Database, Kafka, Record, Registry, Setup};
use bson::doc;
use serde_json::{Value, json};
use tailwater::error::Code;

/// `SERIALIZATION`, what the header says of the value then, and who reads it in Java.
const KINDS: [(&str, &str, &str); 3] = [
    ("avro", "application/avro", "avro.AvroKafkaDeserializer"),
    (
        "json_schema",
        "application/json",
        "jsonschema.JsonSchemaKafkaDeserializer",
    ),
    (
        "protobuf",
        "application/protobuf",
        "protobuf.ProtobufKafkaDeserializer",
    ),
];

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn of_kind(db: &Database, kafka: &Kafka, registry: &Registry, kind: &str) -> Setup {
    on(db, kafka, registry)
        .env("SERIALIZATION", kind)
        .env("FORMAT", "cloudevents")
        .env("CLOUDEVENTS_MODE", "binary")
}

/// The number of a record's schema, and its value as JSON.
async fn read(registry: &Registry, kind: &str, record: &Record) -> (i32, Value) {
    match kind {
        "avro" => {
            let (id, value) = super::read(registry, record).await;
            (id, field(&value, ""))
        }
        "json_schema" => super::json_schema::read(registry, record).await,
        _ => super::protobuf::read(registry, record).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_binary_cloud_event_has_a_schema() {
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    for (kind, content, _) in KINDS {
        let db = support::database().await;
        let tailwater = of_kind(&db, kafka, registry, kind)
            .env("TOMBSTONES", "true")
            .env("TRACEPARENT_FIELD", "meta.trace")
            .env("FULL_DOCUMENT_BEFORE_CHANGE", "whenAvailable")
            .env("EXTRA_HEADERS", "source=shop")
            .start()
            .await;
        let users = db.documents("users");
        let topic = topic(&db, "users");
        let ada = doc! {"_id": 1, "name": "Ada", "meta": {"trace": TRACE}};
        users.insert_one(ada).await.unwrap();
        kafka.wait_for_records(&[&topic], 1).await;
        let more = doc! {"$set": {"name": "Ada L.", "age": 36}};
        users.update_one(doc! {"_id": 1}, more).await.unwrap();
        kafka.wait_for_records(&[&topic], 2).await;
        users.delete_one(doc! {"_id": 1}).await.unwrap();
        let records = kafka.wait_for_records(&[&topic], 4).await;
        tailwater.stop().await;
        let (first, insert) = read(registry, kind, &records[0]).await;
        assert_eq!(insert["operationType"], "insert", "{kind}");
        assert_eq!(insert["fullDocument"]["name"], "Ada", "{kind}");
        let (second, update) = read(registry, kind, &records[1]).await;
        assert_ne!(first, second, "{kind}: the schema was widened");
        assert_eq!(update["operationType"], "update", "{kind}");
        assert_eq!(update["fullDocument"]["age"], 36, "{kind}");
        let (same, delete) = read(registry, kind, &records[2]).await;
        assert_eq!(same, second, "{kind}");
        assert_eq!(delete["documentKey"]["_id"], 1, "{kind}");
        for (record, operation) in records.iter().zip(["insert", "update", "delete", "delete"]) {
            assert_eq!(record.header("content-type"), content);
            assert_eq!(
                record.header("ce_type"),
                format!("tailwater.mongodb.{operation}")
            );
            assert_eq!(record.header("ce_specversion"), "1.0");
            assert_eq!(record.header("source"), "shop");
            assert_eq!(record.key, records[0].key, "{kind}");
        }
        assert_eq!(records[0].header("ce_traceparent"), TRACE, "{kind}");
        let numbers: Vec<_> = records[..3]
            .iter()
            .map(|record| record.header("ce_sequence"))
            .collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        assert_eq!(records[3].bytes, None, "{kind}");
        let suffixed = format!("{}-t", records[2].header("ce_id"));
        assert_eq!(records[3].header("ce_id"), suffixed);
        let versions = format!("/subjects/{topic}-value/versions");
        assert_eq!(registry.get(&versions).await, json!([1, 2]), "{kind}");
    }
}

/// Rows of a snapshot, and what happens to a collection, are events like others.
#[tokio::test(flavor = "multi_thread")]
async fn rows_and_events_of_collections_have_a_schema_and_attributes() {
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    for (kind, content, _) in KINDS {
        let db = support::database().await;
        let users = db.documents("users");
        users
            .insert_one(doc! {"_id": 1, "name": "Ada"})
            .await
            .unwrap();
        let topic = topic(&db, "users");
        let tailwater = of_kind(&db, kafka, registry, kind)
            .env("KAFKA_TOPIC_DDL", super::topic(&db, "{collection}"))
            .env("SNAPSHOT", "initial")
            .env("KAFKA_TOPIC_PARTITIONS", 1)
            .start()
            .await;
        tailwater.wait_for_snapshot().await;
        users.drop().await.unwrap();
        let records = kafka.wait_for_records(&[&topic], 2).await;
        tailwater.stop().await;
        for (record, operation) in records.iter().zip(["read", "drop"]) {
            assert_eq!(record.header("content-type"), content);
            assert_eq!(
                record.header("ce_type"),
                format!("tailwater.mongodb.{operation}")
            );
            let (_, value) = read(registry, kind, record).await;
            assert_eq!(value["operationType"], operation, "{kind}");
            assert_eq!(value["collection"], "users", "{kind}");
        }
        let (_, row) = read(registry, kind, &records[0]).await;
        assert_eq!(row["fullDocument"]["name"], "Ada", "{kind}");
    }
}

/// With the number in front of the value and in a header. The numbers of this registry are small, so that headers are
/// text.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_others_read_the_data_of_a_cloud_event() {
    let kafka = support::kafka().await;
    let registry = Registry::start().await;
    for (kind, _, deserializer) in KINDS {
        for id_in in ["value", "header", "apicurio_header"] {
            let db = support::database().await;
            let topic = topic(&db, "users");
            let tailwater = of_kind(&db, kafka, &registry, kind)
                .env("SCHEMA_ID_IN", id_in)
                .start()
                .await;
            let users = db.documents("users");
            let ada = doc! {"_id": 1, "name": "Ada"};
            users.insert_one(ada).await.unwrap();
            let records = kafka.wait_for_records(&[&topic], 1).await;
            tailwater.stop().await;
            let about = format!("{kind} {id_in}");
            assert_eq!(
                records[0].header("ce_type"),
                "tailwater.mongodb.insert",
                "{about}"
            );
            if id_in == "apicurio_header" {
                let headers = &support::HEADERS;
                let read =
                    support::read_in_java(kafka, &registry, &topic, 1, deserializer, headers).await;
                let read = read.join("\n");
                assert!(
                    read.contains("insert") && read.contains("Ada"),
                    "{about}: {read}"
                );
                continue;
            }
            let read = read_in_javascript(&registry, kind, &topic, &records).await;
            match kind {
                "protobuf" => assert_eq!(read[0]["read"], 6, "{about}"),
                _ => assert_eq!(read[0]["fullDocument"]["name"], "Ada", "{about}"),
            }
        }
    }
}

/// A dead letter becomes the event that it would have been, with the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_as_a_cloud_event_with_its_schema() {
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    for (kind, content, _) in KINDS {
        let db = support::database().await;
        let (topic, dead) = (topic(&db, "users"), db.topic("dead"));
        let setup = of_kind(&db, kafka, registry, kind)
            .env("KAFKA_DLQ_TOPIC", &dead)
            .env("ON_RECORD_ERROR", "dlq");
        let locked = setup.clone().env("SCHEMA_AUTO_REGISTER", "false");
        let letter = super::letter_without_a_schema(&db, kafka, &locked, &dead).await;
        assert_eq!(letter.header("tw-dlq-reason"), "schema", "{kind}");
        let replayed = setup.args(&["dlq", "replay"]).run().await;
        assert_eq!(replayed.code, Some(0), "{kind}: {}", replayed.output);
        let records = kafka.wait_for_records(&[&topic], 1).await;
        assert_eq!(records[0].header("content-type"), content);
        assert_eq!(records[0].header("ce_type"), "tailwater.mongodb.insert");
        assert_eq!(records[0].header("ce_id"), letter.header("tw-id"), "{kind}");
        let (_, value) = read(registry, kind, &records[0]).await;
        assert_eq!(value["fullDocument"]["name"], "Ada", "{kind}");
    }
}

/// Its data would be bytes within JSON.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_structured_cloud_event_has_none() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    for (kind, ..) in KINDS {
        for mode in ["structured", ""] {
            let setup = of_kind(&db, kafka, registry, kind).env("CLOUDEVENTS_MODE", mode);
            for command in [&["run"][..], &["check"], &["config"]] {
                let exit = setup.clone().args(command).run().await;
                let code = i32::from(Code::Config.exit_code());
                assert_eq!(exit.code, Some(code), "{command:?}: {}", exit.output);
                let said = "FORMAT=cloudevents has its data in JSON with CLOUDEVENTS_MODE=structured; \
                            set CLOUDEVENTS_MODE=binary, or SERIALIZATION=json";
                let flat = exit.output.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(flat.contains(said), "{flat}");
            }
        }
    }
    let versions = format!("/subjects/{}-value/versions", topic(&db, "users"));
    assert_eq!(registry.get(&versions).await["error_code"], 40401);
}
