//! Unhealthy means so, and says why.

use crate::support::{
    self, Database, Direction, Kafka, Mongo, PATIENCE, Record, Tailwater, eventually,
};
use bson::doc;
use rustix::process::Signal;
use std::time::Duration;

/// Longer than every threshold.
const LONG: Duration = Duration::from_secs(120);

async fn start(db: &Database, kafka: &Kafka) -> Tailwater {
    let setup = Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("STATUS_INTERVAL_SECONDS", 1)
        .env("RECONNECT_DELAY_MS", 50);
    let tailwater = setup.start().await;
    insert(db, 0).await;
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    tailwater
}

async fn insert(db: &Database, id: i32) {
    let things = db.documents("things");
    things.insert_one(doc! {"_id": id}).await.unwrap();
}

/// Waits until `/health` says this, with a reason of these words.
async fn until(tailwater: &Tailwater, status: &str, reason: &str) {
    eventually(LONG, reason, async || {
        let health = tailwater.get("/health").await.json();
        let why = health["reason"].as_str().unwrap_or_default();
        (health["status"] == status && why.contains(reason)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_kafka_with_work_waiting_is_unhealthy_until_it_goes_on() {
    let (mut kafka, db) = (Kafka::dedicated(&[]).await, support::database().await);
    let mut tailwater = start(&db, &kafka).await;
    until(&tailwater, "healthy", "").await;
    kafka.stop_signal();
    insert(&db, 1).await;
    until(&tailwater, "unhealthy", "kafka's acknowledgements since").await;
    tailwater
        .wait_for_log("kafka's acknowledgements since")
        .await;
    assert!(!tailwater.is_ready().await);
    kafka.cont();
    until(&tailwater, "healthy", "").await;
    tailwater.wait_for_log("to=\"healthy\"").await;
    kafka.wait_for_records(&[&db.topic("changes")], 2).await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_mongodb_it_is_unhealthy_until_that_is_back() {
    let (mut mongo, kafka) = (Mongo::dedicated(&[]).await, support::kafka().await);
    let db = mongo.database().await;
    let mut tailwater = start(&db, kafka).await;
    mongo.kill9();
    until(&tailwater, "degraded", "mongodb").await;
    until(&tailwater, "unhealthy", "mongodb").await;
    let line = tailwater.wait_for_log("to=\"unhealthy\"").await;
    assert!(line.contains("mongodb cannot be reached"), "{line}");
    mongo.restart().await;
    until(&tailwater, "healthy", "").await;
    tailwater.wait_for_event("source_resumed").await;
    tailwater.wait_for_log("to=\"healthy\"").await;
    let detailed = tailwater.get("/health/detailed").await.json();
    assert_eq!(
        detailed["components"]["source"]["counters"]["reconnects"],
        1
    );
    let exit = tailwater.stop().await;
    let said = exit.output.matches("change stream interrupted").count();
    assert_eq!(said, 1, "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_cannot_be_stored_are_told_while_events_are_carried_on() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_STORE", "file")
        .env("RESUME_FILE", "store/here.json");
    let (store, away) = (setup.folder().join("store"), setup.folder().join("away"));
    std::fs::create_dir(&store).unwrap();
    let tailwater = setup.start().await;
    std::fs::rename(&store, &away).unwrap();
    insert(&db, 0).await;
    until(&tailwater, "degraded", "checkpoint").await;
    insert(&db, 1).await;
    kafka.wait_for_records(&[&db.topic("changes")], 2).await;
    std::fs::rename(&away, &store).unwrap();
    until(&tailwater, "healthy", "").await;
    tailwater.stop().await;
}

/// The commit of a stop is the only one here, and nobody answers it.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_checkpoint_store_that_is_away() {
    let db = support::database().await;
    let (kafka, to_kafka) = Kafka::behind_proxy(&[]).await;
    let setup = Tailwater::on(&db, &kafka)
        .env("KAFKA_BROKERS", to_kafka.addr())
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("COMMIT_INTERVAL_MS", 60_000)
        .env("SHUTDOWN_TIMEOUT_MS", 2_000);
    let mut tailwater = setup.start().await;
    insert(&db, 0).await;
    eventually(PATIENCE, "the record is acknowledged", async || {
        let status = tailwater.get("/status").await.json();
        (status["events"] == 1 && status["bufferSize"] == 0).then_some(())
    })
    .await;
    to_kafka.stall(Direction::ToServer);
    tailwater.signal(Signal::TERM);
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(10), "{}", exit.output);
    let sentence = "could not be stored within SHUTDOWN_TIMEOUT_MS; nothing is lost";
    assert!(exit.output.contains(sentence), "{}", exit.output);

    to_kafka.heal();
    let tailwater = setup.start().await;
    insert(&db, 1).await;
    let records = kafka.wait_for_records(&[&db.topic("changes")], 3).await;
    let seqs: Vec<_> = records.iter().map(Record::seq).collect();
    assert_eq!((seqs[0], seqs[1] + 1), (seqs[1], seqs[2]), "{seqs:?}");
    assert_eq!(tailwater.stop().await.code, Some(0));
}
