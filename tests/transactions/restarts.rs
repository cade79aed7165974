//! A stream that resumes in the middle of a transaction continues to count there.

use super::{insert_in_one, name_of, numbered, orders};
use crate::support::{self, Kafka, Setup, Tailwater};
use bson::doc;
use std::collections::BTreeSet;

/// So many changes are in the transaction.
const LARGE: i32 = 600;

async fn setup(kafka: &'static Kafka, store: &str) -> (support::Database, Setup, String) {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("TRANSACTION_METADATA", true)
        .env("RESUME_STORE", store)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1);
    (db, setup, topic)
}

/// Kills it in the middle of a large transaction, again and again, where checkpoints come with every few records.
async fn killed_within_a_transaction_it_counts_on(store: &str, delivery: &str) {
    let kafka = support::kafka().await;
    let (db, setup, topic) = setup(kafka, store).await;
    let setup = setup
        .env("DELIVERY", delivery)
        .env("COMMIT_INTERVAL_MS", 10)
        .env("BATCH_SIZE", 7)
        // One record at a time, so that it is far from the end when it is killed.
        .env("KAFKA_PROP_BATCH_NUM_MESSAGES", 1)
        .env("KAFKA_PROP_MAX_IN_FLIGHT", 1);
    let mut tailwater = setup.start().await;
    db.documents("users")
        .insert_one(doc! {"_id": -1})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    insert_in_one(&db, numbered(0..LARGE)).await;
    db.documents("users")
        .insert_one(doc! {"_id": LARGE})
        .await
        .unwrap();
    let mut written = Vec::new();
    for part in 1..4 {
        let seen = i64::from(LARGE * part / 5);
        kafka
            .wait_until(&[&topic], "more of the transaction", |records| {
                records.iter().filter_map(|it| it.key["_id"].as_i64()).max() >= Some(seen)
            })
            .await;
        tailwater.kill9();
        written.push(kafka.records(&[&topic]).await.len());
        tailwater = setup.start().await;
    }
    let last = i64::from(LARGE);
    let records = kafka
        .wait_until(&[&topic], "the change behind the transaction", |records| {
            records.iter().any(|it| it.key["_id"] == last)
        })
        .await;
    tailwater.stop().await;
    // Otherwise nothing was tried.
    let resumed = written.iter().filter_map(|at| records.get(*at));
    let resumed: Vec<_> = resumed.filter_map(|it| it.key["_id"].as_i64()).collect();
    let within = resumed.iter().filter(|id| (1..last).contains(id)).count();
    assert!(within > 0, "it resumed at {resumed:?}");

    let orders = orders(&records);
    assert_eq!(orders.len(), LARGE as usize + 2);
    for (id, orders) in &orders {
        let expected = if (0..last).contains(id) { id + 1 } else { 0 };
        let all = orders.iter().all(|order| *order == expected as u64);
        assert!(all, "{id}: {orders:?}");
    }
    let of_one = records.iter().map(|it| &it.value["transaction"]);
    let names: BTreeSet<_> = of_one.filter(|it| !it.is_null()).map(name_of).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_within_a_transaction_it_counts_on_from_a_checkpoint_in_kafka() {
    killed_within_a_transaction_it_counts_on("kafka", "at_least_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_within_a_transaction_it_counts_on_exactly_once() {
    killed_within_a_transaction_it_counts_on("kafka", "exactly_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_within_a_transaction_it_counts_on_from_a_checkpoint_in_mongodb() {
    killed_within_a_transaction_it_counts_on("mongodb", "at_least_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_within_a_transaction_it_counts_on_from_a_checkpoint_in_a_file() {
    killed_within_a_transaction_it_counts_on("file", "at_least_once").await;
}
