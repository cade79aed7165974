//! The Kafka store.

use super::{assert_fenced_by, commit, config, context, location, open, position, writer};
use crate::support::{self, Kafka, PATIENCE, eventually, unique};
use rdkafka::admin::{AdminOptions, NewPartitions, ResourceSpecifier};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;
use tailwater::checkpoint::kafka::Topic;
use tailwater::checkpoint::{self, CommitError, Store};
use tailwater::config::{Config, ResumeBackend};
use tailwater::error::Code;
use tailwater::kafka::transaction::transactional_id;

/// The shared broker and a checkpoint topic of its own.
async fn place() -> (&'static Kafka, Config) {
    let kafka = support::kafka().await;
    (kafka, on(kafka, &unique("checkpoints")))
}

fn on(kafka: &Kafka, topic: &str) -> Config {
    let mut config = config(ResumeBackend::Kafka {
        topic: topic.to_owned(),
    });
    config.kafka.brokers = kafka.brokers().to_owned();
    config
}

fn topic_of(config: &Config) -> &str {
    match &config.streams[0].resume.backend {
        ResumeBackend::Kafka { topic } => topic,
        _ => unreachable!(),
    }
}

/// Produces without a transaction, straight to a partition.
async fn fill(kafka: &Kafka, topic: &str, partition: i32, keys: impl Iterator<Item = String>) {
    fill_with(kafka, topic, partition, keys, r#"{"version":1}"#).await;
}

async fn fill_with(
    kafka: &Kafka,
    topic: &str,
    partition: i32,
    keys: impl Iterator<Item = String>,
    value: &str,
) {
    let producer: BaseProducer = kafka.client_config().create().unwrap();
    for key in keys {
        let record = BaseRecord::to(topic)
            .partition(partition)
            .key(&key)
            .payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    let flushed = tokio::task::spawn_blocking(move || producer.flush(PATIENCE));
    flushed.await.unwrap().unwrap();
}

/// The newest record of the stream.
async fn stored(kafka: &Kafka, config: &Config) -> serde_json::Value {
    let records = kafka.records(&[topic_of(config)]).await;
    let newest = records.into_iter().next_back();
    newest.map(|record| record.value).unwrap()
}

/// A transaction that has written a record to the partition and stays open.
async fn open_transaction(kafka: &Kafka, topic: &str, partition: i32) -> BaseProducer {
    let mut config = kafka.client_config();
    config.set("transactional.id", unique("other"));
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(&topic)
            .partition(partition)
            .key("other")
            .payload("{}");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
        producer
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_none_and_what_is_stored_comes_back() {
    let (_, config) = place().await;
    super::absence_is_none_and_what_is_stored_comes_back(&config).await;
}

#[tokio::test]
async fn a_claim_keeps_the_position_and_tells_who_holds_the_stream() {
    let (_, config) = place().await;
    super::a_claim_keeps_the_position_and_tells_who_holds_the_stream(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instance_started_last_wins_and_the_other_says_by_whom() {
    let (_, config) = place().await;
    super::the_instance_started_last_wins_and_the_other_says_by_whom(&config).await;
}

#[tokio::test]
async fn a_checkpoint_never_moves_back() {
    let (_, config) = place().await;
    super::a_checkpoint_never_moves_back(&config).await;
}

#[tokio::test]
async fn a_new_incarnation_may_begin_earlier_with_a_higher_number() {
    let (_, config) = place().await;
    super::a_new_incarnation_may_begin_earlier_with_a_higher_number(&config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beside_the_position_is_kept_and_makes_form_2() {
    let (kafka, config) = place().await;
    let version = async || stored(kafka, &config).await["version"].as_i64().unwrap();
    super::what_is_beside_the_position_is_kept_and_makes_form_2(&config, version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_form_is_refused_with_what_to_do() {
    let (kafka, config) = place().await;
    let make_newer = async || {
        let mut newer = stored(kafka, &config).await;
        newer["version"] = 3.into();
        let topic = Topic::prepare(&config.kafka, topic_of(&config))
            .await
            .unwrap();
        let stream = &config.streams[0].id;
        let partition = topic.partition_of(stream);
        let key = std::iter::once(stream.clone());
        fill_with(kafka, topic.name(), partition, key, &newer.to_string()).await;
    };
    super::a_newer_form_is_refused_with_what_to_do(&config, make_newer).await;
}

#[tokio::test]
async fn a_misconfigured_instance_is_refused_without_fencing_the_healthy_one() {
    let (_, config) = place().await;
    super::a_misconfigured_instance_is_refused_without_fencing_the_healthy_one(&config).await;
}

#[tokio::test]
async fn all_checkpoints_are_listed_and_claims_without_one_are_not() {
    let (_, config) = place().await;
    super::all_checkpoints_are_listed_and_claims_without_one_are_not(&config).await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_unavailable() {
    let config = config(ResumeBackend::Kafka {
        topic: "checkpoints".into(),
    });
    assert_eq!(
        super::unreachable(&config).await.code,
        Code::SinkUnavailable
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_of_another_stream_does_not_hide_the_newest_checkpoint() {
    let (kafka, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    let topic = Topic::prepare(&config.kafka, topic_of(&config))
        .await
        .unwrap();
    let partition = topic.partition_of(&config.streams[0].id);
    let other = open_transaction(kafka, topic.name(), partition).await;
    // Behind it, and so hidden from whoever only reads what is stable.
    commit(&mut store, 2).await.unwrap();
    let peeked = kafka.committed_records(&[topic.name()]).await;
    let mut stable = peeked
        .iter()
        .filter_map(|record| record.value["seq"].as_u64());
    assert_eq!(stable.next_back(), Some(position(1).seq.0));

    let opening = {
        let config = config.clone();
        tokio::spawn(async move { Store::open(location(&config), context("two")).await })
    };
    // It cannot be done before the transaction ends; when that is decides this test alone.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!opening.is_finished());
    tokio::task::spawn_blocking(move || other.abort_transaction(PATIENCE).unwrap())
        .await
        .unwrap();
    let (_store, found) = opening.await.unwrap().unwrap();
    assert_eq!(found.unwrap().position, position(2));
}

#[tokio::test]
async fn a_checkpoint_is_found_behind_and_before_thousands_of_others() {
    let (kafka, config) = place().await;
    let topic = Topic::prepare(&config.kafka, topic_of(&config))
        .await
        .unwrap();
    let partition = topic.partition_of(&config.streams[0].id);
    let others = || (0..5_000).map(|n| format!("other-{}", n % 700));
    fill(kafka, topic.name(), partition, others()).await;
    let (mut store, none) = open(&config, "one").await;
    assert_eq!(none, None);
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    fill(kafka, topic.name(), partition, others()).await;
    let (mut store, found) = open(&config, "two").await;
    assert_eq!(found.unwrap().position, position(1));
    commit(&mut store, 2).await.unwrap();
    store.close().await.unwrap();
    let (_store, found) = open(&config, "three").await;
    assert_eq!(found.unwrap().position, position(2));
}

#[tokio::test]
async fn what_an_aborted_transaction_wrote_is_no_checkpoint() {
    let (kafka, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();
    let topic = Topic::prepare(&config.kafka, topic_of(&config))
        .await
        .unwrap();
    let partition = topic.partition_of(&config.streams[0].id);
    for _ in 0..3 {
        let aborted = open_transaction(kafka, topic.name(), partition).await;
        tokio::task::spawn_blocking(move || aborted.abort_transaction(PATIENCE).unwrap())
            .await
            .unwrap();
    }
    let (_store, found) = open(&config, "two").await;
    assert_eq!(found.unwrap().position, position(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_killed_in_the_middle_of_a_commit_loses_nothing_and_blocks_nobody() {
    let (_, config) = place().await;
    let mut next = 1;
    for round in 0..6_u32 {
        let mut process = writer::spawn(&config, next);
        eventually(PATIENCE, "the writer stores", async || {
            writer::last_step(&process.output())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 1_733)).await;
        process.kill9();
        let (store, found) = open(&config, "next").await;
        let found = found.unwrap().position.seq;
        let told = writer::last_step(&process.output()).unwrap();
        assert!(found >= position(told).seq, "stored {told}, found {found}");
        next = u32::try_from(found.0 - position(0).seq.0).unwrap() + 1;
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_nobody_claims_does_not_end_the_leader() {
    let (kafka, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    // As Kafka does when it ends a transaction that was open for too long, and as does an instance
    // that died before it could write its claim.
    let mut stranger = kafka.client_config();
    stranger.set("transactional.id", transactional_id(&config.streams[0].id));
    tokio::task::spawn_blocking(move || {
        let stranger: BaseProducer = stranger.create().unwrap();
        stranger.init_transactions(PATIENCE).unwrap();
    })
    .await
    .unwrap();
    let fenced = commit(&mut store, 2).await;
    assert!(
        matches!(fenced, Err(CommitError::Transient(_))),
        "{fenced:?}"
    );
    commit(&mut store, 2).await.unwrap();
    commit(&mut store, 3).await.unwrap();
    let read = checkpoint::read(location(&config), None).await.unwrap();
    assert_eq!(read.unwrap().position, position(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_leave_exactly_one_leader() {
    let (_, config) = place().await;
    let start = |instance: &'static str| {
        let config = config.clone();
        tokio::spawn(async move { Store::open(location(&config), context(instance)).await })
    };
    let (one, two, three) = tokio::join!(start("one"), start("two"), start("three"));
    super::assert_one_leader([one, two, three].map(Result::unwrap)).await;
}

#[tokio::test]
async fn the_topic_is_made_compacted_with_a_fixed_number_of_partitions() {
    let (kafka, config) = place().await;
    open(&config, "one").await;
    let name = topic_of(&config);
    assert_eq!(kafka.partitions(name).await, Some(16));
    let described = kafka
        .admin()
        .describe_configs([&ResourceSpecifier::Topic(name)], &AdminOptions::new())
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let setting = |name: &str| described.get(name).unwrap().value.clone().unwrap();
    assert_eq!(setting("cleanup.policy"), "compact");
    assert_eq!(setting("segment.bytes"), "1048576");
}

#[tokio::test]
async fn a_topic_that_would_delete_checkpoints_is_refused() {
    let kafka = support::kafka().await;
    for policy in ["delete", "compact,delete"] {
        let config = on(kafka, &unique("checkpoints"));
        kafka
            .create_topic(topic_of(&config), 1, &[("cleanup.policy", policy)])
            .await;
        let error = super::unreachable(&config).await;
        assert_eq!(error.code, Code::CheckpointFailed);
        assert!(error.detail.contains("cleanup.policy=compact"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_topic_that_may_not_be_made_is_said() {
    let (kafka, mut config) = place().await;
    config.kafka.creation.enabled = false;
    let error = super::unreachable(&config).await;
    assert_eq!(error.code, Code::SinkRefused);
    assert!(error.detail.contains("KAFKA_CREATE_TOPICS"), "{error}");
    assert_eq!(
        kafka.partitions(topic_of(&config)).await,
        None,
        "looking does not create"
    );
}

#[tokio::test]
async fn a_checkpoint_is_found_again_after_partitions_were_added() {
    let kafka = support::kafka().await;
    let name = unique("checkpoints");
    kafka
        .create_topic(&name, 1, &[("cleanup.policy", "compact")])
        .await;
    let mut config = on(kafka, &name);
    config.streams[0].id = "moves".into();
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    store.close().await.unwrap();

    let more = [NewPartitions::new(&name, 9)];
    let added = kafka
        .admin()
        .create_partitions(&more, &AdminOptions::new())
        .await;
    added.unwrap().remove(0).unwrap();
    eventually(PATIENCE, "the partitions are there", async || {
        (kafka.partitions(&name).await == Some(9)).then_some(())
    })
    .await;
    let topic = Topic::prepare(&config.kafka, &name).await.unwrap();
    assert_ne!(
        topic.partition_of(&config.streams[0].id),
        0,
        "this id does not move"
    );
    for (step, instance) in [(1, "two"), (2, "three")] {
        let (mut store, found) = open(&config, instance).await;
        assert_eq!(found.unwrap().position, position(step));
        commit(&mut store, step + 1).await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_never_a_first_start() {
    let (kafka, config) = place().await;
    let topic = Topic::prepare(&config.kafka, topic_of(&config))
        .await
        .unwrap();
    let partition = topic.partition_of(&config.streams[0].id);
    let id = config.streams[0].id.clone();
    fill(kafka, topic.name(), partition, std::iter::once(id)).await;
    assert_eq!(
        super::unreachable(&config).await.code,
        Code::CheckpointFailed
    );
}

#[tokio::test]
async fn the_partition_is_the_one_that_kafkas_own_partitioner_chooses() {
    let (kafka, config) = place().await;
    let topic = Topic::prepare(&config.kafka, topic_of(&config))
        .await
        .unwrap();
    let mut config = kafka.client_config();
    config.set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create().unwrap();
    for n in 0..100 {
        let key = format!("stream:{n}");
        let record = BaseRecord::<_, str>::to(topic.name())
            .key(&key)
            .payload("{}");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    tokio::task::spawn_blocking(move || producer.flush(PATIENCE))
        .await
        .unwrap()
        .unwrap();
    for record in kafka.records(&[topic.name()]).await {
        let key = String::from_utf8(record.key_bytes.clone().unwrap()).unwrap();
        assert_eq!(record.partition, topic.partition_of(&key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_for_a_while_is_survived() {
    let mut kafka = Kafka::dedicated(&[]).await;
    let config = on(&kafka, "tailwater.checkpoints");
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    kafka.kill9();
    let failed = commit(&mut store, 2).await;
    assert!(
        matches!(failed, Err(CommitError::Transient(_))),
        "{failed:?}"
    );
    kafka.restart().await;
    eventually(
        PATIENCE,
        "the checkpoint is stored",
        async || match commit(&mut store, 3).await {
            Ok(()) => Some(()),
            Err(CommitError::Transient(_)) => None,
            Err(other) => panic!("{other}"),
        },
    )
    .await;
    let (_two, found) = open(&config, "two").await;
    assert_eq!(found.unwrap().position, position(3));
    assert_fenced_by(commit(&mut store, 4).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_under_way_is_made_and_written_anew() {
    let (kafka, config) = place().await;
    let (mut store, _) = open(&config, "one").await;
    commit(&mut store, 1).await.unwrap();
    kafka.delete_topic(topic_of(&config)).await;
    eventually(
        2 * PATIENCE,
        "the checkpoint is stored",
        async || match commit(&mut store, 2).await {
            Ok(()) => Some(()),
            Err(CommitError::Transient(_)) => None,
            Err(other) => panic!("{other}"),
        },
    )
    .await;
    let read = checkpoint::read(location(&config), None).await.unwrap();
    assert_eq!(read.unwrap().position, position(2));
    assert_eq!(kafka.partitions(topic_of(&config)).await, Some(16));
}
