//! What is reported to have broken other senders of webhooks and queues of jobs.

use super::{Answer, Receiver, dead_letters, wanted, with_topic, worker, write};
use crate::support::{PATIENCE, eventually};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use std::time::Duration;

/// <https://github.com/hyperium/hyper/issues/2136>, <https://github.com/golang/go/issues/22158>: a service closes a
/// connection that is kept just as the next job is written to it.
#[tokio::test]
async fn a_connection_that_was_kept_and_is_closed_costs_no_attempt() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match call.of_connection {
        1 => Answer::Status(200),
        _ => Answer::Close,
    })
    .await;
    let handlers = json!({"all": {"url": receiver.url(), "retries": 0}});
    let jobs: Vec<_> = (0..6).map(|n| wanted("all", n, "one key")).collect();
    write(kafka, &topic, &jobs).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    receiver.wait_for(jobs.len()).await;
    let calls = receiver.calls();
    assert!(calls.iter().all(|call| call.header("tw-attempt") == "1"));
    let met: Vec<_> = calls.iter().filter(|it| it.of_connection > 1).collect();
    assert!(!met.is_empty(), "no connection was used twice");
    assert_eq!(calls.len(), jobs.len() + met.len(), "once more each");
    worker.stop().await;

    // One that is closed each time, also when it is new, fails.
    let closing = Receiver::start(|_| Answer::Close).await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let handlers = json!({"all": {"url": closing.url(), "retries": 1, "backoff": "10ms"}});
    write(kafka, &topic, &jobs[..1]).await;
    let worker = super::worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 1).await;
    assert_eq!(letters[0].header("tw-dlq-attempts"), "2");
    assert_eq!(closing.calls().len(), 2, "no more than its attempts");
    worker.stop().await;
}

/// Bodies that never end, answers before the answer, and bytes behind it that look like the answer to the next job.
#[tokio::test]
async fn what_an_answer_has_beside_its_status_holds_up_nothing() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match call.header("tw-job") {
        "endless" => Answer::Endless,
        "hinted" => Answer::Also(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        "smuggled" => Answer::Also(
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
        ),
        _ => Answer::Status(200),
    })
    .await;
    let names = ["endless", "hinted", "smuggled", "plain"];
    let mut handlers = json!({});
    for name in names {
        handlers[name] = json!({"url": receiver.url(), "retries": 0, "timeout": "20s"});
    }
    // One after the other, twice, over the same connections.
    let jobs = (0..8).map(|n| wanted(names[n % 4], n, "one key"));
    write(kafka, &topic, &jobs.collect::<Vec<_>>()).await;
    let worker = worker(kafka, &prefix, &handlers)
        .env("WORKER_CONCURRENCY", "1")
        .start()
        .await;
    let health = eventually(PATIENCE, "all jobs have ended", async || {
        let health = worker.get("/health").await.json();
        let count = |name: &str, what: &str| health["jobs"][name][what].as_u64().unwrap_or(0);
        let ended = |name: &&str| count(name, "completed") + count(name, "failed") == 2;
        names.iter().all(ended).then_some(health)
    })
    .await;
    for name in names {
        assert_eq!(health["jobs"][name]["completed"], 2, "{name}: {health:#}");
    }
    assert_eq!(receiver.calls().len(), 8, "each once");
    worker.stop().await;
}

/// Records that others write: without a value, with headers that would end a line of HTTP, with bytes for a key.
#[tokio::test]
async fn a_record_that_is_odd_is_a_job_as_any_other() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"odd": {"url": receiver.url(), "retries": 0}});
    let producer: BaseProducer = kafka.client_config().create().unwrap();
    let name = |value: &'static [u8]| Header {
        key: "tw-job",
        value: Some(value),
    };
    let note = |value: &'static [u8]| Header {
        key: "tw-note",
        value: Some(value),
    };
    let good = OwnedHeaders::new()
        .insert(name(b"odd"))
        .insert(note(b"a\r\nx-evil: 1"))
        .insert(Header::<&[u8]> {
            key: "tw-none",
            value: None,
        });
    let ugly = OwnedHeaders::new().insert(name(b"odd\r\nx-evil: 1"));
    for headers in [Some(good), Some(ugly), None] {
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).key(&[0xff, 0, 0xfe][..]);
        record.headers = headers;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    tokio::task::spawn_blocking(move || producer.flush(PATIENCE).unwrap())
        .await
        .unwrap();
    let worker = worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 2).await;
    assert!(
        letters
            .iter()
            .all(|it| it.header("tw-dlq-reason") == "no_handler")
    );
    let calls = receiver.wait_for(1).await;
    assert_eq!(calls.len(), 1);
    assert!(calls[0].body.is_empty());
    assert!(!calls[0].headers.contains_key("x-evil"), "{:?}", calls[0]);
    assert_eq!(calls[0].id(), format!("{topic}/0/0"));
    worker.stop().await;
}

/// Programs that read nothing, say much, are killed, or leave somebody behind who holds their pipes:
/// <https://github.com/python/cpython/issues/76116>.
#[tokio::test]
async fn whatever_a_program_does_with_its_pipes_its_exit_code_is_the_answer() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let run = |script: &str| json!({"exec": ["sh", "-c", script], "retries": 0, "timeout": "40s"});
    let handlers = json!({
        "deaf": run("exit 0"),
        "loud": run("head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2"),
        "killed": run("kill -9 $$"),
        "leaving": run("sleep 100 & exit 0"),
        "failing": run("sleep 100 & exit 3"),
    });
    let names = ["deaf", "loud", "killed", "leaving", "failing"];
    let jobs = names.iter().zip(0..).map(|(name, n)| {
        let mut job = wanted(name, n, name);
        // More than a pipe holds.
        job.value["much"] = Value::from("x".repeat(500_000));
        job
    });
    write(kafka, &topic, &jobs.collect::<Vec<_>>()).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 2).await;
    let told: std::collections::BTreeMap<_, _> = letters
        .iter()
        .map(|it| (it.header("tw-job"), it.header("tw-dlq-reason")))
        .collect();
    let expected = [("failing", "program"), ("killed", "program")];
    assert_eq!(told, expected.into_iter().collect());
    let within = Duration::from_secs(30);
    eventually(within, "the others are done", async || {
        let health = worker.get("/health").await.json();
        let is_done = |name: &&str| health["jobs"][name]["completed"] == 1;
        ["deaf", "loud", "leaving"]
            .iter()
            .all(is_done)
            .then_some(())
    })
    .await;
    worker.stop().await;
}
