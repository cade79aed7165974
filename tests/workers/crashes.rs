//! Workers that are killed, stopped, added and paused while they have work.

use super::{Answer, Call, Receiver, all_committed, wanted, with_topic, worker, write};
use crate::support::{PATIENCE, Random, eventually};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// No job of a key is done before the one in front of it was done once.
pub(super) fn assert_in_order(done: &[Call]) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for call in done {
        let value: Value = serde_json::from_slice(&call.body).unwrap();
        let (key, n) = (
            value["key"].as_str().unwrap().to_owned(),
            value["n"].as_u64().unwrap(),
        );
        let before = last.get(&key).copied();
        let is_first = before.is_none() || before < Some(n);
        if is_first {
            let expected = before.map_or(n % 20, |before| before + 20);
            assert_eq!(n, expected, "{key}: a job has overtaken the one before it");
            last.insert(key, n);
        }
    }
}

#[tokio::test]
async fn no_job_is_lost_or_overtaken_where_workers_are_killed_stopped_and_added() {
    const JOBS: usize = 600;
    let (kafka, prefix, topic) = with_topic("all", 4).await;
    let receiver = Receiver::start(|call| {
        // Some fail at first, some take longer.
        match (
            call.body
                .iter()
                .map(|byte| usize::from(*byte))
                .sum::<usize>()
                % 11,
            call.nth,
        ) {
            (0, 1) => Answer::Status(500),
            (1..=3, _) => Answer::Late(Duration::from_millis(60)),
            _ => Answer::Late(Duration::from_millis(15)),
        }
    })
    .await;
    let handlers = json!({"all": {"url": receiver.url(), "backoff": "50ms", "retries": 5}});
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", "4");
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| wanted("all", n, &format!("k{}", n % 20)))
        .collect();
    write(kafka, &topic, &jobs).await;

    let mut first = setup.start().await;
    receiver.wait_for(60).await;
    let second = setup.start().await;
    receiver.wait_for(160).await;
    first.kill9();
    let by_then = receiver.calls().len();
    let third = setup.start().await;
    receiver.wait_for(300).await;
    // A graceful end repeats nothing.
    second.stop().await;
    let done = receiver.wait_for(JOBS).await;
    assert_in_order(&done);
    let repeated = done.len() - done.iter().map(Call::id).collect::<BTreeSet<_>>().len();
    // Of what was done before the kill, and behind jobs that failed at first in partitions that moved after it.
    let most = by_then + JOBS / 10;
    assert!(
        repeated <= most,
        "{repeated} repeated, {by_then} at the kill"
    );
    println!("{repeated} of {JOBS} were repeated");
    // What the second one did behind a job that it had not begun is repeated by the third, also when each was done once.
    all_committed(kafka, &prefix, &topic, 4).await;
    third.stop().await;

    // Another worker has nothing to do.
    write(kafka, &topic, &[wanted("all", JOBS, "k0")]).await;
    let before = receiver.calls().len();
    let last = setup.start().await;
    receiver.wait_for(JOBS + 1).await;
    let more: Vec<_> = receiver.calls()[before..]
        .iter()
        .map(|call| call.id().to_owned())
        .collect();
    assert!(
        more.iter().all(|id| *id == format!("all-{JOBS}")),
        "{more:?}"
    );
    last.stop().await;
}

#[tokio::test]
async fn a_paused_worker_begins_nothing_and_a_stop_waits_for_what_runs() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Late(Duration::from_millis(700))).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers);
    let mut running = setup.start().await;
    let addr = running.http_addr().unwrap();
    let command = |name: &str| {
        let command = ["worker", name];
        setup.clone().env("HTTP_ADDR", addr).args(&command)
    };
    let paused = command("pause").run().await;
    assert_eq!(paused.code, Some(0), "{}", paused.output);
    running.wait_for_event("worker_paused").await;
    write(
        kafka,
        &topic,
        &[
            wanted("all", 0, "a"),
            wanted("all", 1, "b"),
            wanted("all", 2, "a"),
        ],
    )
    .await;
    eventually(PATIENCE, "they wait", async || {
        let health = running.get("/health").await.json();
        (health["jobs"]["all"]["waiting"] == 3 && health["state"] == "paused").then_some(())
    })
    .await;
    let status = command("status").run().await;
    assert!(
        status.output.contains("all: 3 waiting, 0 active"),
        "{}",
        status.output
    );
    assert!(receiver.calls().is_empty());
    assert_eq!(command("resume").run().await.code, Some(0));
    running.wait_for_event("worker_resumed").await;
    eventually(PATIENCE, "two run", async || {
        (receiver.calls().len() == 2).then_some(())
    })
    .await;
    let stopped = command("stop").run().await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.output);
    assert_eq!(running.wait_exit(PATIENCE).await.code, Some(0));
    assert_eq!((receiver.done().len(), receiver.calls().len()), (2, 2));
    // The third is not lost.
    let again = setup.start().await;
    let done = receiver.wait_for(3).await;
    assert_eq!(done.len(), 3);
    again.stop().await;
}

#[tokio::test]
async fn no_more_jobs_run_at_a_time_than_are_allowed() {
    let (kafka, prefix, topic) = with_topic("all", 2).await;
    let mut random = Random(7);
    let jobs: Vec<_> = (0..60)
        .map(|n| wanted("all", n, &random.below(1_000_000).to_string()))
        .collect();
    write(kafka, &topic, &jobs).await;
    let receiver = Receiver::start(|_| Answer::Late(Duration::from_millis(30))).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let worker = worker(kafka, &prefix, &handlers)
        .env("WORKER_CONCURRENCY", "7")
        .start()
        .await;
    receiver.wait_for(60).await;
    assert_eq!(receiver.most(), 7);
    worker.stop().await;
}
