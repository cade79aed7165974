//! Rights that are taken away under way and given back: nothing ends, nothing is lost, and soon after all
//! goes on.

use super::{assert_complete, assert_exactly_once};
use crate::support::{
    self, Database, Kafka, Operation, PATIENCE, Record, Resource, Setup, Tailwater, eventually,
    unique,
};
use bson::doc;
use tailwater::kafka::transaction::transactional_id;
use tokio::sync::OnceCell;

pub(super) const USER: &str = "tailwater";

/// One broker for all of this: each test has names of its own.
pub(super) async fn broker() -> &'static Kafka {
    static BROKER: OnceCell<Kafka> = OnceCell::const_new();
    BROKER
        .get_or_init(|| async {
            let kafka = Kafka::with_acls(&[USER], &[]).await;
            kafka.allow_everything(USER).await;
            kafka
        })
        .await
}

struct Names {
    topic: String,
    checkpoints: String,
    id: String,
}

fn setup(db: &Database, kafka: &Kafka, delivery: &str) -> (Setup, Names) {
    let stream = unique("stream");
    let names = Names {
        topic: db.topic("changes"),
        checkpoints: unique("checkpoints"),
        id: transactional_id(&stream),
    };
    let setup = Tailwater::on(db, kafka)
        .logged_in_as(kafka, USER)
        .env("STREAM_ID", &stream)
        .env("KAFKA_DB_CHANGES_TOPIC", &names.topic)
        .env("RESUME_TOPIC", &names.checkpoints)
        .env("DELIVERY", delivery)
        .env("RECONNECT_DELAY_MS", 50)
        .env("COMMIT_INTERVAL_MS", 100);
    (setup, names)
}

async fn insert(db: &Database, id: i32) {
    let users = db.documents("users");
    users.insert_one(doc! {"_id": id}).await.unwrap();
}

async fn arrived(kafka: &Kafka, delivery: &str, topic: &str, count: usize) -> Vec<Record> {
    let what = format!("{count} records");
    eventually(PATIENCE, &what, async || {
        let records = match delivery {
            "exactly_once" => kafka.committed_records(&[topic]).await,
            _ => kafka.records(&[topic]).await,
        };
        (records.len() >= count).then_some(records)
    })
    .await
}

/// Takes a right away, writes a change, waits until that is noticed, and gives the right back.
async fn survives(
    delivery: &str,
    of: fn(&Names) -> Resource<'_>,
    operation: Operation,
    noticed: &str,
) {
    let (db, kafka) = (support::database().await, broker().await);
    let (setup, names) = setup(&db, kafka, delivery);
    let mut tailwater = setup.start().await;
    insert(&db, 1).await;
    arrived(kafka, delivery, &names.topic, 1).await;

    kafka.deny(USER, of(&names), operation).await;
    insert(&db, 2).await;
    tailwater.wait_for_log(noticed).await;
    kafka.end_denial(USER, of(&names), operation).await;
    insert(&db, 3).await;

    let records = arrived(kafka, delivery, &names.topic, 3).await;
    tailwater.wait_ready().await;
    tailwater.stop().await;
    match delivery {
        "exactly_once" => assert_exactly_once(&records, 3),
        _ => assert_complete(&records, 3),
    }
    // What was committed is where the next start goes on.
    let tailwater = setup.start().await;
    insert(&db, 4).await;
    let before = records.len();
    let records = arrived(kafka, delivery, &names.topic, before + 1).await;
    assert_eq!(records.len(), before + 1);
    tailwater.stop().await;
}

fn topic(names: &Names) -> Resource<'_> {
    Resource::Topic(&names.topic)
}

fn id(names: &Names) -> Resource<'_> {
    Resource::TransactionalId(&names.id)
}

fn checkpoints(names: &Names) -> Resource<'_> {
    Resource::Topic(&names.checkpoints)
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_topic_exactly_once() {
    // For long enough to be unhealthy.
    let noticed = "to=\"unhealthy\"";
    survives("exactly_once", topic, Operation::Write, noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_topic_at_least_once() {
    let noticed = "missing or forbidden";
    survives("at_least_once", topic, Operation::Write, noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_transactional_id_exactly_once() {
    survives("exactly_once", id, Operation::Write, "built anew").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_transactional_id_at_least_once() {
    let noticed = "checkpoint cannot be stored";
    survives("at_least_once", id, Operation::Write, noticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_checkpoint_topic_exactly_once() {
    survives("exactly_once", checkpoints, Operation::Write, "built anew").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_checkpoint_topic_at_least_once() {
    let noticed = "checkpoint cannot be stored";
    survives("at_least_once", checkpoints, Operation::Write, noticed).await;
}

/// Nothing of it can even be looked at.
#[tokio::test(flavor = "multi_thread")]
async fn everything_on_the_checkpoint_topic_exactly_once() {
    survives("exactly_once", checkpoints, Operation::All, "built anew").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_on_the_checkpoint_topic_at_least_once() {
    let noticed = "checkpoint cannot be stored";
    survives("at_least_once", checkpoints, Operation::All, noticed).await;
}
