//! Workers that are frozen, hold as much as they may, and have jobs of several priorities.

use super::crashes::assert_in_order;
use super::{
    Answer, Call, Receiver, all_committed, dead_letters, wanted, with_topic, worker, write,
};
use crate::support::{PATIENCE, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

#[tokio::test]
async fn a_worker_that_is_frozen_in_mid_job_loses_none_and_overtakes_none_when_it_comes_back() {
    const JOBS: usize = 120;
    let (kafka, prefix, topic) = with_topic("all", 2).await;
    let receiver = Receiver::start(|_| Answer::Late(Duration::from_millis(40))).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", "2");
    let job = |n: usize| wanted("all", n, &format!("k{}", n % 20));
    let jobs: Vec<_> = (0..JOBS).map(job).collect();
    write(kafka, &topic, &jobs).await;
    let mut first = setup.start().await;
    receiver.wait_for(20).await;
    // Some job of it runs, nearly always.
    first.signal(Signal::STOP);
    let second = setup.start().await;
    let done = receiver.wait_for(JOBS).await;
    first.signal(Signal::CONT);
    let more: Vec<_> = (JOBS..2 * JOBS).map(job).collect();
    write(kafka, &topic, &more).await;
    let all = receiver.wait_for(2 * JOBS).await;
    assert_in_order(&all);
    let ids: BTreeSet<_> = all.iter().map(Call::id).collect();
    let repeated = receiver.calls().len() - ids.len();
    println!(
        "{repeated} of {} were repeated, {} done while one was frozen",
        2 * JOBS,
        done.len()
    );
    // What was done and not committed yet, and what ran.
    assert!(repeated <= JOBS, "{repeated} repeated");
    first.stop().await;
    second.stop().await;
}

/// More end in one moment than are taken note of in one go.
#[tokio::test]
async fn hundreds_of_jobs_that_end_in_one_moment_are_all_taken_note_of() {
    const JOBS: usize = 300;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Late(Duration::from_secs(3))).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", JOBS);
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| wanted("all", n, &n.to_string()))
        .collect();
    write(kafka, &topic, &jobs).await;
    let mut worker = setup.start().await;
    eventually(PATIENCE, "all are called for", async || {
        (receiver.calls().len() == JOBS).then_some(())
    })
    .await;
    // It finds all answers when it is awake again.
    worker.signal(Signal::STOP);
    receiver.wait_for(JOBS).await;
    worker.signal(Signal::CONT);
    all_committed(kafka, &prefix, &topic, 1).await;
    assert_eq!(receiver.calls().len(), JOBS);
    worker.stop().await;
}

fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Far more is in the topic than a worker may hold while its first job is not done.
#[tokio::test]
async fn a_job_that_holds_its_partition_bounds_memory_and_is_told() {
    const JOBS: usize = 3000;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let is_full = Arc::new(Notify::new());
    let wait = Arc::clone(&is_full);
    let receiver = Receiver::start(move |call| match call.id() {
        "all-0" => Answer::When(Arc::clone(&wait), 500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({"all": {"url": receiver.url(), "timeout": "5m", "retries": 0}});
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| {
            let mut job = wanted("all", n, &n.to_string());
            job.value["much"] = Value::from("x".repeat(100_000));
            job
        })
        .collect();
    write(kafka, &topic, &jobs).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    eventually(PATIENCE, "it is full", async || {
        let health = worker.get("/health").await.json();
        let full = health["waits"]["full"]["what"].as_str()?.to_owned();
        full.contains("as many jobs as they may").then_some(())
    })
    .await;
    is_full.notify_one();
    let letters = dead_letters(kafka, &prefix, 1).await;
    assert_eq!(letters[0].header("tw-id"), "all-0");
    // Until then no more than it may hold was read, which is less than a third of all.
    receiver.wait_for(JOBS - 1).await;
    let calls = receiver.calls();
    assert_eq!(calls.len(), JOBS, "each once");
    let peak = peak(worker.pid());
    println!(
        "{} MiB at most, of {} MiB in the topic",
        peak >> 20,
        (JOBS * 100_000) >> 20
    );
    assert!(peak < 220 << 20, "{} MiB", peak >> 20);
    worker.stop().await;
}

#[tokio::test]
async fn of_five_jobs_that_begin_four_are_the_highest_and_one_is_the_oldest() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"all": {"url": receiver.url()}});
    let setup = worker(kafka, &prefix, &handlers).env("WORKER_CONCURRENCY", "1");
    let running = setup.start().await;
    let addr = running.http_addr().unwrap();
    let command = |name: &str| setup.clone().env("HTTP_ADDR", addr).args(&["worker", name]);
    assert_eq!(command("pause").run().await.code, Some(0));
    let mut jobs: Vec<_> = (0..80).map(|n| wanted("all", n, &n.to_string())).collect();
    for (n, job) in jobs.iter_mut().enumerate() {
        job.priority = Some(if n < 20 { 1 } else { 10 });
    }
    write(kafka, &topic, &jobs).await;
    eventually(PATIENCE, "they wait", async || {
        let health = running.get("/health").await.json();
        (health["jobs"]["all"]["waiting"] == 80).then_some(())
    })
    .await;
    assert_eq!(command("resume").run().await.code, Some(0));
    let done = receiver.wait_for(80).await;
    let is_low = |call: &Call| {
        let value: Value = serde_json::from_slice(&call.body).unwrap();
        value["n"].as_u64().unwrap() < 20
    };
    for five in done[..70].chunks(5) {
        let low: Vec<_> = five.iter().map(is_low).collect();
        assert_eq!(low, [false, false, false, false, true]);
    }
    // Of one priority in the order in which they came.
    let low: Vec<_> = done
        .iter()
        .filter(|call| is_low(call))
        .map(Call::id)
        .collect();
    let expected: Vec<_> = (0..20).map(|n| format!("all-{n}")).collect();
    assert_eq!(low, expected);
    running.stop().await;
}
