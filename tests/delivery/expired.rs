//! What a broker forgets of a producer: after a rest, or when it comes back without it.

use super::{assert_complete, assert_exactly_once, committed};
use crate::support::{
    self, Database, Kafka, PATIENCE, Record, Setup, Tailwater, eventually, unique,
};
use bson::doc;
use std::time::Duration;

/// A broker forgets transactional ids, and idempotent producers, after this.
const EXPIRED: Duration = Duration::from_millis(1_500);

async fn forgetful() -> Kafka {
    Kafka::dedicated(&[
        "transactional.id.expiration.ms=1000",
        "transaction.remove.expired.transaction.cleanup.interval.ms=200",
        "producer.id.expiration.ms=1000",
        "producer.id.expiration.check.interval.ms=200",
        "log.flush.start.offset.checkpoint.interval.ms=100",
    ])
    .await
}

fn setup(db: &Database, kafka: &Kafka, delivery: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_TOPIC", unique("checkpoints"))
        .env("DELIVERY", delivery)
        .env("RECONNECT_DELAY_MS", 50)
        .env("KAFKA_PROP_RECONNECT_BACKOFF_MAX_MS", 500)
        .env("COMMIT_INTERVAL_MS", 100)
}

async fn insert(db: &Database, id: i32) {
    let users = db.documents("users");
    users.insert_one(doc! {"_id": id}).await.unwrap();
}

async fn after_a_rest(kafka: &Kafka, delivery: &str) {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = setup(&db, kafka, delivery);
    let tailwater = setup.start().await;
    for id in 1..=2 {
        insert(&db, id).await;
        committed(kafka, &topic, usize::try_from(id).unwrap()).await;
        // The rest itself: nothing says when the broker has forgotten.
        tokio::time::sleep(EXPIRED).await;
    }
    tailwater.stop().await;
    let tailwater = setup.start().await;
    insert(&db, 3).await;
    let records = committed(kafka, &topic, 3).await;
    tailwater.stop().await;
    assert_delivered(&records, 3, delivery);
}

#[track_caller]
fn assert_delivered(records: &[Record], count: usize, delivery: &str) {
    match delivery {
        "exactly_once" => assert_exactly_once(records, count),
        _ => assert_complete(records, count),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rest_that_outlasts_the_ids_changes_arrive_and_are_committed() {
    let kafka = forgetful().await;
    tokio::join!(
        after_a_rest(&kafka, "exactly_once"),
        after_a_rest(&kafka, "at_least_once"),
    );
}

/// A stream on a broker of its own, with one record that was then deleted.
async fn with_a_record(kafka: &Kafka, delivery: &str) -> (Database, Tailwater) {
    let db = support::database().await;
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 1, &[]).await;
    // Its clients find the broker again some seconds after it has come back.
    let setup = setup(&db, kafka, delivery).env("SHUTDOWN_TIMEOUT_MS", 30_000);
    let tailwater = setup.start().await;
    insert(&db, 1).await;
    committed(kafka, &topic, 1).await;
    kafka.delete_records(&topic, &[]).await;
    // Else the record would be there again, and the producer known by it.
    eventually(PATIENCE, "the deletion outlasts the broker", async || {
        let file = kafka.data().join("log-start-offset-checkpoint");
        let starts = std::fs::read_to_string(file).unwrap_or_default();
        starts.contains(&format!("{topic} 0 ")).then_some(())
    })
    .await;
    (db, tailwater)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_without_its_producers_gets_every_change() {
    let mut kafka = forgetful().await;
    let deliveries = ["exactly_once", "at_least_once"];
    let (first, second) = tokio::join!(
        with_a_record(&kafka, deliveries[0]),
        with_a_record(&kafka, deliveries[1]),
    );
    kafka.kill9();
    kafka.forget_producers();
    kafka.restart().await;
    for (delivery, (db, tailwater)) in deliveries.into_iter().zip([first, second]) {
        insert(&db, 2).await;
        insert(&db, 3).await;
        let records = committed(&kafka, &db.topic("changes"), 2).await;
        tailwater.stop().await;
        assert_delivered(&records, 2, delivery);
    }
}
