//! What befalls one stream is nothing to the others.

use super::{Streams, ids};
use crate::support::{self, Kafka, PATIENCE, Tailwater, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// What an answer says of one stream.
pub(super) fn of<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let streams = answer["streams"].as_array().unwrap();
    let found = streams.iter().find(|stream| stream["stream"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {answer:#}"))
}

pub(super) async fn until_state(tailwater: &Tailwater, id: &str, state: &str) {
    eventually(PATIENCE, &format!("{id} is {state}"), async || {
        let live = tailwater.get("/health/live").await.json();
        (of(&live, id)["state"] == state).then_some(())
    })
    .await;
}

/// Changes of the first stream arrive.
async fn assert_flows(kafka: &Kafka, streams: &Streams, id: i32) {
    streams.insert(0, id).await;
    let arrived = |records: &[crate::support::Record]| ids(records).last() == Some(&id.into());
    kafka
        .wait_until(&[&streams.topic(0)], "its change", arrived)
        .await;
}

#[tokio::test]
async fn a_fenced_stream_fails_alone_and_can_be_taken_back() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let setup = streams.setup.clone().env("COMMIT_INTERVAL_MS", 50);
    let mut tailwater = setup.start().await;
    streams.insert(1, 1).await;
    kafka.wait_for_records(&[&streams.topic(1)], 1).await;

    // Another instance takes the second stream.
    let other = setup
        .clone()
        .without("STREAMS")
        .env("MONGODB_URI", streams.databases[1].uri());
    let thief = other.start().await;
    streams.insert(1, 2).await;
    until_state(&tailwater, &streams.id(1), "failed").await;
    assert_flows(kafka, &streams, 1).await;

    let health = tailwater.get("/health").await;
    assert_eq!(health.status, 200, "one of two works: {}", health.body);
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.starts_with("1 of 2 streams unhealthy"), "{reason}");
    assert!(reason.contains("fenced: "), "{reason}");
    assert_eq!(of(&health, &streams.id(0))["status"], "healthy");
    let path = format!("/health?stream={}", streams.name(1));
    assert_eq!(tailwater.get(&path).await.status, 503);
    let subscriptions = tailwater.get("/health/subscriptions").await.json();
    assert_eq!(subscriptions["total"], 2);
    assert_eq!(
        (&subscriptions["active"], &subscriptions["failed"]),
        (&1.into(), &1.into())
    );
    let log = tailwater.log();
    let told = log
        .lines()
        .find(|line| line.contains("code=\"fenced\""))
        .unwrap();
    assert!(told.contains(streams.name(1)), "{told}");

    // It stays fenced until somebody says otherwise.
    thief.stop().await;
    let addr = tailwater.http_addr().unwrap();
    let resume = setup.clone().env("HTTP_ADDR", addr);
    let exit = resume
        .args(&["resume", "--stream", streams.name(1)])
        .run()
        .await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    until_state(&tailwater, &streams.id(1), "running").await;
    streams.insert(1, 3).await;
    let arrived = |records: &[crate::support::Record]| ids(records).last() == Some(&3);
    kafka
        .wait_until(&[&streams.topic(1)], "its change", arrived)
        .await;
    assert_eq!(tailwater.get("/health").await.json()["status"], "healthy");
    tailwater.signal(Signal::TERM);
    assert_eq!(tailwater.wait_exit(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn a_stream_that_waits_for_its_topic_holds_up_no_other() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 3).await;
    for index in [0, 2] {
        kafka.create_topic(&streams.topic(index), 1, &[]).await;
    }
    // Little memory, and more waiting for the missing topic than its share.
    let setup = streams
        .setup
        .clone()
        .env("KAFKA_CREATE_TOPICS", false)
        .env("MAX_IN_FLIGHT_BYTES", "1MiB")
        .env("BATCH_BYTES", "64KiB")
        .env("SOURCE_BATCH_BYTES", "64KiB");
    let checkpoints = streams.databases[0].topic("checkpoints");
    kafka
        .create_topic(&checkpoints, 1, &[("cleanup.policy", "compact")])
        .await;
    let setup = setup.env("RESUME_TOPIC", checkpoints);
    let tailwater = setup.start().await;
    let large = "x".repeat(20_000);
    let stuck = streams.databases[1].documents("users");
    for id in 0..200 {
        let document = bson::doc! {"_id": id, "text": &large};
        stuck.insert_one(document).await.unwrap();
    }
    eventually(PATIENCE, "it waits for its topic", async || {
        let path = format!("/health?stream={}", streams.name(1));
        let health = tailwater.get(&path).await.json();
        let reason = health["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains(&streams.topic(1)).then_some(())
    })
    .await;
    for id in 0..20 {
        assert_flows(kafka, &streams, id).await;
    }
    streams.insert(2, 1).await;
    kafka.wait_for_records(&[&streams.topic(2)], 1).await;
    kafka.create_topic(&streams.topic(1), 1, &[]).await;
    let records = kafka.wait_for_records(&[&streams.topic(1)], 200).await;
    assert_eq!(ids(&records), (0..200).collect::<Vec<_>>());
    tailwater.stop().await;
}

/// With no stream left that can run, the process ends as a single stream does.
#[tokio::test]
async fn the_process_ends_with_the_code_of_the_first_when_no_stream_can_run() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let setup = streams.setup.clone().env("COMMIT_INTERVAL_MS", 50);
    let mut tailwater = setup.start().await;
    let thief = setup.start().await;
    for index in 0..2 {
        streams.insert(index, 1).await;
    }
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(7), "{}", exit.output);
    thief.stop().await;
}
