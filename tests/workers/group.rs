//! What is told of a group of workers: by Kafka, and by each of them.

use super::{Answer, Receiver, wanted, with_topic, worker, write_at_once};
use crate::support::{PATIENCE, Setup, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

async fn listed(setup: &Setup) -> Value {
    let list = setup.clone().args(&["worker", "list", "--output", "json"]);
    let listed = list.run().await;
    assert_eq!(listed.code, Some(0), "{}", listed.output);
    // The log has lines of its own before it.
    let from = listed.output.find("{\n").unwrap();
    serde_json::from_str(&listed.output[from..]).unwrap()
}

#[tokio::test]
async fn workers_are_listed_with_what_they_have_and_say_and_with_what_waits() {
    let (kafka, prefix, topic) = with_topic("all", 4).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers);
    assert_eq!(listed(&setup).await["state"], "Empty");
    let (first, mut second) = (setup.start().await, setup.start().await);
    let both = [first.http_addr().unwrap(), second.http_addr().unwrap()];
    // Each is known by where it listens, and has its part.
    let whole = eventually(PATIENCE, "each has two partitions", async || {
        let whole = listed(&setup).await;
        let workers = whole["workers"].as_array()?.clone();
        let has_two = |it: &Value| {
            it["partitions"]
                .as_array()
                .is_some_and(|all| all.len() == 2)
        };
        (workers.len() == 2 && workers.iter().all(has_two)).then_some(whole)
    })
    .await;
    let workers = whole["workers"].as_array().unwrap();
    let at: BTreeSet<_> = workers
        .iter()
        .map(|it| it["http"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(at, both.map(|addr| addr.to_string()).into());
    for worker in workers {
        assert_eq!(worker["health"]["instance"], worker["instance"]);
        let mut own = whole["partitions"].as_array().unwrap().iter();
        let own = own
            .by_ref()
            .filter(|it| it["instance"] == worker["instance"]);
        assert_eq!(own.count(), 2);
    }

    // What ends a transaction is no job that waits.
    let job = |n: usize| wanted("all", n, &n.to_string());
    let some: Vec<_> = (0..20).map(job).collect();
    write_at_once(kafka, &topic, &some).await;
    receiver.wait_for(20).await;
    let whole = eventually(PATIENCE, "all is committed", async || {
        let whole = listed(&setup).await;
        (whole["waiting"] == 0).then_some(whole)
    })
    .await;
    let ends: i64 = whole["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["end"].as_i64().unwrap())
        .sum();
    assert_eq!(
        ends, 24,
        "each partition ends with the end of a transaction"
    );

    // A worker that begins nothing lets them wait, and says so.
    for addr in both {
        let pause = setup
            .clone()
            .env("HTTP_ADDR", addr)
            .args(&["worker", "pause"]);
        assert_eq!(pause.run().await.code, Some(0));
    }
    let more: Vec<_> = (20..27).map(job).collect();
    write_at_once(kafka, &topic, &more).await;
    assert_eq!(listed(&setup).await["waiting"], 7);
    eventually(PATIENCE, "they say so themselves", async || {
        let mut sum = 0;
        for worker in [&first, &second] {
            let health = worker.get("/health").await.json();
            sum += health["lag"][&topic].as_u64().unwrap_or_default();
        }
        (sum == 7).then_some(())
    })
    .await;
    let page = first.get("/metrics").await;
    let lag = page.metric("tailwater_worker_lag", &[("topic", &topic)]);
    assert!(lag.is_some_and(|lag| lag <= 7.0), "{lag:?}");

    // One that is killed is in the group until its session is over, and cannot be asked.
    second.kill9();
    let text = setup.clone().args(&["worker", "list"]).run().await.output;
    assert!(text.contains("2 workers, 7 jobs wait"), "{text}");
    assert!(
        text.contains("working") || text.contains("paused"),
        "{text}"
    );
    assert!(text.contains("not asked"), "{text}");
    eventually(PATIENCE, "the other one has all", async || {
        let whole = listed(&setup).await;
        let all = whole["workers"][0]["partitions"].as_array()?.len();
        (whole["workers"].as_array()?.len() == 1 && all == 4).then_some(())
    })
    .await;
    let resume = setup
        .clone()
        .env("HTTP_ADDR", both[0])
        .args(&["worker", "resume"]);
    assert_eq!(resume.run().await.code, Some(0));
    receiver.wait_for(27).await;
    first.stop().await;
}

#[tokio::test]
async fn the_status_line_says_what_was_done() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match call.id() {
        "all-0" => Answer::Status(400),
        _ => Answer::Late(Duration::from_millis(1)),
    })
    .await;
    let handlers = json!({"all": {"url": receiver.url(), "retries": 1, "backoff": "10ms"}});
    let mut worker = worker(kafka, &prefix, &handlers)
        .env("STATUS_INTERVAL_SECONDS", 1)
        .start()
        .await;
    let jobs: Vec<_> = (0..5).map(|n| wanted("all", n, &n.to_string())).collect();
    write_at_once(kafka, &topic, &jobs).await;
    let line = worker.wait_for_log("completed=4 failed=1 retried=1").await;
    for part in [
        format!("group=\"{prefix}\""),
        "state=\"working\"".to_owned(),
    ] {
        assert!(line.contains(&part), "{line}");
    }
    let page = worker.get("/metrics").await;
    let of = |name: &str, labels: &[_]| page.metric(name, labels);
    let name = "tailwater_worker_change_to_done_seconds";
    assert_eq!(of(&format!("{name}_count"), &[]), Some(4.0));
    assert_eq!(of(&format!("{name}_bucket"), &[("le", "+Inf")]), Some(4.0));
    worker.stop().await;
}

#[tokio::test]
async fn where_kafka_is_away_status_and_list_say_where_it_was_looked_for() {
    let setup = Setup::empty();
    let file = setup.folder().join("handlers.json");
    std::fs::write(&file, r#"{"handlers": {"all": {"exec": ["true"]}}}"#).unwrap();
    let setup = setup
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("WORKER_HANDLERS", file.display());
    let list = setup.clone().args(&["worker", "list"]).run().await;
    assert_eq!(list.code, Some(12), "{}", list.output);
    let sentence = list.output.lines().last().unwrap();
    assert!(sentence.contains("127.0.0.1:1"), "{sentence}");

    let worker = setup.clone().args(&["worker", "start"]).spawn();
    let told = eventually(PATIENCE, "it says what it waits for", async || {
        let addr = worker.http_addr()?;
        let status = setup.clone().env("HTTP_ADDR", addr);
        let status = status.args(&["worker", "status"]).run().await;
        status.output.contains("waiting: ").then_some(status.output)
    })
    .await;
    assert!(
        told.contains("kafka at 127.0.0.1:1 does not answer"),
        "{told}"
    );
}
