//! Handlers in the documents of listeners.

use super::{Answer, Receiver, dead_letters, wanted, with_topic, write};
use crate::support::{self, Database, Kafka, PATIENCE, Setup, Tailwater, eventually};
use bson::{Document, doc};
use serde_json::json;

/// A worker that goes by the listeners of this database, and by nothing else.
fn worker(db: &Database, kafka: &Kafka, prefix: &str) -> Setup {
    super::worker(kafka, prefix, &json!({}))
        .without("WORKER_HANDLERS")
        .env("MONGODB_URI", db.uri())
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
}

async fn put(db: &Database, job: &str, handler: Document) {
    let listener = doc! {"_id": job, "collection": "users", "jobName": job, "handler": handler};
    let put = db.documents("listeners").insert_one(listener).await;
    put.unwrap();
}

async fn set(db: &Database, job: &str, changes: Document) {
    let listeners = db.documents("listeners");
    let set = listeners.update_one(doc! {"_id": job}, doc! {"$set": changes});
    set.await.unwrap();
}

/// Waits until the worker calls this for a job, or nothing.
async fn calls(worker: &Tailwater, job: &str, expected: Option<&str>) {
    eventually(PATIENCE, "the handler is known", async || {
        let health = worker.get("/health").await.json();
        let calls = health["handlers"][job]["calls"].as_str().map(str::to_owned);
        (calls.as_deref() == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_is_changed_holds_for_jobs_that_wait() {
    let db = support::database().await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let failing = Receiver::start(|_| Answer::Status(500)).await;
    let well = Receiver::start(|_| Answer::Status(200)).await;
    put(
        &db,
        "mail",
        doc! {"url": failing.url(), "retries": 100, "backoff": "100ms", "concurrency": 1},
    )
    .await;
    let jobs: Vec<_> = (0..6)
        .map(|n| wanted("mail", n, &format!("k{}", n % 2)))
        .collect();
    write(kafka, &topic, &jobs).await;
    let worker = worker(&db, kafka, &prefix).start().await;
    eventually(PATIENCE, "it is tried", async || {
        (failing.calls().len() >= 2).then_some(())
    })
    .await;
    assert!(well.calls().is_empty());
    set(&db, "mail", doc! {"handler.url": well.url()}).await;
    let done = well.wait_for(6).await;
    for key in 0..2 {
        let of_key = done.iter().filter(|call| {
            let value: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
            value["key"] == format!("k{key}")
        });
        let ids: Vec<_> = of_key.map(super::Call::id).collect();
        let expected: Vec<_> = (0..3).map(|n| format!("mail-{}", 2 * n + key)).collect();
        assert_eq!(ids, expected);
    }
    // Its attempts went on from where they were.
    assert!(done.iter().any(|call| call.header("tw-attempt") != "1"));
    worker.stop().await;
}

#[tokio::test]
async fn jobs_whose_handler_is_gone_or_wrong_become_dead_letters_that_say_so() {
    let db = support::database().await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let hanging = Receiver::start(|_| Answer::Never).await;
    put(&db, "mail", doc! {"url": hanging.url(), "concurrency": 1}).await;
    put(&db, "run", doc! {"exec": ["touch", "/tmp/never"]}).await;
    put(&db, "odd", doc! {"url": hanging.url(), "secret": "hunter2"}).await;
    let mut jobs: Vec<_> = (0..3).map(|n| wanted("mail", n, &n.to_string())).collect();
    put(&db, "text", doc! {}).await;
    set(
        &db,
        "text",
        doc! {"handler": "https://hunter2.example.com/"},
    )
    .await;
    jobs.extend([
        wanted("run", 3, "r"),
        wanted("odd", 4, "o"),
        wanted("text", 5, "t"),
    ]);
    write(kafka, &topic, &jobs).await;
    let worker = worker(&db, kafka, &prefix).start().await;
    let letters = dead_letters(kafka, &prefix, 3).await;
    let detail = |letters: &[crate::support::Record], job: &str| {
        let letter = letters
            .iter()
            .find(|it| it.header("tw-job") == job)
            .unwrap();
        assert_eq!(letter.header("tw-dlq-reason"), "no_handler");
        letter.header("tw-dlq-detail").to_owned()
    };
    assert!(detail(&letters, "run").contains("exec is never taken from a document"));
    let text = detail(&letters, "text");
    let told = "the handler of the listener text is wrong: is no object; give one such as";
    assert!(text.contains(told), "{text}");
    let odd = detail(&letters, "odd");
    assert!(
        odd.contains("the listener odd") && odd.contains("whsec_"),
        "{odd}"
    );
    let health = worker.get("/health").await.json();
    assert_eq!(health["status"], "degraded");
    assert!(
        health["reason"]
            .as_str()
            .unwrap()
            .contains("the handler of the listener run")
    );
    eventually(PATIENCE, "one runs", async || {
        (hanging.calls().len() == 1).then_some(())
    })
    .await;
    db.documents("listeners")
        .delete_one(doc! {"_id": "mail"})
        .await
        .unwrap();
    // Those that wait at once; the one that runs is left alone.
    let letters = dead_letters(kafka, &prefix, 5).await;
    assert!(detail(&letters, "mail").contains("there is no handler"));
    calls(&worker, "mail", None).await;
    // What is right again is carried out.
    let well = Receiver::start(|_| Answer::Status(200)).await;
    set(&db, "odd", doc! {"handler": {"url": well.url()}}).await;
    calls(&worker, "odd", Some(&well.url())).await;
    write(kafka, &topic, &[wanted("odd", 5, "o")]).await;
    well.wait_for(1).await;
    let output = worker.log();
    assert!(!output.contains("hunter2"), "{output}");
    drop(worker);
}

/// A handler without an order comes while the worker runs: the topic of retries is made then.
#[tokio::test]
async fn a_handler_without_an_order_needs_nothing_from_the_start() {
    let db = support::database().await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match call.nth {
        1 => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let worker = worker(&db, kafka, &prefix).start().await;
    let retries = super::retry_topic(&prefix);
    assert_eq!(kafka.partitions(&retries).await, None);
    put(
        &db,
        "mail",
        doc! {"url": receiver.url(), "order": "none", "backoff": "300ms"},
    )
    .await;
    calls(&worker, "mail", Some(&receiver.url())).await;
    eventually(PATIENCE, "the topic is made", async || {
        kafka.partitions(&retries).await
    })
    .await;
    write(kafka, &topic, &[wanted("mail", 1, "a")]).await;
    receiver.wait_for(1).await;
    assert_eq!(kafka.committed_records(&[&retries]).await.len(), 1);
    worker.stop().await;
}
