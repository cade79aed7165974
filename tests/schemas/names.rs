//! Names that the languages of schemas do not allow, keep for themselves, or take for the same.

use super::headers::read_in_javascript;
use super::on;
use crate::support;
use bson::{Document, doc};

/// Words of Avro, of JSON Schema and of Protobuf, each as a field and as a document's name.
fn words() -> Document {
    let mut all = doc! {
        "_id": 1, "array": [{"e": 1}], "int": {"long": {"float": {"x": 1}}}, "google": {"protobuf": {"Timestamp": 1}},
        "ref": {"$ref": "users", "$id": 1, "$db": "other"}, "refs": [{"$ref": "users", "$id": 1}],
        "at": bson::DateTime::from_millis(5), "x": {"Document": {"x": 1}, "string": {"y": 1}},
    };
    for name in [
        "string",
        "null",
        "bytes",
        "boolean",
        "double",
        "record",
        "map",
        "enum",
        "fixed",
        "error",
        "union",
        "message",
        "Timestamp",
        "properties",
        "type",
        "Change",
        "UpdateDescription",
        "Document",
    ] {
        all.insert(name, doc! {"type": 1});
    }
    for name in [
        "optional",
        "repeated",
        "reserved",
        "oneof",
        "option",
        "import",
        "syntax",
        "package",
        "group",
        "extensions",
        "max",
        "to",
        "inf",
        "true",
        "definitions",
        "user_name",
        "userName",
        "username",
        "a.b",
        "a-b",
        "a_b",
        "",
        "1",
        "ü",
        "日本",
        "中国",
    ] {
        all.insert(name, 1);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_a_collection_or_a_field_is_one_that_readers_stumble_over() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let long = "long".repeat(25);
    let collections = [
        "1st",
        "with-hyphen",
        "with space",
        "with.dot",
        "ünïcode",
        "google",
        "null",
        "message",
        &long,
    ];
    let topics = ["avro", "json_schema", "protobuf"].map(|kind| (kind, db.topic(kind)));
    let mut running = Vec::new();
    for (kind, topic) in &topics {
        let setup = on(&db, kafka, registry)
            .env("KAFKA_DB_CHANGES_TOPIC", topic)
            .env("KAFKA_TOPIC_PARTITIONS", 1)
            .env("RESUME_TOPIC", support::unique("checkpoints"))
            .env("SCHEMA_SUBJECT", "topic_record")
            .env("SERIALIZATION", kind);
        running.push(setup.start().await);
    }
    for collection in collections {
        db.documents(collection).insert_one(words()).await.unwrap();
    }
    for (kind, topic) in &topics {
        let records = kafka.wait_for_records(&[topic], collections.len()).await;
        if *kind != "protobuf" {
            let read = read_in_javascript(registry, kind, topic, &records).await;
            for (value, collection) in read.iter().zip(collections) {
                assert_eq!(value["collection"], collection);
            }
            continue;
        }
        for (record, collection) in records.iter().zip(collections) {
            let bytes = record.bytes.as_deref().unwrap();
            let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
            let value = super::protobuf::decoded(&registry.schema(id).await, &bytes[6..]);
            let of = value.get_field_by_name("collection").unwrap();
            assert_eq!(of.as_str(), Some(collection));
        }
    }
    for tailwater in running {
        tailwater.stop().await;
    }
}

/// Also where the advice that is given first is taken already.
#[tokio::test(flavor = "multi_thread")]
async fn collections_of_one_name_in_schemas_need_topics_of_their_own() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let (topic, dead) = (db.topic("all"), db.topic("dead"));
    let setup = on(&db, kafka, registry)
        .env("SCHEMA_SUBJECT", "topic_record")
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup
        .clone()
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .start()
        .await;
    for collection in ["or-ders", "or_ders"] {
        db.documents(collection)
            .insert_one(doc! {"_id": 1})
            .await
            .unwrap();
    }
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    let advice = "where schemas know no difference between two names, such as `a-b` and `a_b`, put {collection} into the topic";
    assert!(detail.contains(advice), "{detail}");
    tailwater.stop().await;
    let tailwater = setup.start().await;
    for collection in ["or-ders", "or_ders"] {
        db.documents(collection)
            .insert_one(doc! {"_id": 2})
            .await
            .unwrap();
    }
    let own = ["or-ders", "or_ders"].map(|collection| format!("{}.{collection}", db.name()));
    kafka.wait_for_records(&[&own[0], &own[1]], 2).await;
    tailwater.stop().await;
}
