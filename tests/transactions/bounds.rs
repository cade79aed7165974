//! `FORMAT=debezium`: transactions that begin and end, whatever dies.

use super::{insert_in_one, numbered};
use crate::support::{self, Record, Setup, Tailwater};
use bson::doc;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const LARGE: i32 = 600;

async fn setup() -> (support::Database, Setup, [String; 2]) {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let changes = db.topic("changes");
    let prefix = db.topic("of");
    let setup = Tailwater::on(&db, kafka)
        .env("FORMAT", "debezium")
        .env("TRANSACTION_METADATA", true)
        .env("KAFKA_TOPIC_PREFIX", &prefix)
        .env("KAFKA_DB_CHANGES_TOPIC", &changes)
        .env("KAFKA_TOPIC_PARTITIONS", 1);
    (db, setup, [changes, format!("{prefix}.transaction")])
}

fn id(record: &Record) -> i64 {
    let id = record.key["id"].as_str().unwrap();
    id.parse().unwrap()
}

/// What the records of the topic of transactions say, each once.
fn said(records: &[Record]) -> Vec<Value> {
    let mut said = Vec::new();
    for record in records {
        let mut value = record.value.clone();
        assert_eq!(record.key, json!({"id": value["id"]}));
        assert_eq!(record.headers.len(), 0);
        value["ts_ms"] = Value::Null;
        if !said.contains(&value) {
            said.push(value);
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_within_a_transaction_it_says_one_beginning_and_one_end() {
    let kafka = support::kafka().await;
    let (db, setup, [changes, bounds]) = setup().await;
    let setup = setup
        .env("COMMIT_INTERVAL_MS", 10)
        .env("BATCH_SIZE", 7)
        // One record at a time, so that it is far from the end when it is killed.
        .env("KAFKA_PROP_BATCH_NUM_MESSAGES", 1)
        .env("KAFKA_PROP_MAX_IN_FLIGHT", 1);
    let mut tailwater = setup.start().await;
    insert_in_one(&db, numbered(0..LARGE)).await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": LARGE}).await.unwrap();
    for part in 1..4 {
        let seen = i64::from(LARGE * part / 4);
        kafka
            .wait_until(&[&changes], "more of the transaction", |records| {
                records.iter().map(id).max() >= Some(seen)
            })
            .await;
        tailwater.kill9();
        tailwater = setup.start().await;
    }
    let last = i64::from(LARGE);
    let records = kafka
        .wait_until(
            &[&changes],
            "the change behind the transaction",
            |records| records.iter().any(|it| id(it) == last),
        )
        .await;
    tailwater.stop().await;

    let mut name = BTreeSet::new();
    for record in &records {
        let (id, block) = (id(record), &record.value["transaction"]);
        if id == last {
            assert_eq!(*block, Value::Null);
            continue;
        }
        name.insert(block["id"].as_str().unwrap().to_owned());
        assert_eq!(block["total_order"], id + 1);
        assert_eq!(block["data_collection_order"], id / 2 + 1);
    }
    assert_eq!(name.len(), 1, "{name:?}");
    let name = name.first().unwrap();
    let half = LARGE / 2;
    let collections = |names: [&str; 2]| {
        names.map(
            |it| json!({"data_collection": format!("{}.{it}", db.name()), "event_count": half}),
        )
    };
    let said = said(&kafka.records(&[&bounds]).await);
    let begin = json!({"status": "BEGIN", "id": name, "event_count": null, "data_collections": null, "ts_ms": null});
    assert_eq!(said[0], begin);
    let end = |names| json!({"status": "END", "id": name, "event_count": LARGE, "data_collections": collections(names), "ts_ms": null});
    // The order is that of a map of Java.
    let ends = [end(["users", "orders"]), end(["orders", "users"])];
    assert!(said.len() == 2 && ends.contains(&said[1]), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topic_of_transactions_does_not_take_is_a_record_error_of_its_own() {
    let kafka = support::kafka().await;
    let (db, setup, [changes, bounds]) = setup().await;
    // No record has room there.
    kafka
        .create_topic(&bounds, 1, &[("max.message.bytes", "40")])
        .await;
    let setup = setup.env("ON_RECORD_ERROR", "skip");
    let tailwater = setup.start().await;
    insert_in_one(&db, numbered(0..5)).await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": 5}).await.unwrap();
    let records = kafka.wait_for_records(&[&changes], 6).await;
    tailwater.stop().await;
    let orders = records
        .iter()
        .map(|it| it.value.pointer("/transaction/total_order")?.as_i64());
    let expected = [Some(1), Some(2), Some(3), Some(4), Some(5), None];
    assert!(orders.eq(expected));
    assert_eq!(kafka.records(&[&bounds]).await.len(), 0);
}
