//! One stream whose history is lost, beside others that are not concerned.

use super::isolation::{of, until_state};
use super::{Streams, ids};
use crate::support::{self, Kafka, Mongo, PATIENCE, Tailwater, eventually};
use rustix::process::Signal;

/// The stream whose checkpoint the oplog no longer holds.
const LOST: usize = 1;

struct Scene {
    /// Ends with the scene.
    _mongo: Mongo,
    kafka: &'static Kafka,
    streams: Streams,
}

impl Scene {
    /// Three streams; one of them has run before, and the oplog is past its checkpoint.
    async fn new() -> Self {
        let (mongo, kafka) = (Mongo::with_small_oplog().await, support::kafka().await);
        let streams = Streams::on(&mongo, kafka, 3).await;
        let alone = streams.setup.clone().env("STREAMS", streams.name(LOST));
        let tailwater = alone.start().await;
        streams.insert(LOST, 1).await;
        kafka.wait_for_records(&[&streams.topic(LOST)], 1).await;
        tailwater.stop().await;
        streams.databases[LOST].overtake_oplog(3000).await;
        Self {
            _mongo: mongo,
            kafka,
            streams,
        }
    }

    /// The other two deliver what is inserted, and nothing else since the scene began but what they were given.
    async fn assert_others_deliver(&self, all: &[i64]) {
        for index in [0, 2] {
            let id = i32::try_from(*all.last().unwrap()).unwrap();
            self.streams.insert(index, id).await;
            let topic = self.streams.topic(index);
            let records = self.kafka.wait_for_records(&[&topic], all.len()).await;
            assert_eq!(ids(&records), all);
        }
    }

    /// How many gaps the metrics of a stream count.
    async fn gaps(&self, tailwater: &Tailwater, index: usize) -> Option<f64> {
        let labels = [("stream", self.streams.name(index))];
        let page = tailwater.get("/metrics").await;
        page.metric("tailwater_history_gaps_total", &labels)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_fails_its_stream_alone_and_is_the_exit_code() {
    let scene = Scene::new().await;
    let streams = &scene.streams;
    let mut tailwater = streams.setup.start().await;
    until_state(&tailwater, &streams.id(LOST), "failed").await;
    scene.assert_others_deliver(&[1]).await;

    let health = tailwater.get("/health").await;
    assert_eq!(health.status, 200, "two of three work: {}", health.body);
    let health = health.json();
    assert_eq!(health["status"], "degraded");
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.starts_with("1 of 3 streams unhealthy"), "{reason}");
    assert!(reason.contains("history_lost: "), "{reason}");
    for index in [0, 2] {
        assert_eq!(of(&health, &streams.id(index))["status"], "healthy");
    }
    let path = format!("/health?stream={}", streams.name(LOST));
    assert_eq!(tailwater.get(&path).await.status, 503);
    let status = tailwater.get("/status").await.json();
    let lost = of(&status, streams.name(LOST));
    assert_eq!(lost["state"], "failed", "{status:#}");
    let failed = [("stream", streams.name(LOST)), ("state", "failed")];
    let page = tailwater.get("/metrics").await;
    assert_eq!(page.metric("tailwater_state", &failed), Some(1.0));
    let log = tailwater.log();
    let said = log.lines().find(|line| line.contains("ON_HISTORY_LOST="));
    let said = said.expect("the log says what to do");
    assert!(said.contains(streams.name(LOST)), "{said}");

    // Starting it again without another policy changes nothing, for it or for the others.
    let asked = streams.setup.clone();
    let asked = asked.env("HTTP_ADDR", tailwater.http_addr().unwrap());
    let args = ["resume", "--stream", streams.name(LOST)];
    assert_eq!(asked.args(&args).run().await.code, Some(0));
    eventually(PATIENCE, "it has failed again", async || {
        let log = tailwater.log();
        (log.matches("ON_HISTORY_LOST=").count() >= 2).then_some(())
    })
    .await;
    scene.assert_others_deliver(&[1, 2]).await;

    tailwater.signal(Signal::TERM);
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(6), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_one_stream_is_no_gap_in_the_others() {
    let scene = Scene::new().await;
    let streams = &scene.streams;
    let stopping = streams.setup.start().await;
    until_state(&stopping, &streams.id(LOST), "failed").await;
    scene.assert_others_deliver(&[1]).await;
    let mut stopping = stopping;
    stopping.signal(Signal::TERM);
    assert_eq!(stopping.wait_exit(PATIENCE).await.code, Some(6));

    let setup = streams.setup.clone().env("ON_HISTORY_LOST", "latest");
    let mut tailwater = setup.start().await;
    let line = tailwater.wait_for_event("history_lost").await;
    assert!(line.contains(streams.name(LOST)), "{line}");
    until_state(&tailwater, &streams.id(LOST), "running").await;
    // The others resume where they were: nothing is repeated or left out.
    scene.assert_others_deliver(&[1, 2]).await;
    streams.insert(LOST, 3).await;
    let records = scene
        .kafka
        .wait_for_records(&[&streams.topic(LOST)], 2)
        .await;
    assert_eq!(ids(&records), [1, 3]);
    assert_eq!(scene.gaps(&tailwater, LOST).await, Some(1.0));
    for index in [0, 2] {
        assert_eq!(scene.gaps(&tailwater, index).await, Some(0.0));
    }
    assert_eq!(tailwater.get("/health").await.json()["status"], "healthy");
    tailwater.stop().await;
}
