//! What a service gets, and what a file of handlers may hold.

use super::{Answer, Call, Receiver, SECRETS, dead_letters, wanted, with_topic, worker, write};
use crate::support::{self, Node, PATIENCE, Setup, eventually, unique};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

#[tokio::test]
async fn each_job_is_a_signed_webhook_and_new_topics_are_found() {
    let kafka = support::kafka().await;
    let prefix = unique("jobs.t");
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let handlers = json!({"mail": {
        "url": format!("{}?token=hunter2", receiver.url()),
        "secret": SECRETS,
        "headers": {"authorization": "Bearer hunter2"},
    }});
    // There is no topic yet.
    let mut worker = worker(kafka, &prefix, &handlers).start().await;
    let health = worker.get("/health").await;
    assert_eq!(
        (health.status, health.json()["status"].clone()),
        (200, json!("degraded"))
    );
    assert!(
        health.json()["reason"]
            .as_str()
            .unwrap()
            .contains("no topic of jobs")
    );

    let topic = format!("{prefix}.mail");
    kafka.create_topic(&topic, 3, &[]).await;
    let jobs: Vec<_> = (0..30)
        .map(|n| wanted("mail", n, &format!("k{}", n % 7)))
        .collect();
    write(kafka, &topic, &jobs).await;
    let done = receiver.wait_for(30).await;
    assert_eq!(done.len(), 30, "each once");
    for call in &done {
        let job = jobs.iter().find(|job| job.id == call.id()).unwrap();
        assert_eq!(
            (&*call.method, &*call.path),
            ("POST", "/hooks?token=hunter2")
        );
        assert_eq!(&*call.body, job.value.to_string().as_bytes());
        assert_eq!(
            (call.header("tw-job"), call.header("tw-attempt")),
            ("mail", "1")
        );
        assert_eq!(call.header("authorization"), "Bearer hunter2");
        assert_eq!(call.header("content-type"), "application/json");
        let at: i64 = call.header("webhook-timestamp").parse().unwrap();
        assert!((jiff::Timestamp::now().as_second() - at).abs() < 60);
        let signed = [
            call.id().as_bytes(),
            b".",
            at.to_string().as_bytes(),
            b".",
            &call.body,
        ]
        .concat();
        let expected = SECRETS.map(|secret| {
            let key = STANDARD
                .decode(secret.trim_start_matches("whsec_"))
                .unwrap();
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
            format!("v1,{}", STANDARD.encode(tag))
        });
        assert_eq!(call.header("webhook-signature"), expected.join(" "));
    }
    verified_by_another(&done).await;
    // The jobs of a key come in order.
    for key in 0..7 {
        let numbers: Vec<_> = done
            .iter()
            .map(|call| serde_json::from_slice::<serde_json::Value>(&call.body).unwrap())
            .filter(|value| value["key"] == format!("k{key}"))
            .map(|value| value["n"].as_u64().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
    let page = worker.get("/metrics").await;
    let of_mail = [("job", "mail")];
    assert_eq!(
        page.metric("tailwater_worker_jobs_completed_total", &of_mail),
        Some(30.0)
    );
    let health = eventually(PATIENCE, "all is told", async || {
        let health = worker.get("/health").await.json();
        (health["status"] == "healthy").then_some(health)
    })
    .await;
    assert_eq!(
        (&health["partitions"], &health["jobs"]["mail"]["failed"]),
        (&json!(3), &json!(0))
    );
    worker.wait_for_log("reading the topics of jobs").await;
    let exit = worker.stop().await;
    assert!(!health.to_string().contains("hunter2") && !exit.output.contains("hunter2"));
}

/// By the library that receivers have.
async fn verified_by_another(done: &[Call]) {
    let node = Node::with("tests/workers/node");
    let calls: Vec<_> = done
        .iter()
        .map(|call| json!({"headers": call.headers, "body": String::from_utf8_lossy(&call.body)}))
        .collect();
    let file = Setup::empty().folder().join("calls.json");
    let text = json!({"secrets": SECRETS, "calls": calls}).to_string();
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let mut verifying = node.start(&["verify.mjs"], &[("CALLS", &path)]);
    let ended = verifying.wait_exit(PATIENCE).await;
    assert!(ended.success(), "{}", verifying.output());
    assert!(
        verifying
            .output()
            .contains(&format!("{} verified", done.len()))
    );
}

#[tokio::test]
async fn what_has_no_handler_or_may_not_be_called_is_a_dead_letter_that_says_so() {
    let (kafka, prefix, topic) = with_topic("any", 1).await;
    let jobs = [wanted("gone", 1, "a"), wanted("local", 2, "b")];
    write(kafka, &topic, &jobs).await;
    kafka.produce(&topic, "c", "no headers").await;
    // A name that leads to this machine, and nobody shall be reached under it.
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let url = format!("http://localhost:{}/", receiver.addr.port());
    let worker = worker(kafka, &prefix, &json!({"local": {"url": url}}))
        .env("WORKER_ALLOW_PRIVATE", "false")
        .start()
        .await;
    let letters = dead_letters(kafka, &prefix, 3).await;
    let of = |key: &str| {
        letters
            .iter()
            .find(|it| it.key_bytes.as_deref() == Some(key.as_bytes()))
            .unwrap()
    };
    let gone = of("a");
    assert_eq!(gone.value, jobs[0].value);
    assert_eq!(
        (gone.header("tw-id"), gone.header("tw-dlq-reason")),
        ("gone-1", "no_handler")
    );
    assert_eq!(
        (gone.header("tw-dlq-topic"), gone.header("tw-dlq-attempts")),
        (&*topic, "0")
    );
    let local = of("b");
    assert_eq!(
        (
            local.header("tw-dlq-reason"),
            local.header("tw-dlq-attempts")
        ),
        ("address_refused", "1")
    );
    assert!(
        local
            .header("tw-dlq-detail")
            .contains("WORKER_ALLOW_PRIVATE")
    );
    let other = of("c");
    assert_eq!(other.bytes.as_deref(), Some(&b"no headers"[..]));
    assert!(other.header("tw-dlq-detail").contains("no header tw-job"));
    assert!(receiver.calls().is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_wrong_file_is_told_at_once_and_whole() {
    let setup = Setup::empty();
    let file = setup.folder().join("handlers.yaml");
    let text = "handlers:\n  a: {url: 'http://10.0.0.1/', retrys: 3}\n  b: {exec: []}\n";
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let lint = setup.clone().args(&["worker", "lint", &path]).run().await;
    assert_eq!(lint.code, Some(2));
    let start = setup
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("WORKER_HANDLERS", &path)
        .args(&["worker", "start"]);
    let exit = start.run().await;
    assert_eq!(exit.code, Some(2));
    for part in ["a.retrys: is not a field", "b.exec: names no program"] {
        assert!(lint.output.contains(part), "{}", lint.output);
        assert!(exit.output.contains(part), "{}", exit.output);
    }
    // Only here is it known what may be called.
    assert!(
        exit.output
            .contains("a.url: names an address that is not public"),
        "{}",
        exit.output
    );
    let none = start.without("WORKER_HANDLERS").run().await;
    assert!(
        none.output.contains("WORKER_HANDLERS is not set"),
        "{}",
        none.output
    );
    std::fs::write(&file, "handlers:\n  a: {url: 'https://example.com/?x=y'}\n").unwrap();
    let right = Setup::empty().args(&["worker", "lint", &path]).run().await;
    assert_eq!(right.code, Some(0));
    assert!(
        right.output.contains("a: https://example.com/\n"),
        "{}",
        right.output
    );
}
