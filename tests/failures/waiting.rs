//! What the stream stands still for is named: in health, readiness, the status line, lag and metrics.

use crate::support::{self, Database, Direction, Kafka, PATIENCE, Tailwater, eventually};
use bson::doc;

async fn insert(db: &Database, collection: &str) {
    let documents = db.documents(collection);
    documents.insert_one(doc! {}).await.unwrap();
}

/// Waits until `/health` says this, with a reason of these words; gives the reason.
async fn until(tailwater: &Tailwater, status: &str, reason: &str) -> String {
    eventually(PATIENCE, reason, async || {
        let health = tailwater.get("/health").await.json();
        let why = health["reason"].as_str().unwrap_or_default();
        (health["status"] == status && why.contains(reason)).then(|| why.to_owned())
    })
    .await
}

/// The gauge of what is waited for.
async fn waited(tailwater: &Tailwater, what: &str) -> f64 {
    let page = tailwater.get("/metrics").await;
    page.metric("tailwater_waiting_seconds", &[("for", what)])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_what_is_blamed_until_somebody_makes_it() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = |collection: &str| db.topic(collection);
    let others = ["inserts", "updates", "deletes"].map(&topic);
    for name in &others[1..] {
        kafka.create_topic(name, 1, &[]).await;
    }
    kafka.create_topic(&topic("there"), 1, &[]).await;
    let mut tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_TOPIC_INSERT", topic("{collection}"))
        .env("KAFKA_TOPIC_UPDATE", &others[1])
        .env("KAFKA_TOPIC_DELETE", &others[2])
        .env("KAFKA_CREATE_TOPICS", "false")
        .env("RESUME_STORE", "file")
        .env("STATUS_INTERVAL_SECONDS", 1)
        .start()
        .await;
    insert(&db, "there").await;
    kafka.wait_for_records(&[&topic("there")], 1).await;
    until(&tailwater, "healthy", "").await;

    insert(&db, "missing").await;
    insert(&db, "there").await;
    let name = format!("waiting for topic {} since ", topic("missing"));
    until(&tailwater, "degraded", &name).await;
    assert!(tailwater.is_ready().await, "it may be a hiccup");
    let reason = until(&tailwater, "unhealthy", &name).await;
    assert!(reason.ends_with("KAFKA_CREATE_TOPICS is false"), "{reason}");
    assert!(!tailwater.is_ready().await);
    let ready = tailwater.get("/health/ready").await.json();
    assert_eq!(ready["waitingFor"], reason, "{ready}");
    assert!(waited(&tailwater, "topic").await >= 10.0);
    assert!(waited(&tailwater, "mongodb").await < 0.1);
    let status = tailwater.get("/status").await.json();
    assert!(status["lagMs"].as_u64() >= Some(8_000), "{status}");
    let waiting = format!("topic {}", topic("missing"));
    assert_eq!(status["waitingFor"], waiting);
    let line = tailwater.wait_for_log("waitingFor").await;
    assert!(line.contains(&waiting), "{line}");

    kafka.create_topic(&topic("missing"), 1, &[]).await;
    kafka.wait_for_records(&[&topic("there")], 2).await;
    until(&tailwater, "healthy", "").await;
    assert!(waited(&tailwater, "topic").await < 0.1);
    assert!(tailwater.is_ready().await);
    let exit = tailwater.stop().await;
    let told = |to: &str| exit.output.matches(&format!("to=\"{to}\"")).count();
    assert_eq!(
        [told("degraded"), told("unhealthy")],
        [1, 1],
        "{}",
        exit.output
    );
}

/// Each commit asks Kafka, which does not answer, while MongoDB does.
#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_answers_no_transaction_is_blamed_and_not_mongodb() {
    let db = support::database().await;
    let (kafka, to_kafka) = Kafka::behind_proxy(&[]).await;
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, &kafka)
        .env("KAFKA_BROKERS", to_kafka.addr())
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("DELIVERY", "exactly_once")
        .env("COMMIT_INTERVAL_MS", 100)
        .start()
        .await;
    insert(&db, "one").await;
    kafka.wait_for_records(&[&topic], 1).await;
    until(&tailwater, "healthy", "").await;
    to_kafka.stall(Direction::ToClient);
    insert(&db, "two").await;
    until(&tailwater, "degraded", "waiting for kafka's ").await;
    let detailed = tailwater.get("/health/detailed").await.json();
    let waiting = detailed["waiting"].as_array().unwrap();
    assert!(!waiting.is_empty(), "{detailed}");
    assert!(
        waiting.iter().all(|wait| wait["for"] != "mongodb"),
        "{detailed}"
    );
    let status = tailwater.get("/status").await.json();
    assert!(status["lagMs"].as_u64() >= Some(5_000), "{status}");
    to_kafka.heal();
    until(&tailwater, "healthy", "").await;
    tailwater.stop().await;
}
