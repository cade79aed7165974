//! `SERIALIZATION=json_schema`: JSON as it is without a schema, with one.

use super::{on, topic};
use crate::support::{self, Database, Kafka, Record, Registry, Setup};
use bson::doc;
use serde_json::{Value, json};

fn in_json(db: &Database, kafka: &Kafka, registry: &Registry) -> Setup {
    on(db, kafka, registry).env("SERIALIZATION", "json_schema")
}

/// The number of a record's schema, and its value, which is valid by it.
pub(super) async fn read(registry: &Registry, record: &Record) -> (i32, Value) {
    let bytes = record.bytes.as_deref().unwrap();
    assert_eq!(bytes[0], 0, "the magic byte");
    let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
    let schema: Value = serde_json::from_str(&registry.schema(id).await).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let value: Value = serde_json::from_slice(&bytes[5..]).unwrap();
    let valid = validator
        .validate(&value)
        .map_err(|error| error.to_string());
    assert_eq!(valid, Ok(()), "{value}");
    (id, value)
}

/// Also where the registry demands that readers of the newest schema can read what was written before, and in Java.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_what_it_is_without_a_schema_and_schemas_stay_compatible() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let topic = topic(&db, "users");
    let subject = format!("{topic}-value");
    let tailwater = in_json(&db, kafka, registry).start().await;
    let users = db.documents("users");
    let first = doc! {"_id": 1, "name": "Ada", "at": bson::DateTime::from_millis(7), "later": null, "list": []};
    users.insert_one(first).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    registry.demand_compatibility(&subject).await;
    for document in [
        doc! {"_id": 2, "later": 1, "list": [1], "address": {"zip-code": "1010"}},
        doc! {"_id": 3, "later": 0.5, "list": [0.5, null], "address": {"rooms": [{"n": null}]}},
        doc! {"_id": 4, "later": i64::MAX, "address": {"rooms": [{"n": true}]}, "regex": bson::Regex {
        pattern: "a".try_into().unwrap(), options: "".try_into().unwrap()}},
    ] {
        users.insert_one(document).await.unwrap();
    }
    kafka.wait_for_records(&[&topic], 4).await;
    users
        .update_one(doc! {"_id": 1}, doc! {"$set": {"name": "Ada L."}})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 5).await;
    users.delete_one(doc! {"_id": 2}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 6).await;
    tailwater.stop().await;
    let mut values = Vec::new();
    for record in &records {
        values.push(read(registry, record).await.1);
    }
    let of = |operation: &str, id: i32| {
        let mut all = values.iter();
        all.find(|it| it["operationType"] == operation && it["documentKey"]["_id"] == id)
            .unwrap_or_else(|| panic!("no {operation} of {id} in {values:?}"))
    };
    assert_eq!(
        of("insert", 1)["fullDocument"],
        json!({"_id": 1, "name": "Ada", "at": "1970-01-01T00:00:00.007Z", "later": null, "list": []})
    );
    assert_eq!(
        of("insert", 3)["fullDocument"]["address"],
        json!({"rooms": [{"n": null}]})
    );
    assert_eq!(of("insert", 4)["fullDocument"]["later"], i64::MAX);
    assert_eq!(
        of("update", 1)["updateDescription"]["updatedFields"],
        json!({"name": "Ada L."})
    );
    assert!(of("delete", 2).get("fullDocument").is_none());
    let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(versions, json!([1, 2, 3, 4]));

    let read = support::read_in_java(
        kafka,
        registry,
        &topic,
        6,
        "jsonschema.JsonSchemaKafkaDeserializer",
        &support::CONFLUENT,
    )
    .await;
    for value in ["\"Ada\"", "\"Ada L.\"", "\"delete\"", "9223372036854775807"] {
        let is_there = read.iter().any(|line| line.contains(value));
        assert!(is_there, "{value} in {read:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_schema_and_another_type_is_a_record_error() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let (topic, dead) = (topic(&db, "users"), db.topic("dead"));
    let setup = in_json(&db, kafka, registry)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    for (count, document) in [
        (1, doc! {"_id": 1, "a-b": 1, "list": []}),
        (2, doc! {"_id": 2, "a-b": 2.5, "more": true}),
        (3, doc! {"_id": 3, "list": [], "more": null}),
    ] {
        let tailwater = setup.start().await;
        db.documents("users").insert_one(document).await.unwrap();
        kafka.wait_for_records(&[&topic], count).await;
        tailwater.stop().await;
    }
    let tailwater = setup.start().await;
    let other = doc! {"_id": 4, "more": "x"};
    db.documents("users").insert_one(other).await.unwrap();
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    let said = "`fullDocument.more` is a boolean in the schema, and here a string";
    assert!(detail.contains(said), "{detail}");
    tailwater.stop().await;
    let versions = format!("/subjects/{topic}-value/versions");
    assert_eq!(registry.get(&versions).await, json!([1, 2]));
}

/// Schemas that are written by hand leave documents open, and fields out that are not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_ones_own_decides_what_is_written() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let (topic, dead) = (topic(&db, "users"), db.topic("dead"));
    let subject = format!("{topic}-value");
    let own = json!({"title": "User", "type": "object", "required": ["name"], "properties": {
        "_id": {"type": "integer"}, "name": {"type": "string", "minLength": 1}, "age": {"type": "integer"}}});
    registry.register(&subject, "JSON", &own.to_string()).await;
    // Even where versions may be added: this one says what could not be said again.
    let tailwater = in_json(&db, kafka, registry)
        .env("FORMAT", "document")
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let users = db.documents("users");
    for document in [
        doc! {"_id": 1, "name": "Ada", "other": [1, "x"]},
        doc! {"_id": 2, "age": 7},
        doc! {"_id": 3, "name": "Bob", "age": null},
    ] {
        users.insert_one(document).await.unwrap();
    }
    let letters = kafka.wait_for_records(&[&dead], 2).await;
    for (letter, field) in letters.iter().zip(["name", "age"]) {
        let detail = letter.header("tw-dlq-detail");
        let said = format!("`fullDocument.{field}` does not fit the schema of the subject");
        assert!(detail.contains(&said), "{detail}");
        assert!(detail.contains("which has `minLength` at name"), "{detail}");
    }
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let (_, value) = read(registry, &records[0]).await;
    assert_eq!(value, json!({"_id": 1, "name": "Ada", "other": [1, "x"]}));
    let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
    assert_eq!(versions, json!([1]));
    tailwater.stop().await;
}
