//! Topics that refuse the time of a record: known beforehand, learned once, never paid for per record.

use super::rights::{USER, broker};
use crate::support::{
    self, Database, Kafka, Operation, PATIENCE, Record, Resource, Setup, Tailwater,
};
use bson::doc;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;
use tailwater::error::Code;

/// What is older than three seconds is refused.
const STRICT: [(&str, &str); 1] = [("message.timestamp.before.max.ms", "3000")];
const MANY: usize = 150;

fn on(db: &Database, kafka: &Kafka, topic: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", topic)
        .env("KAFKA_DLQ_TOPIC", format!("{topic}.dead"))
}

async fn insert(db: &Database, count: usize) {
    let documents = (0..count).map(|_| doc! {}).collect::<Vec<_>>();
    db.documents("things").insert_many(documents).await.unwrap();
}

/// Until what was written is older than the limit.
async fn grow_old() {
    tokio::time::sleep(Duration::from_millis(3_100)).await;
}

/// Writes a backlog while it stands still, and waits for as many dead letters.
async fn backlog(db: &Database, kafka: &Kafka, topic: &str, tailwater: &mut Tailwater) {
    tailwater.signal(Signal::STOP);
    insert(db, MANY).await;
    grow_old().await;
    tailwater.signal(Signal::CONT);
    let dead = format!("{topic}.dead");
    let letters = kafka.wait_for_records(&[&dead], MANY).await;
    let seqs: BTreeSet<u64> = letters.iter().map(Record::seq).collect();
    assert_eq!((letters.len(), seqs.len()), (MANY, MANY), "each once");
    assert!(kafka.records(&[topic]).await.is_empty());
}

fn rebuilt(output: &str) -> usize {
    output.matches("starting again from the last").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topics_own_limit_is_known_before_anything_is_sent() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 1, &STRICT).await;
    let setup = on(&db, kafka, &topic).env("ON_RECORD_ERROR", "dlq");
    let mut tailwater = setup.start().await;
    backlog(&db, kafka, &topic, &mut tailwater).await;
    let exit = tailwater.stop().await;
    assert_eq!(rebuilt(&exit.output), 0, "{}", exit.output);
    assert!(exit.output.contains("out_of_time"), "{}", exit.output);

    // The remedy that the message names works.
    let stopping = setup.env("ON_RECORD_ERROR", "stop");
    insert(&db, 1).await;
    grow_old().await;
    let mut tailwater = stopping.spawn();
    let exit = tailwater.wait_exit(PATIENCE).await;
    let code = i32::from(Code::RecordRefused.exit_code());
    assert_eq!(exit.code, Some(code), "{}", exit.output);
    for advice in ["RECORD_TIMESTAMP=now", STRICT[0].0] {
        assert!(exit.output.contains(advice), "{}", exit.output);
    }
    let tailwater = stopping.env("RECORD_TIMESTAMP", "now").start().await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
}

/// Brokers stamp the records themselves: nothing can be wrong with a time that is not used.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_broker_stamps_the_records_no_limit_holds() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let settings = [STRICT[0], ("message.timestamp.type", "LogAppendTime")];
    kafka.create_topic(&topic, 1, &settings).await;
    let mut tailwater = on(&db, kafka, &topic).start().await;
    tailwater.signal(Signal::STOP);
    insert(&db, 3).await;
    grow_old().await;
    tailwater.signal(Signal::CONT);
    kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;
}

/// The first refusals teach it.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_may_not_be_read_is_learned_from_a_refusal() {
    let (db, kafka) = (support::database().await, broker().await);
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 1, &STRICT).await;
    let settings = Operation::DescribeConfigs;
    kafka.deny(USER, Resource::Topic(&topic), settings).await;
    let mut tailwater = on(&db, kafka, &topic)
        .logged_in_as(kafka, USER)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    backlog(&db, kafka, &topic, &mut tailwater).await;
    let exit = tailwater.stop().await;
    let rebuilt = rebuilt(&exit.output);
    let is_learned = (1..MANY / 10).contains(&rebuilt);
    assert!(is_learned, "{rebuilt}: {}", exit.output);
}
