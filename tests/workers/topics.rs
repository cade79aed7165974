//! Topics of jobs that change under a worker: they gain partitions, are deleted and made again, and have gaps.

use super::crashes::assert_in_order;
use super::{
    Answer, Call, Receiver, all_committed, is_all_committed, wanted, with_topic, worker, write,
    write_at_once,
};
use crate::support::{Kafka, PATIENCE, eventually, unique};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{BaseProducer, Producer};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

fn ids(calls: &[Call]) -> BTreeSet<String> {
    calls.iter().map(|call| call.id().to_owned()).collect()
}

/// What is written to new partitions before the workers know them is behind no "latest".
#[tokio::test]
async fn the_jobs_of_partitions_that_a_topic_gains_are_done_from_the_first_and_in_order() {
    const JOBS: usize = 120;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let wanted_end = Arc::new(Notify::new());
    let end = Arc::clone(&wanted_end);
    let receiver = Receiver::start(move |call| match call.id() {
        "held-0" => Answer::When(Arc::clone(&end), 200),
        _ => Answer::Late(Duration::from_millis(5)),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url()},
        "held": {"url": receiver.url(), "timeout": "5m"},
    });
    let setup = worker(kafka, &prefix, &handlers);
    let both = [setup.start().await, setup.start().await];
    // One that runs all the while.
    write(kafka, &topic, &[wanted("held", 0, "held")]).await;
    eventually(PATIENCE, "it runs", async || {
        (receiver.calls().len() == 1).then_some(())
    })
    .await;
    let made = kafka
        .admin()
        .create_partitions(&[NewPartitions::new(&topic, 4)], &AdminOptions::new())
        .await;
    made.unwrap().into_iter().for_each(|made| {
        made.unwrap();
    });
    eventually(PATIENCE, "the partitions are there", async || {
        (kafka.partitions(&topic).await == Some(4)).then_some(())
    })
    .await;
    // 20 keys, as the order is looked at by.
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| wanted("all", n, &format!("k{}", n % 20)))
        .collect();
    write(kafka, &topic, &jobs).await;
    let written = kafka.records(&[&topic]).await;
    let partitions: BTreeSet<_> = written.iter().map(|it| it.partition).collect();
    assert_eq!(partitions.len(), 4, "each has some");
    let done = receiver.wait_for(JOBS).await;
    assert_in_order(&done);
    for worker in &both {
        let health = worker.get("/health").await.json();
        assert_eq!(health["partitions"], 2, "{health:#}");
    }
    wanted_end.notify_one();
    all_committed(kafka, &prefix, &topic, 4).await;
    let calls = receiver.calls();
    assert_eq!((calls.len(), ids(&calls).len()), (JOBS + 1, JOBS + 1));
    for worker in both {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_is_made_again_later_is_read_from_its_beginning() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let jobs: Vec<_> = (0..3).map(|n| wanted("all", n, "a")).collect();
    write(kafka, &topic, &jobs).await;
    let mut worker = worker(kafka, &prefix, &handlers).start().await;
    receiver.wait_for(3).await;
    all_committed(kafka, &prefix, &topic, 1).await;
    kafka.delete_topic(&topic).await;
    worker.wait_for_log("a topic of jobs was deleted").await;
    let health = eventually(PATIENCE, "it has no topic", async || {
        let health = worker.get("/health").await.json();
        health["waits"]["topics"].is_object().then_some(health)
    })
    .await;
    assert_eq!(health["topics"], json!([]), "{health:#}");
    kafka.create_topic(&topic, 1, &[]).await;
    // More than there were: none of them is taken for one of those.
    let jobs: Vec<_> = (10..16).map(|n| wanted("all", n, "a")).collect();
    write(kafka, &topic, &jobs).await;
    receiver.wait_for(9).await;
    all_committed(kafka, &prefix, &topic, 1).await;
    assert_eq!(receiver.calls().len(), 9, "each once");
    worker.stop().await;
}

/// By the time at which the worker looks, the new one is longer than the former was: where it read on, the first of them
/// would be passed over.
#[tokio::test]
async fn no_job_of_a_topic_that_is_made_again_at_once_is_passed_over() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let jobs: Vec<_> = (0..3).map(|n| wanted("all", n, "a")).collect();
    write(kafka, &topic, &jobs).await;
    let setup = worker(kafka, &prefix, &handlers);
    let mut first = setup.start().await;
    receiver.wait_for(3).await;
    all_committed(kafka, &prefix, &topic, 1).await;
    // It sees neither that it is gone, nor the new one while that is empty.
    first.signal(Signal::STOP);
    kafka.delete_topic(&topic).await;
    eventually(PATIENCE, "it is gone", async || {
        kafka.partitions(&topic).await.is_none().then_some(())
    })
    .await;
    kafka.create_topic(&topic, 1, &[]).await;
    let jobs: Vec<_> = (10..20).map(|n| wanted("all", n, "a")).collect();
    write(kafka, &topic, &jobs).await;
    first.signal(Signal::CONT);
    receiver.wait_for(13).await;
    // Some may have been done before it was known that it is another topic, and come twice.
    eventually(PATIENCE, "it has come to the end", async || {
        let calls = receiver.calls();
        (calls.last()?.id() == "all-19").then_some(())
    })
    .await;
    first.stop().await;
    assert!(is_all_committed(kafka, &prefix, &topic, 1).await);
    // Whoever comes next goes by what was committed of the new one.
    let before = receiver.calls().len();
    write(kafka, &topic, &[wanted("all", 20, "a")]).await;
    let second = setup.start().await;
    receiver.wait_for(14).await;
    assert_eq!(receiver.calls().len(), before + 1);
    second.stop().await;
}

/// Offsets that no record has: what was compacted, what was aborted, ends of transactions, what was deleted.
#[tokio::test]
async fn what_is_committed_waits_for_no_offset_that_is_not_there() {
    let kafka = Kafka::dedicated(&["log.cleaner.backoff.ms=100"]).await;
    let prefix = unique("jobs.t");
    let topic = format!("{prefix}.all");
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    kafka.create_topic(&topic, 1, &compacted).await;
    // The first fails once, and waits elsewhere: how far the partition is, is then part of a transaction.
    let receiver = Receiver::start(|call| match (call.id(), call.nth) {
        ("all-0", 1) => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "100ms", "order": "none"},
    });
    write_at_once(&kafka, &topic, &[wanted("all", 0, "first")]).await;
    abort(&kafka, &topic).await;
    let mut number = 0;
    let left = eventually(PATIENCE, "something is compacted away", async || {
        number += 1;
        write(&kafka, &topic, &[wanted("all", number, "same")]).await;
        let left = kafka.committed_records(&[&topic]).await;
        let of_same = left.len() - 1;
        (of_same < number && number > 3).then_some(left)
    })
    .await;
    assert_eq!(left[0].header("tw-id"), "all-0");
    let last = left.last().unwrap().header("tw-id").to_owned();
    let worker = worker(&kafka, &prefix, &handlers).start().await;
    eventually(PATIENCE, "the last is done", async || {
        ids(&receiver.done()).contains(&last).then_some(())
    })
    .await;
    all_committed(&kafka, &prefix, &topic, 1).await;
    eventually(PATIENCE, "the first is done", async || {
        ids(&receiver.done()).contains("all-0").then_some(())
    })
    .await;

    // While it runs, and after all of it was deleted.
    abort(&kafka, &topic).await;
    write_at_once(&kafka, &topic, &[wanted("all", number + 1, "more")]).await;
    write(&kafka, &topic, &[wanted("all", number + 2, "more")]).await;
    all_committed(&kafka, &prefix, &topic, 1).await;
    kafka.delete_records(&topic, &compacted).await;
    abort(&kafka, &topic).await;
    write(&kafka, &topic, &[wanted("all", number + 3, "more")]).await;
    all_committed(&kafka, &prefix, &topic, 1).await;
    let done = ids(&receiver.done());
    for more in number + 1..=number + 3 {
        assert!(done.contains(&format!("all-{more}")), "{more}: {done:?}");
    }
    assert!(!done.iter().any(|id| id.starts_with("aborted")), "{done:?}");
    worker.stop().await;
}

/// Three jobs that are written and taken back.
async fn abort(kafka: &Kafka, topic: &str) {
    let producer: BaseProducer = kafka
        .client_config()
        .set("transactional.id", unique("t"))
        .create()
        .unwrap();
    let topic = topic.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let jobs: Vec<_> = (0..3).map(|n| wanted("aborted", n, "a")).collect();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        super::send(&producer, &topic, &jobs);
        producer.flush(PATIENCE).unwrap();
        producer.abort_transaction(PATIENCE).unwrap();
    });
    writing.await.unwrap();
}
