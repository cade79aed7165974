//! The checkpoint topic, deleted or changed by somebody, and a topic deleted within a transaction.

use super::{Load, assert_complete, assert_exactly_once, committed};
use crate::support::{
    self, Database, Kafka, PATIENCE, Record, Setup, Tailwater, eventually, unique,
};
use bson::doc;
use rdkafka::admin::{AdminOptions, NewPartitions};
use std::collections::BTreeSet;
use tailwater::error::Code;

const COMPACTED: &[(&str, &str)] = &[("cleanup.policy", "compact")];

struct Scene {
    db: Database,
    kafka: &'static Kafka,
    topic: String,
    checkpoints: String,
    setup: Setup,
}

async fn scene(delivery: &str) -> Scene {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (topic, checkpoints) = (db.topic("changes"), unique("checkpoints"));
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("RESUME_TOPIC", &checkpoints)
        .env("DELIVERY", delivery)
        .env("RECONNECT_DELAY_MS", 50)
        .env("COMMIT_INTERVAL_MS", 100);
    Scene {
        db,
        kafka,
        topic,
        checkpoints,
        setup,
    }
}

impl Scene {
    async fn insert(&self, id: i32) {
        let users = self.db.documents("users");
        users.insert_one(doc! {"_id": id}).await.unwrap();
    }

    async fn arrived(&self, count: usize) -> Vec<Record> {
        committed(self.kafka, &self.topic, count).await
    }

    /// Deletes their topic, and waits until the broker knows it no more: for a moment it still takes records.
    async fn delete_the_checkpoints(&self) {
        self.kafka.delete_topic(&self.checkpoints).await;
        eventually(PATIENCE, "the topic is gone", async || {
            let partitions = self.kafka.partitions(&self.checkpoints).await;
            partitions.is_none().then_some(())
        })
        .await;
    }

    /// Stops it, writes while it is away, and expects that write at the next start, and no other again.
    async fn goes_on_after_a_restart(&self, tailwater: Tailwater, written: i32) {
        tailwater.stop().await;
        let before = self.arrived(0).await.len();
        self.insert(written + 1).await;
        let tailwater = self.setup.start().await;
        let records = self.arrived(before + 1).await;
        assert_complete(&records, usize::try_from(written + 1).unwrap());
        assert_eq!(records.len(), before + 1, "some come again");
        tailwater.stop().await;
    }
}

async fn made_again(delivery: &str) {
    let scene = scene(delivery).await;
    let tailwater = scene.setup.start().await;
    scene.insert(1).await;
    scene.arrived(1).await;
    scene.kafka.delete_topic(&scene.checkpoints).await;
    scene.insert(2).await;
    let records = scene.arrived(2).await;
    assert_complete(&records, 2);
    let made = "the checkpoint topic is there again";
    eventually(PATIENCE, made, async || {
        scene.kafka.partitions(&scene.checkpoints).await
    })
    .await;
    scene.goes_on_after_a_restart(tailwater, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_topic_deleted_is_made_again_exactly_once() {
    made_again("exactly_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_topic_deleted_is_made_again_at_least_once() {
    made_again("at_least_once").await;
}

async fn stopped_without(delivery: &str) {
    let mut scene = scene(delivery).await;
    scene.setup = scene.setup.env("SHUTDOWN_TIMEOUT_MS", 3_000);
    scene.setup.start().await.stop().await;
    scene.setup = scene.setup.env("KAFKA_CREATE_TOPICS", "false");
    let mut tailwater = scene.setup.start().await;
    scene.insert(1).await;
    scene.arrived(1).await;
    scene.delete_the_checkpoints().await;
    scene.insert(2).await;
    let kafka = scene.kafka;
    let sent = "the second record is sent";
    eventually(PATIENCE, sent, async || {
        (kafka.records(&[&scene.topic]).await.len() == 2).then_some(())
    })
    .await;
    tailwater.signal(rustix::process::Signal::TERM);
    let exit = tailwater.wait_exit(PATIENCE).await;
    let failed = Some(i32::from(Code::CheckpointFailed.exit_code()));
    assert_eq!(exit.code, failed, "{delivery}: {}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_a_checkpoint_topic_does_not_claim_that_all_is_committed() {
    tokio::join!(
        stopped_without("exactly_once"),
        stopped_without("at_least_once"),
    );
}

/// A stream at rest that finds its checkpoint topic as it left it, until somebody deletes that.
async fn deleted_at_rest(scene: &Scene) -> Tailwater {
    let tailwater = scene.setup.start().await;
    // Where it was written within the last second, a stop does not look for it.
    eventually(PATIENCE, "the checkpoint has some age", async || {
        let status = tailwater.get("/status").await.json();
        (status["checkpointAgeSeconds"].as_u64() >= Some(1)).then_some(())
    })
    .await;
    scene.delete_the_checkpoints().await;
    tailwater
}

async fn made_again_by_the_stop(delivery: &str) {
    let scene = scene(delivery).await;
    let tailwater = scene.setup.start().await;
    scene.insert(1).await;
    scene.arrived(1).await;
    tailwater.stop().await;
    deleted_at_rest(&scene).await.stop().await;
    scene.insert(2).await;
    let tailwater = scene.setup.start().await;
    let records = scene.arrived(2).await;
    assert_complete(&records, 2);
    assert_eq!(records.len(), 2, "{delivery}: some come again");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_topic_deleted_at_rest_is_made_again_by_the_stop() {
    tokio::join!(
        made_again_by_the_stop("exactly_once"),
        made_again_by_the_stop("at_least_once"),
    );
}

async fn stopped_at_rest_without(delivery: &str) {
    let mut scene = scene(delivery).await;
    scene.setup.start().await.stop().await;
    scene.setup = scene.setup.env("KAFKA_CREATE_TOPICS", "false");
    let mut tailwater = deleted_at_rest(&scene).await;
    tailwater.signal(rustix::process::Signal::TERM);
    let exit = tailwater.wait_exit(PATIENCE).await;
    let failed = Some(i32::from(Code::CheckpointFailed.exit_code()));
    assert_eq!(exit.code, failed, "{delivery}: {}", exit.output);
    let sentence = format!("no longer in Kafka topic {}", scene.checkpoints);
    assert!(exit.output.contains(&sentence), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_that_its_checkpoint_topic_is_gone_and_may_not_be_made() {
    tokio::join!(
        stopped_at_rest_without("exactly_once"),
        stopped_at_rest_without("at_least_once"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_were_deleted_are_a_warning_with_what_that_means() {
    let scene = scene("at_least_once").await;
    let tailwater = scene.setup.start().await;
    scene.insert(1).await;
    scene.arrived(1).await;
    let exit = tailwater.stop().await;
    assert!(!exit.output.contains("were deleted"), "{}", exit.output);
    scene
        .kafka
        .delete_records(&scene.checkpoints, COMPACTED)
        .await;
    let mut tailwater = scene.setup.start().await;
    let line = tailwater.wait_for_log("were deleted").await;
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("may never be delivered"), "{line}");
    tailwater.stop().await;
}

async fn changed(delivery: &str) {
    let scene = scene(delivery).await;
    let tailwater = scene.setup.start().await;
    scene.insert(1).await;
    scene.arrived(1).await;
    let more = NewPartitions::new(&scene.checkpoints, 24);
    let admin = scene.kafka.admin();
    let made = admin.create_partitions([&more], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();
    scene
        .kafka
        .delete_records(&scene.checkpoints, COMPACTED)
        .await;
    scene.insert(2).await;
    scene.arrived(2).await;
    scene.goes_on_after_a_restart(tailwater, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_the_checkpoint_topic_under_way_does_not_end_the_stream() {
    tokio::join!(changed("exactly_once"), changed("at_least_once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_within_a_transaction_is_made_again_and_nothing_is_lost_after() {
    let scene = scene("exactly_once").await;
    let tailwater = scene.setup.start().await;
    let load = Load::on(&scene.db, "users");
    let before = scene.arrived(50).await;
    let first = before.iter().map(Record::seq).min().unwrap();
    let made = "topic created";
    let times = tailwater.log().matches(made).count();
    scene.kafka.delete_topic(&scene.topic).await;
    eventually(PATIENCE, "the topic is made once more", async || {
        (tailwater.log().matches(made).count() > times).then_some(())
    })
    .await;
    let written = u64::try_from(load.stop().await).unwrap();
    // What Kafka had acknowledged went with the topic; all that it had not comes.
    let records = eventually(PATIENCE, "the last change", async || {
        let records = scene.arrived(0).await;
        let seqs: BTreeSet<u64> = records.iter().map(Record::seq).collect();
        let (from, to) = (*seqs.first()?, *seqs.last()?);
        let is_whole = seqs.len() as u64 == to - from + 1;
        (is_whole && to == first + written - 1).then_some(records)
    })
    .await;
    assert_exactly_once(&records, records.len());
    tailwater.stop().await;
}
