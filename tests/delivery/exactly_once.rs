//! `DELIVERY=exactly_once`: a consumer that reads committed sees each change once, whatever dies.

use super::{Load, assert_exactly_once, committed};
use crate::support::{self, Database, Kafka, PATIENCE, Setup, Tailwater, unique};
use bson::doc;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tailwater::error::Code;
use tailwater::kafka::transaction::transactional_id;

fn exactly_once(db: &Database, kafka: &Kafka, topic: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", topic)
        .env("KAFKA_TOPIC_PARTITIONS", 3)
        .env("DELIVERY", "exactly_once")
        .env("COMMIT_INTERVAL_MS", 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_repeats_and_loses_nothing() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let setup = exactly_once(&db, kafka, &topic);
    let mut tailwater = setup.start().await;
    let load = Load::on(&db, "users");
    let mut seen = 0;
    for _ in 0..5 {
        // In the midst of a transaction, about.
        let records = kafka.wait_for_records(&[&topic], seen + 100).await;
        seen = records.len();
        tailwater.kill9();
        tailwater = setup.start().await;
    }
    let written = load.stop().await;
    let records = committed(kafka, &topic, written).await;
    tailwater.stop().await;
    assert_exactly_once(&records, written);
    let everything = kafka.records(&[&topic]).await.len();
    println!("{written} written, {everything} records with those of aborted transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_instances_the_last_one_wins_and_the_first_says_so() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let setup = exactly_once(&db, kafka, &topic);
    let mut first = setup.start().await;
    let load = Load::on(&db, "users");
    committed(kafka, &topic, 50).await;
    let second = setup.start().await;
    let exit = first.wait_exit(PATIENCE).await;
    assert_eq!(
        exit.code,
        Some(i32::from(Code::Fenced.exit_code())),
        "{}",
        exit.output
    );
    let by = format!("/{}-", second.pid());
    assert!(exit.output.contains(&by), "{}", exit.output);

    let written = load.stop().await;
    let records = committed(kafka, &topic, written).await;
    second.stop().await;
    assert_exactly_once(&records, written);
}

/// As when Kafka has ended a transaction that was open for too long: fenced, but by no other instance.
#[tokio::test(flavor = "multi_thread")]
async fn fenced_by_nobody_it_takes_the_stream_up_again() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let stream = unique("stream");
    let mut tailwater = exactly_once(&db, kafka, &topic)
        .env("STREAM_ID", &stream)
        .start()
        .await;
    let load = Load::on(&db, "users");
    committed(kafka, &topic, 50).await;
    let brokers = kafka.brokers().to_owned();
    tokio::task::spawn_blocking(move || {
        let intruder: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", transactional_id(&stream))
            .create()
            .unwrap();
        intruder.init_transactions(PATIENCE).unwrap();
    })
    .await
    .unwrap();
    tailwater.wait_for_event("producer_restarted").await;
    let before = usize::try_from(load.written()).unwrap();
    committed(kafka, &topic, before + 50).await;
    let written = load.stop().await;
    let records = committed(kafka, &topic, written).await;
    tailwater.stop().await;
    assert_exactly_once(&records, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_killed_within_transactions_makes_it_repeat_and_lose_nothing() {
    let db = support::database().await;
    let mut kafka = Kafka::dedicated(&[]).await;
    let topic = db.topic("changes");
    let tailwater = exactly_once(&db, &kafka, &topic).start().await;
    let load = Load::on(&db, "users");
    for _ in 0..2 {
        let seen = kafka.records(&[&topic]).await.len();
        kafka.wait_for_records(&[&topic], seen + 50).await;
        kafka.kill9();
        kafka.restart().await;
    }
    let written = load.stop().await;
    let records = committed(&kafka, &topic, written).await;
    tailwater.stop().await;
    assert_exactly_once(&records, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_commits_the_open_transaction() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let setup = exactly_once(&db, kafka, &topic).env("COMMIT_INTERVAL_MS", 60_000);
    for run in 0..2_usize {
        let tailwater = setup.start().await;
        for number in 0..10 {
            let document = doc! {"number": number};
            db.documents("users").insert_one(document).await.unwrap();
        }
        let sent = (run + 1) * 10;
        kafka.wait_for_records(&[&topic], sent).await;
        assert_eq!(kafka.committed_records(&[&topic]).await.len(), sent - 10);
        tailwater.stop().await;
        let records = kafka.committed_records(&[&topic]).await;
        assert_exactly_once(&records, sent);
    }
}
