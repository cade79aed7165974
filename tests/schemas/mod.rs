//! Values with a schema in a registry: what is written is read by somebody else, and the registry decides what a
//! schema may become.

mod access;
mod answers;
mod beside;
mod cloud_events;
mod debezium;
mod gate;
mod headers;
mod json_schema;
mod names;
mod outage;
mod protobuf;
mod registry;

use crate::support::{self, Database, Kafka, Record, Registry, Setup, Tailwater};
use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum};
use bson::doc;

/// A stream of this database in Avro, each collection in a topic of its own.
fn on(db: &Database, kafka: &Kafka, registry: &Registry) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", topic(db, "{collection}"))
        .env("SERIALIZATION", "avro")
        .env("SCHEMA_REGISTRY_URL", registry.url())
}

fn topic(db: &Database, collection: &str) -> String {
    format!("{}.{collection}", db.name())
}

/// Writes one document, whose record becomes a dead letter, since no schema may be registered for it; the letter.
async fn letter_without_a_schema(
    db: &Database,
    kafka: &Kafka,
    setup: &Setup,
    dead: &str,
) -> Record {
    let tailwater = setup.start().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1, "name": "Ada"})
        .await
        .unwrap();
    let mut letters = kafka.wait_for_records(&[dead], 1).await;
    tailwater.stop().await;
    letters.remove(0)
}

/// The number of a record's schema, and its value.
async fn read(registry: &Registry, record: &Record) -> (i32, Value) {
    let bytes = record.bytes.as_deref().unwrap();
    assert_eq!(bytes[0], 0, "the magic byte");
    let id = i32::from_be_bytes(bytes[1..5].try_into().unwrap());
    let schema = Schema::parse_str(&registry.schema(id).await).unwrap();
    let mut rest = &bytes[5..];
    let value = from_avro_datum(&schema, &mut rest, None).unwrap();
    assert!(rest.is_empty());
    (id, value)
}

/// What a field holds, as JSON.
fn field(value: &Value, path: &str) -> serde_json::Value {
    let mut value = value.clone();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let Value::Record(fields) = unwrapped(value) else {
            panic!("nothing has a {name} of {path}");
        };
        let found = fields.into_iter().find(|(known, _)| known == name);
        value = found.unwrap_or_else(|| panic!("no {path}")).1;
    }
    unwrapped(value).try_into().unwrap()
}

fn unwrapped(value: Value) -> Value {
    match value {
        Value::Union(_, of) => *of,
        of => of,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_read_by_the_schema_that_the_registry_has() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let tailwater = on(&db, kafka, registry).start().await;
    let users = db.documents("users");
    users
        .insert_one(doc! {"_id": 1, "name": "Ada", "at": bson::DateTime::from_millis(7)})
        .await
        .unwrap();
    users
        .insert_one(
            doc! {"_id": 2, "name": "Bob", "address": {"zip-code": "1010", "rooms": [1, 2]}},
        )
        .await
        .unwrap();
    let topic = topic(&db, "users");
    let records = kafka.wait_for_records(&[&topic], 2).await;
    users
        .update_one(doc! {"_id": 1}, doc! {"$set": {"name": "Ada L."}})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 3).await;
    users.delete_one(doc! {"_id": 2}).await.unwrap();
    let all = kafka.wait_for_records(&[&topic], 4).await;

    let (first, ada) = read(registry, &records[0]).await;
    assert_eq!(field(&ada, "operationType"), "insert");
    assert_eq!(field(&ada, "collection"), "users");
    assert_eq!(field(&ada, "documentKey._id"), 1);
    assert_eq!(field(&ada, "fullDocument.name"), "Ada");
    assert_eq!(field(&ada, "fullDocument.at"), 7);
    let of_bob = all.iter().find(|record| record.key["_id"] == 2).unwrap();
    let (second, bob) = read(registry, of_bob).await;
    assert_ne!(first, second, "the schema was widened");
    assert_eq!(field(&bob, "fullDocument.at"), serde_json::Value::Null);
    assert_eq!(field(&bob, "fullDocument.address.zip_code"), "1010");
    assert_eq!(
        field(&bob, "fullDocument.address.rooms"),
        serde_json::json!([1, 2])
    );
    let of = |operation: &str| {
        let mut found = all.iter().filter(|it| it.header("tw-op") == operation);
        found.next().unwrap()
    };
    let (third, update) = read(registry, of("update")).await;
    assert_eq!(third, second, "nothing new is no new schema");
    assert_eq!(field(&update, "fullDocument.name"), "Ada L.");
    assert_eq!(
        field(&update, "updateDescription.updatedFields"),
        serde_json::json!({"name": "\"Ada L.\""})
    );
    let (_, delete) = read(registry, of("delete")).await;
    assert_eq!(field(&delete, "fullDocument"), serde_json::Value::Null);
    assert_eq!(field(&delete, "documentKey._id"), 2);
    // The key is what it is without schemas: its partition must not change with one.
    assert_eq!(
        of("delete").key,
        serde_json::json!({"database": db.name(), "collection": "users", "_id": 2})
    );
    let versions = registry
        .get(&format!("/subjects/{topic}-value/versions"))
        .await;
    assert_eq!(versions, serde_json::json!([1, 2]));
    tailwater.stop().await;

    let read = support::read_in_java(
        kafka,
        registry,
        &topic,
        4,
        "avro.AvroKafkaDeserializer",
        &support::CONFLUENT,
    )
    .await;
    for value in [
        "\"name\": \"Ada\"",
        "\"name\": \"Ada L.\"",
        "\"zip_code\": \"1010\"",
        "\"operationType\": \"delete\"",
    ] {
        let is_there = read.iter().any(|line| line.contains(value));
        assert!(is_there, "{value} in {read:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_schema_that_is_registered() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let setup = on(&db, kafka, registry);
    let topic = topic(&db, "users");
    let documents = [
        doc! {"_id": 1, "a-b": 1, "a_b": "x", "list": []},
        doc! {"_id": 2, "more": true},
        doc! {"_id": 3, "a_b": "y"},
    ];
    for (count, document) in (1..).zip(documents) {
        let tailwater = setup.start().await;
        db.documents("users").insert_one(document).await.unwrap();
        kafka.wait_for_records(&[&topic], count).await;
        tailwater.stop().await;
    }
    // Nothing of the first was lost in the second, and the last needed no other.
    let versions = registry
        .get(&format!("/subjects/{topic}-value/versions"))
        .await;
    assert_eq!(versions, serde_json::json!([1, 2]));
    let records = kafka.records(&[&topic]).await;
    let mut values = Vec::new();
    for id in 1..=3 {
        let of = records.iter().find(|record| record.key["_id"] == id);
        values.push(read(registry, of.unwrap()).await.1);
    }
    assert_eq!(field(&values[0], "fullDocument.a_b"), 1);
    assert_eq!(field(&values[0], "fullDocument.a_b_2"), "x");
    assert_eq!(
        field(&values[0], "fullDocument.list"),
        serde_json::json!([])
    );
    assert_eq!(field(&values[1], "fullDocument.more"), true);
    assert_eq!(field(&values[2], "fullDocument.a_b_2"), "y");
    assert_eq!(
        field(&values[2], "fullDocument.more"),
        serde_json::Value::Null
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_begins_with_what_the_validator_says() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let validator = doc! {"$jsonSchema": {"bsonType": "object", "properties": {
        "_id": {"bsonType": "int"}, "later": {"bsonType": "date"}, "amount": {"bsonType": "double"},
        "byDay": {"bsonType": "object", "additionalProperties": {"bsonType": "int"}},
    }}};
    let client = support::mongo().await.client().await;
    client
        .database(db.name())
        .create_collection("orders")
        .validator(validator)
        .await
        .unwrap();
    let tailwater = on(&db, kafka, registry).start().await;
    let orders = db.documents("orders");
    orders
        .insert_one(doc! {"_id": 1, "amount": 0.5, "byDay": {"2024-01-31": 7}})
        .await
        .unwrap();
    let topic = topic(&db, "orders");
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let (_, value) = read(registry, &records[0]).await;
    assert_eq!(field(&value, "fullDocument.later"), serde_json::Value::Null);
    assert_eq!(
        field(&value, "fullDocument.byDay"),
        serde_json::json!({"2024-01-31": 7})
    );
    tailwater.stop().await;
}
