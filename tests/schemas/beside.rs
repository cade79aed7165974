//! Schemas beside what else a stream does: snapshots, transactions, listeners, dead letters.

use super::{field, on, read, topic};
use crate::support;
use bson::doc;

/// A schema that is needed amid a transaction, for a change or for a row of a snapshot, loses and repeats nothing.
#[tokio::test(flavor = "multi_thread")]
async fn rows_and_changes_are_written_once_in_transactions() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let users = db.documents("users");
    for id in 0..20 {
        let field = format!("of_row{}", id % 4);
        users.insert_one(doc! {"_id": id, field: id}).await.unwrap();
    }
    let tailwater = on(&db, kafka, registry)
        .env("DELIVERY", "exactly_once")
        .env("SNAPSHOT", "initial")
        .start()
        .await;
    tailwater.wait_for_snapshot().await;
    for id in 20..40 {
        let field = format!("of_change{}", id % 4);
        users.insert_one(doc! {"_id": id, field: id}).await.unwrap();
    }
    let topic = topic(&db, "users");
    let records = support::eventually(support::PATIENCE, "all are committed", async || {
        let records = kafka.committed_records(&[&topic]).await;
        (records.len() >= 40).then_some(records)
    })
    .await;
    assert_eq!(records.len(), 40);
    for record in &records {
        let id = record.key["_id"].as_i64().unwrap();
        let of = if id < 20 { "of_row" } else { "of_change" };
        let (_, value) = read(registry, record).await;
        assert_eq!(field(&value, &format!("fullDocument.{of}{}", id % 4)), id);
    }
    tailwater.stop().await;
}

/// Workers read the records of listeners, and so these stay JSON.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_listeners_have_no_schema() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let jobs = format!("jobs.{}", db.name());
    db.documents("listeners")
        .insert_one(doc! {
            "_id": "greet", "collection": "users", "jobName": "greet", "topic": &jobs,
            "operationType": ["insert"], "isActive": true,
        })
        .await
        .unwrap();
    let tailwater = on(&db, kafka, registry)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("RESUME_TOPIC", support::unique("checkpoints"))
        .start()
        .await;
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "name": "Ada"})
        .await
        .unwrap();
    // It fits no schema, which is none of the listener's business.
    let jobs = kafka.wait_for_records(&[&jobs], 1).await;
    assert_eq!(jobs[0].value["fullDocument"]["name"], "Ada");
    let topic = topic(&db, "users");
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let (_, value) = read(registry, &records[0]).await;
    assert_eq!(field(&value, "fullDocument.name"), "Ada");
    tailwater.stop().await;
}

/// A dead letter is replayed by the schema that there is then.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_once_its_schema_is_there() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let (topic, dead) = (topic(&db, "users"), db.topic("dead"));
    let setup = on(&db, kafka, registry)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let locked = setup.clone().env("SCHEMA_AUTO_REGISTER", "false");
    super::letter_without_a_schema(&db, kafka, &locked, &dead).await;
    let replay = ["dlq", "replay"];
    let refused = locked.args(&replay).run().await;
    assert_ne!(refused.code, Some(0));
    let said = "the registry has no subject";
    assert!(refused.output.contains(said), "{}", refused.output);
    let replayed = setup.args(&replay).run().await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.output);
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let (_, value) = read(registry, &records[0]).await;
    assert_eq!(field(&value, "fullDocument.name"), "Ada");
}

/// A validator knows neither what a masked field is nor that it must not be named.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_in_no_schema_and_what_is_masked_is_text_there() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let validator = doc! {"$jsonSchema": {"properties": {
    "pin": {"bsonType": "int"}, "hidden": {"bsonType": "int"}}}};
    let client = support::mongo().await.client().await;
    client
        .database(db.name())
        .create_collection("users")
        .validator(validator)
        .await
        .unwrap();
    let tailwater = on(&db, kafka, registry)
        .env("FIELDS_EXCLUDE", "users:hidden")
        .env("FIELDS_MASK", "users:pin")
        .start()
        .await;
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "pin": 1234, "hidden": 5})
        .await
        .unwrap();
    let topic = topic(&db, "users");
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let (id, value) = read(registry, &records[0]).await;
    assert!(field(&value, "fullDocument.pin").is_string());
    let schema = registry.schema(id).await;
    assert!(!schema.contains("hidden"), "{schema}");
    tailwater.stop().await;
}
