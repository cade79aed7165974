//! Debezium's records in Avro: keys and values by schemas that documents do not change.

use super::{field, read};
use crate::support::{self, Database, Kafka, Registry, Setup, Tailwater};
use bson::doc;

fn on(db: &Database, kafka: &Kafka, registry: &Registry) -> Setup {
    Tailwater::on(db, kafka)
        .without("KAFKA_DB_CHANGES_TOPIC")
        .env("FORMAT", "debezium")
        .env("KAFKA_TOPIC_PREFIX", format!("{}-p", db.name()))
        .env("SERIALIZATION", "avro")
        .env("SCHEMA_REGISTRY_URL", registry.url())
}

fn topic(db: &Database) -> String {
    format!("{}-p.{}.users", db.name(), db.name())
}

async fn change(db: &Database) {
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "name": "Ada"})
        .await
        .unwrap();
    let renamed = doc! {"$set": {"name": "Bob"}};
    users.update_one(doc! {"_id": 1}, renamed).await.unwrap();
    users.delete_one(doc! {"_id": 1}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_are_read_by_the_schemas_that_the_registry_has() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let tailwater = on(&db, kafka, registry).start().await;
    change(&db).await;
    let topic = topic(&db);
    let records = kafka.wait_for_records(&[&topic], 4).await;
    tailwater.stop().await;

    let (id, insert) = read(registry, &records[0]).await;
    assert_eq!(field(&insert, "op"), "c");
    assert_eq!(field(&insert, "after"), r#"{"_id": 1,"name": "Ada"}"#);
    assert_eq!(field(&insert, "before"), serde_json::Value::Null);
    assert_eq!(field(&insert, "source.collection"), "users");
    let (same, update) = read(registry, &records[1]).await;
    assert_eq!(same, id, "no document changes the schema");
    let updated = field(&update, "updateDescription.updatedFields");
    assert_eq!(updated, r#"{"name": "Bob"}"#);
    let (_, delete) = read(registry, &records[2]).await;
    assert_eq!(field(&delete, "op"), "d");
    assert_eq!(records[3].bytes, None, "a tombstone");
    for record in &records {
        let mut key = record.clone();
        key.bytes = record.key_bytes.clone();
        let (_, key) = read(registry, &key).await;
        assert_eq!(field(&key, "id"), "1");
        assert_eq!(record.partition, records[0].partition);
    }
    for half in ["key", "value"] {
        let subject = format!("/subjects/{topic}-{half}/versions");
        assert_eq!(registry.get(&subject).await, serde_json::json!([1]));
    }
    let read = support::read_in_java(
        kafka,
        registry,
        &topic,
        3,
        "avro.AvroKafkaDeserializer",
        &support::CONFLUENT,
    )
    .await;
    let is_read = read.iter().any(|line| line.contains(r#""op": "u""#));
    assert!(is_read, "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_says_the_schema_of_the_key_and_one_that_of_the_value() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let setup = on(&db, kafka, registry).env("SCHEMA_ID_IN", "apicurio_header");
    let tailwater = setup.start().await;
    change(&db).await;
    let topic = topic(&db);
    let records = kafka.wait_for_records(&[&topic], 4).await;
    tailwater.stop().await;
    assert_eq!(records[0].key_bytes.as_deref(), Some(b"\x021".as_slice()));
    let has = |index: usize, half: &str| {
        let name = format!("apicurio.{half}.contentId");
        records[index].headers.contains_key(&name)
    };
    for index in 0..3 {
        assert!(has(index, "key") && has(index, "value"), "{index}");
    }
    assert!(
        has(3, "key") && !has(3, "value"),
        "a tombstone has no value"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_may_not_be_registered_are_found_or_asked_for() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let dead = db.topic("dead");
    let setup = on(&db, kafka, registry)
        .env("SCHEMA_AUTO_REGISTER", "false")
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": 1}).await.unwrap();
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    tailwater.stop().await;
    assert_eq!(letters[0].header("tw-dlq-reason"), "schema");
    let detail = letters[0].header("tw-dlq-detail");
    let topic = topic(&db);
    let said = format!("in no version of the subject {topic}-key");
    assert!(detail.contains(&said), "{detail}");

    // Somebody registers them: a run that may.
    let tailwater = on(&db, kafka, registry).start().await;
    users.insert_one(doc! {"_id": 2}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    let tailwater = setup.start().await;
    users.insert_one(doc! {"_id": 3}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;
    let (first, _) = read(registry, &records[0]).await;
    let (second, _) = read(registry, &records[1]).await;
    assert_eq!(first, second);
}
