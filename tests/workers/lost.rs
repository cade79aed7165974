//! Jobs that nobody will carry out, because their records are gone.

use super::{Answer, Receiver, is_all_committed, wanted, with_topic, worker, write, write_at_once};
use crate::support::{Kafka, PATIENCE, Setup, Tailwater, eventually};
use serde_json::json;

/// A worker whose jobs only fail, and hold those behind them.
async fn stuck(kafka: &Kafka, prefix: &str) -> (Setup, Receiver) {
    let receiver = Receiver::start(|_| Answer::Status(400)).await;
    let handlers = json!({"all": {"url": receiver.url(), "backoff": "5m"}});
    (worker(kafka, prefix, &handlers), receiver)
}

/// Such a worker, for which three jobs wait.
async fn with_three_that_wait(kafka: &Kafka, prefix: &str, topic: &str) -> (Tailwater, Receiver) {
    let (setup, receiver) = stuck(kafka, prefix).await;
    let jobs: Vec<_> = (0..3).map(|n| wanted("all", n, "a")).collect();
    write(kafka, topic, &jobs).await;
    let worker = setup.start().await;
    eventually(PATIENCE, "all of them wait", async || {
        let health = worker.get("/health").await.json();
        (health["lag"][topic] == 3).then_some(())
    })
    .await;
    (worker, receiver)
}

/// What a worker tells of a topic that is lost.
async fn lost(worker: &mut Tailwater, topic: &str, jobs: u64) -> String {
    let line = worker.wait_for_event("jobs_lost").await;
    for field in [
        format!("topic=\"{topic}\""),
        "partition=0".to_owned(),
        format!("count={jobs}"),
    ] {
        let mut words = line.split_whitespace();
        assert!(words.any(|word| word == field), "{field}: {line}");
    }
    line
}

#[tokio::test]
async fn jobs_that_are_lost_with_their_topic_are_told_of() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let (mut worker, _receiver) = with_three_that_wait(kafka, &prefix, &topic).await;
    kafka.delete_topic(&topic).await;
    let line = lost(&mut worker, &topic, 3).await;
    assert!(line.contains(" ERROR "), "{line}");
    worker.stop().await;
}

#[tokio::test]
async fn jobs_of_a_topic_that_is_made_again_at_once_are_told_of_and_those_of_the_new_one_done() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let (mut worker, receiver) = with_three_that_wait(kafka, &prefix, &topic).await;
    kafka.delete_topic(&topic).await;
    eventually(PATIENCE, "it is gone", async || {
        kafka.partitions(&topic).await.is_none().then_some(())
    })
    .await;
    kafka.create_topic(&topic, 1, &[]).await;
    write(kafka, &topic, &[wanted("all", 9, "b")]).await;
    lost(&mut worker, &topic, 3).await;
    eventually(PATIENCE, "the new one is tried", async || {
        let calls = receiver.calls();
        calls.iter().any(|call| call.id() == "all-9").then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn jobs_whose_records_are_deleted_before_a_full_worker_has_read_them_are_told_of() {
    const HELD: usize = 4000;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let handlers = json!({"all": {"exec": ["true"]}});
    let setup = worker(kafka, &prefix, &handlers);
    let mut worker = setup.start().await;
    let addr = worker.http_addr().unwrap();
    let command = |name: &str| setup.clone().env("HTTP_ADDR", addr).args(&["worker", name]);
    assert_eq!(command("pause").run().await.code, Some(0));
    let some = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|n| wanted("all", n, &n.to_string())).collect()
    };
    write(kafka, &topic, &some(0..HELD)).await;
    eventually(PATIENCE, "it holds as much as it may", async || {
        let health = worker.get("/health").await.json();
        health["waits"]["full"].is_object().then_some(())
    })
    .await;
    write(kafka, &topic, &some(HELD..HELD + 100)).await;
    kafka
        .delete_records(&topic, &[("retention.ms", "604800000")])
        .await;
    // It reads on once there is room.
    assert_eq!(command("resume").run().await.code, Some(0));
    let line = lost(&mut worker, &topic, 100).await;
    assert!(line.contains("retention.ms"), "{line}");
    worker.stop().await;
}

#[tokio::test]
async fn what_was_deleted_while_no_worker_was_there_is_told_of() {
    for (is_transaction, more, level) in [(false, 3, " ERROR "), (true, 0, " WARN ")] {
        let (kafka, prefix, topic) = with_topic("all", 1).await;
        let receiver = Receiver::start(|_| Answer::Status(200)).await;
        let handlers = json!({"all": {"url": receiver.url()}});
        let setup = worker(kafka, &prefix, &handlers);
        let jobs: Vec<_> = (0..2).map(|n| wanted("all", n, "a")).collect();
        match is_transaction {
            true => write_at_once(kafka, &topic, &jobs).await,
            false => write(kafka, &topic, &jobs).await,
        }
        let first = setup.start().await;
        receiver.wait_for(2).await;
        first.stop().await;
        if !is_transaction {
            assert!(is_all_committed(kafka, &prefix, &topic, 1).await);
        }
        let more: Vec<_> = (2..2 + more).map(|n| wanted("all", n, "a")).collect();
        write(kafka, &topic, &more).await;
        kafka
            .delete_records(&topic, &[("retention.ms", "604800000")])
            .await;
        let mut second = setup.start().await;
        // Where all were done, only the end of their transaction was not read: that may have been a job, too.
        let count = u64::from(is_transaction) + more.len() as u64;
        let line = lost(&mut second, &topic, count).await;
        assert!(line.contains(level), "{line}");
        second.stop().await;
    }
}
