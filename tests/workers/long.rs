//! Jobs that take long, and workers that are paused over their end.

use super::{Answer, Receiver, all_committed, wanted, with_topic, worker, write};
use crate::support::{PATIENCE, eventually};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The group is heard while jobs run, however long that takes.
#[tokio::test]
async fn an_attempt_that_is_longer_than_a_member_may_be_silent_is_made_once() {
    // librdkafka takes no shorter one, as the session is 10 s.
    const SILENT_MS: u64 = 10_000;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let wanted_end = Arc::new(Notify::new());
    let end = Arc::clone(&wanted_end);
    let receiver = Receiver::start(move |call| match call.id() {
        "all-0" => Answer::When(Arc::clone(&end), 200),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({"all": {"url": receiver.url(), "timeout": "5m"}});
    let setup = worker(kafka, &prefix, &handlers)
        .env("KAFKA_PROP_MAX_POLL_INTERVAL_MS", SILENT_MS)
        .env("WORKER_CONCURRENCY", 1);
    // The other one would have the partition, if this one were silent.
    let both = [setup.start().await, setup.start().await];
    let jobs: Vec<_> = (0..3).map(|n| wanted("all", n, &n.to_string())).collect();
    write(kafka, &topic, &jobs).await;
    eventually(PATIENCE, "the first runs", async || {
        (receiver.calls().len() == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(SILENT_MS + 3_000)).await;
    assert_eq!(receiver.calls().len(), 1);
    wanted_end.notify_one();
    all_committed(kafka, &prefix, &topic, 1).await;
    assert_eq!(receiver.calls().len(), 3, "each once");
    for worker in both {
        let exit = worker.stop().await;
        assert!(!exit.output.contains("MAXPOLL"), "{}", exit.output);
    }
}

#[tokio::test]
async fn a_pause_ends_with_its_worker_and_holds_no_other() {
    let (kafka, prefix, topic) = with_topic("all", 2).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers);
    let paused = setup.start().await;
    let pause = setup
        .clone()
        .env("HTTP_ADDR", paused.http_addr().unwrap())
        .args(&["worker", "pause"]);
    assert_eq!(pause.run().await.code, Some(0));
    let other = setup.start().await;
    let has = async |worker: &crate::support::Tailwater, count: i32| {
        let health = worker.get("/health").await.json();
        health["partitions"] == count
    };
    eventually(PATIENCE, "each has a partition", async || {
        (has(&paused, 1).await && has(&other, 1).await).then_some(())
    })
    .await;
    let jobs: Vec<_> = (0..20).map(|n| wanted("all", n, &n.to_string())).collect();
    write(kafka, &topic, &jobs).await;
    // The paused one keeps its partition, and the jobs in it wait.
    let waiting = eventually(
        PATIENCE,
        "its jobs wait, and the others are done",
        async || {
            let health = paused.get("/health").await.json();
            let waiting = health["jobs"]["all"]["waiting"].as_u64()?;
            let done = receiver.done().len() as u64;
            (waiting > 0 && done > 0 && waiting + done == 20).then_some(waiting)
        },
    )
    .await;
    let health = paused.get("/health").await.json();
    assert_eq!(health["state"], "paused", "{health:#}");
    other.stop().await;
    paused.stop().await;
    assert_eq!(receiver.calls().len() as u64, 20 - waiting);
    // Nobody says resume.
    let again = setup.start().await;
    receiver.wait_for(20).await;
    let health = again.get("/health").await.json();
    assert_eq!(health["state"], "working", "{health:#}");
    assert_eq!(receiver.calls().len(), 20, "each once");
    again.stop().await;
}
