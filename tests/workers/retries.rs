//! Jobs without an order, which wait for their next attempt in a topic of their own.

use super::{
    Answer, Call, Receiver, all_committed, dead_letters, retry_topic, wanted, with_topic, worker,
    write,
};
use crate::support::{Kafka, Operation, PATIENCE, Random, Resource, eventually, unique};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn attempts(calls: &[Call]) -> Vec<(&str, &str)> {
    calls
        .iter()
        .map(|call| (call.id(), call.header("tw-attempt")))
        .collect()
}

#[tokio::test]
async fn a_killed_worker_loses_neither_a_job_that_waits_nor_the_count_of_its_attempts() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Status(500)).await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "3s", "retries": 1, "order": "none"},
    });
    let job = wanted("all", 1, "a key");
    write(kafka, &topic, std::slice::from_ref(&job)).await;
    let setup = worker(kafka, &prefix, &handlers);
    let mut first = setup.start().await;
    let retries = retry_topic(&prefix);
    let parked = eventually(PATIENCE, "it waits there", async || {
        let parked = kafka.committed_records(&[&retries]).await;
        (!parked.is_empty()).then_some(parked)
    })
    .await;
    assert_eq!(parked[0].value, job.value);
    let due: i64 = parked[0].header("tw-retry-due").parse().unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    assert!(
        (now..now + 4_000).contains(&due),
        "{due} is not after {now}"
    );
    first.kill9();
    let second = setup.start().await;
    let letters = dead_letters(kafka, &prefix, 1).await;
    let letter = &letters[0];
    // The second attempt was the last, and nothing was tried twice.
    assert_eq!(
        attempts(&receiver.calls()),
        [("all-1", "1"), ("all-1", "2")]
    );
    assert_eq!(
        (
            letter.header("tw-dlq-attempts"),
            letter.header("tw-dlq-topic")
        ),
        ("2", &*topic)
    );
    assert_eq!(
        (&letter.value, &letter.key_bytes),
        (&job.value, &parked[0].key_bytes)
    );
    let own = |name: &String| name.starts_with("tw-retry-");
    assert!(!letter.headers.keys().any(own), "{:?}", letter.headers);
    let calls = receiver.calls();
    assert!(!calls.iter().any(|call| call.headers.keys().any(own)));
    second.stop().await;
}

/// Its offset was committed with its record: what comes behind is not held, and a graceful end repeats nothing.
#[tokio::test]
async fn a_job_that_waits_holds_no_commit() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match (call.id(), call.nth) {
        ("all-0", 1) => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "5m", "order": "none"},
    });
    let jobs: Vec<_> = (0..20).map(|n| wanted("all", n, "a")).collect();
    write(kafka, &topic, &jobs).await;
    let setup = worker(kafka, &prefix, &handlers);
    let first = setup.start().await;
    receiver.wait_for(19).await;
    kafka.wait_for_records(&[&retry_topic(&prefix)], 1).await;
    let parked = async |worker: &crate::support::Tailwater| {
        eventually(PATIENCE, "it is told that one waits", async || {
            let health = worker.get("/health").await.json();
            (health["jobs"]["all"]["parked"] == 1).then_some(health)
        })
        .await
    };
    let health = parked(&first).await;
    assert_eq!(health["partitions"], 1, "those of jobs");
    first.stop().await;
    let second = setup.start().await;
    parked(&second).await;
    write(kafka, &topic, &[wanted("all", 20, "a")]).await;
    receiver.wait_for(20).await;
    // The first was called once, and so was each other.
    assert_eq!(receiver.calls().len(), 21);
    second.stop().await;
}

#[tokio::test]
async fn no_job_that_fails_again_and_again_is_lost_where_workers_are_killed() {
    const JOBS: usize = 200;
    let (kafka, prefix, topic) = with_topic("all", 3).await;
    // Each is done at its third attempt, as the worker counts them.
    let receiver = Receiver::start(|call| match call.header("tw-attempt") {
        "1" | "2" => Answer::Status(422),
        _ => Answer::Late(Duration::from_millis(5)),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "200ms", "retries": 2, "order": "none"},
    });
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| wanted("all", n, &n.to_string()))
        .collect();
    write(kafka, &topic, &jobs).await;
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", "8");
    let mut random = Random(16);
    for _ in 0..3 {
        let before = receiver.calls().len();
        let mut worker = setup.start().await;
        let more = before + 30 + usize::try_from(random.below(60)).unwrap();
        eventually(PATIENCE, "some are called", async || {
            (receiver.calls().len() >= more).then_some(())
        })
        .await;
        worker.kill9();
    }
    let last = setup.start().await;
    let done = receiver.wait_for(JOBS).await;
    // However often an attempt was repeated, the count went on from where it was: never back, and by one at a time.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for call in receiver.calls() {
        let attempt: u32 = call.header("tw-attempt").parse().unwrap();
        let last = seen.entry(call.id().to_owned()).or_default();
        assert!(
            attempt <= *last + 1,
            "{}: {attempt} after {last}",
            call.id()
        );
        *last = (*last).max(attempt);
    }
    assert!(seen.values().all(|last| *last == 3), "{seen:?}");
    let ids: BTreeSet<_> = done.iter().map(Call::id).collect();
    let repeated = receiver.calls().len() - 3 * JOBS;
    assert_eq!(ids.len(), JOBS);
    // What ran and was not committed yet, at each of three kills: these come soon after the start.
    assert!(repeated <= 2 * JOBS, "{repeated} repeated");
    println!("{repeated} attempts of {} were repeated", 3 * JOBS);
    last.stop().await;
    let dead = kafka.records(&["jobs.dlq"]).await;
    let of_group = |it: &&crate::support::Record| {
        it.headers
            .get("tw-dlq-group")
            .is_some_and(|group| *group == prefix)
    };
    assert_eq!(dead.iter().filter(of_group).count(), 0);
}

#[tokio::test]
async fn a_job_too_large_for_the_topic_of_retries_waits_in_memory_and_others_do_not() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let retries = retry_topic(&prefix);
    kafka
        .create_topic(&retries, 1, &[("max.message.bytes", "2000")])
        .await;
    let receiver = Receiver::start(|call| match call.nth {
        1 => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "300ms", "order": "none"},
    });
    let mut jobs: Vec<_> = (0..4).map(|n| wanted("all", n, "a")).collect();
    jobs[1].value["much"] = Value::from("x".repeat(5000));
    write(kafka, &topic, &jobs).await;
    let mut worker = worker(kafka, &prefix, &handlers).start().await;
    receiver.wait_for(4).await;
    worker
        .wait_for_log("too large for the topic of retries")
        .await;
    let ids = eventually(PATIENCE, "three of them were parked", async || {
        let parked = kafka.committed_records(&[&retries]).await;
        let ids = parked.iter().map(|it| it.header("tw-id").to_owned());
        let ids: BTreeSet<_> = ids.collect();
        (ids.len() >= 3).then_some(ids)
    })
    .await;
    let expected = ["all-0", "all-2", "all-3"].map(str::to_owned);
    assert_eq!(ids, expected.into());
    worker.stop().await;
}

#[tokio::test]
async fn jobs_that_are_lost_with_the_topic_of_retries_are_told_of_and_it_is_made_again() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let receiver = Receiver::start(move |_| match well.load(Ordering::Relaxed) {
        true => Answer::Status(200),
        false => Answer::Status(500),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "5m", "order": "none"},
    });
    write(kafka, &topic, &[wanted("all", 1, "a")]).await;
    let setup = worker(kafka, &prefix, &handlers);
    let mut first = setup.start().await;
    let retries = retry_topic(&prefix);
    kafka.wait_for_records(&[&retries], 1).await;
    eventually(PATIENCE, "it waits", async || {
        let health = first.get("/health").await.json();
        (health["jobs"]["all"]["parked"] == 1).then_some(())
    })
    .await;
    kafka.delete_topic(&retries).await;
    let line = first.wait_for_event("retries_lost").await;
    assert!(line.contains(&retries), "{line}");
    eventually(PATIENCE, "it is there again", async || {
        kafka.partitions(&retries).await
    })
    .await;
    // Another one waits there.
    write(kafka, &topic, &[wanted("all", 2, "a")]).await;
    kafka.wait_for_records(&[&retries], 1).await;
    first.stop().await;
    // No worker is there while its records are deleted.
    write(kafka, &topic, &[wanted("all", 3, "a")]).await;
    kafka
        .delete_records(&retries, &[("retention.ms", "604800000")])
        .await;
    is_well.store(true, Ordering::Relaxed);
    let mut second = setup.start().await;
    receiver.wait_for(1).await;
    let line = second.wait_for_event("retries_lost").await;
    assert!(line.contains("retention.ms"), "{line}");
    second.stop().await;
}

#[tokio::test]
async fn a_user_without_the_rights_for_retries_is_told_which() {
    const USER: &str = "worker";
    let kafka = Kafka::with_acls(&[USER], &[]).await;
    kafka.allow_everything(USER).await;
    let prefix = unique("jobs.t");
    let retries = retry_topic(&prefix);
    kafka.create_topic(&retries, 1, &[]).await;
    let handlers = |order: &str| json!({"all": {"url": "http://127.0.0.1:9/", "order": order}});
    let setup = |order: &str| worker(&kafka, &prefix, &handlers(order)).logged_in_as(&kafka, USER);
    for (resource, operation, told) in [
        (
            Resource::Topic(&retries),
            Operation::Write,
            format!("lacks Write on topic {retries}"),
        ),
        (
            Resource::TransactionalId("*"),
            Operation::Write,
            format!("initialising the transactions of tailwater-worker-{prefix}-"),
        ),
    ] {
        kafka.deny(USER, resource, operation).await;
        let exit = eventually(PATIENCE, "it is refused", async || {
            let mut refused = setup("none").spawn();
            let exit = refused.wait_exit(PATIENCE).await;
            exit.output.contains(&told).then_some(exit)
        })
        .await;
        assert_eq!(exit.code, Some(4), "{}", exit.output);
        kafka.end_denial(USER, resource, operation).await;
    }
    // Whose handlers keep an order needs none of it.
    kafka
        .deny(USER, Resource::Topic(&retries), Operation::Write)
        .await;
    kafka
        .deny(USER, Resource::TransactionalId("*"), Operation::Write)
        .await;
    setup("key").start().await.stop().await;
}

/// Its next attempt is made when it is due, and its offset is committed once it is done.
#[tokio::test]
async fn a_job_that_kafka_does_not_take_for_a_retry_is_tried_again_from_memory() {
    const USER: &str = "worker";
    let kafka = Kafka::with_acls(&[USER], &[]).await;
    kafka.allow_everything(USER).await;
    let prefix = unique("jobs.t");
    let (topic, retries) = (format!("{prefix}.all"), retry_topic(&prefix));
    kafka.create_topic(&topic, 1, &[]).await;
    let receiver = Receiver::start(|call| match call.nth {
        1 => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "backoff": "300ms", "order": "none"},
    });
    let setup = worker(&kafka, &prefix, &handlers).logged_in_as(&kafka, USER);
    let running = setup.start().await;
    // It may write there, and has done so.
    write(&kafka, &topic, &[wanted("all", 0, "a")]).await;
    receiver.wait_for(1).await;
    let parked = async || {
        let parked = kafka.committed_records(&[&retries]).await;
        let ids = parked.iter().map(|it| it.header("tw-id").to_owned());
        ids.collect::<BTreeSet<_>>()
    };
    assert_eq!(parked().await, ["all-0".to_owned()].into());

    kafka
        .deny(USER, Resource::Topic(&retries), Operation::Write)
        .await;
    // The brokers take note of it a little later.
    let mut number = 0;
    let refused = loop {
        number += 1;
        assert!(number < 50, "it may still write there");
        let job = wanted("all", number, "a");
        write(&kafka, &topic, std::slice::from_ref(&job)).await;
        receiver.wait_for(number + 1).await;
        if !parked().await.contains(&job.id) {
            break job.id;
        }
    };
    let health = running.get("/health").await.json();
    let said = health["waits"]["retries"]["what"].as_str().unwrap();
    assert!(said.contains(&retries), "{said}");
    let calls = receiver.calls();
    let of_it = attempts(&calls)
        .into_iter()
        .filter(|(id, _)| *id == refused);
    let numbers: Vec<_> = of_it.map(|(_, number)| number).collect();
    assert_eq!(numbers, ["1", "2"]);
    all_committed(&kafka, &prefix, &topic, 1).await;
    assert!(!parked().await.contains(&refused));

    // Once it may write again, it does, and says nothing more.
    kafka
        .end_denial(USER, Resource::Topic(&retries), Operation::Write)
        .await;
    eventually(PATIENCE, "it is written there", async || {
        number += 1;
        let job = wanted("all", number, "a");
        write(&kafka, &topic, std::slice::from_ref(&job)).await;
        receiver.wait_for(number + 1).await;
        parked().await.contains(&job.id).then_some(())
    })
    .await;
    let health = running.get("/health").await.json();
    assert_eq!(health["waits"]["retries"], Value::Null);
    running.stop().await;
}
