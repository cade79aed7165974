//! Two instances with one stream id, and checkpoints that are not to be used.

use crate::support::{self, Database, Exit, PATIENCE, Setup, Tailwater, unique};
use bson::doc;

fn setup(db: &Database, kafka: &support::Kafka, store: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RESUME_STORE", store)
        .env("COMMIT_INTERVAL_MS", 50)
        .env("RECONNECT_DELAY_MS", 50)
}

async fn insert(db: &Database, ids: std::ops::Range<i32>) {
    for id in ids {
        db.documents("things")
            .insert_one(doc! {"_id": id})
            .await
            .unwrap();
    }
}

/// The one started last wins; the other ends, says by whom, and no change is lost between them.
async fn the_last_one_wins(store: &str) {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = setup(&db, kafka, store);
    let topic = db.topic("changes");
    let mut first = setup.start().await;
    insert(&db, 0..5).await;
    kafka.wait_for_records(&[&topic], 5).await;
    let second = setup.start().await;
    insert(&db, 5..10).await;
    let Exit { code, output } = first.wait_exit(PATIENCE).await;
    assert_eq!(code, Some(7), "{output}");
    let by = format!("/{}-", second.pid());
    assert!(output.contains(&by), "not told that it was {by}:\n{output}");
    insert(&db, 10..15).await;
    let records = kafka
        .wait_until(&[&topic], "the last write", |records| {
            records.iter().any(|record| record.key["_id"] == 14)
        })
        .await;
    let mut last = 0;
    let mut once = Vec::new();
    for record in &records {
        if record.seq() > last {
            last = record.seq();
            once.push(record.key["_id"].as_i64().unwrap());
        }
    }
    assert_eq!(once, (0..15).collect::<Vec<_>>());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_the_last_one_wins_with_checkpoints_in_kafka() {
    the_last_one_wins("kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_the_last_one_wins_with_checkpoints_in_mongodb() {
    the_last_one_wins("mongodb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_file_in_use_refuses_a_second_instance_and_the_first_goes_on() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = setup(&db, kafka, "file").env("RESUME_FILE", "here.json");
    let first = setup.start().await;
    let exit = setup.run().await;
    assert_ne!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("here.json"), "{}", exit.output);
    insert(&db, 0..5).await;
    kafka.wait_for_records(&[&db.topic("changes")], 5).await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_read_is_an_error_and_no_first_start() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = setup(&db, kafka, "file").env("RESUME_FILE", "here.json");
    let tailwater = setup.start().await;
    insert(&db, 0..1).await;
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    tailwater.stop().await;
    let file = setup.folder().join("here.json");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(10), "{}", exit.output);
    assert!(exit.output.contains("cannot be read"), "{}", exit.output);
    std::fs::write(&file, &whole).unwrap();
    insert(&db, 1..2).await;
    let tailwater = setup.start().await;
    kafka.wait_for_records(&[&db.topic("changes")], 2).await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_database_or_deployment_is_refused_with_both_names() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = setup(&db, kafka, "kafka").env("STREAM_ID", unique("stream"));
    setup.start().await.stop().await;
    let other = support::database().await;
    let exit = setup.clone().env("MONGODB_URI", other.uri()).run().await;
    assert_eq!(exit.code, Some(5), "{}", exit.output);
    assert!(exit.output.contains(db.name()) && exit.output.contains(other.name()));
}
