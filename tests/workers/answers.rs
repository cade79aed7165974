//! Services that do not do what they are asked for.

use super::{Answer, Call, Receiver, dead_letters, wanted, with_topic, worker, write};
use crate::support::{Kafka, PATIENCE, Setup, eventually, unique};
use serde_json::{Value, json};
use std::time::Duration;

/// What is answered to each job, by its name.
fn behave(call: &Call) -> Answer {
    match (call.header("tw-job"), call.nth) {
        ("flaky", 1 | 2) => Answer::Status(500),
        ("hanging", _) => Answer::Never,
        ("closing", 1) => Answer::Close,
        ("moved", _) => {
            Answer::Raw("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
        }
        ("refusing", _) => Answer::Status(400),
        ("late", _) => Answer::Late(Duration::from_millis(300)),
        // It has done its work, whatever it says of it.
        ("short", _) => Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"),
        ("long", _) => Answer::Raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nlonger than said"),
        ("odd", _) => Answer::Raw("no HTTP\r\n\r\n"),
        ("busy", 1) => Answer::Raw(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        ),
        _ => Answer::Status(200),
    }
}

#[tokio::test]
async fn whatever_a_service_answers_a_job_is_done_or_a_dead_letter_that_says_why() {
    let (kafka, prefix, topic) = with_topic("all", 2).await;
    let receiver = Receiver::start(behave).await;
    let names = [
        "flaky", "hanging", "closing", "moved", "refusing", "late", "short", "long", "odd", "busy",
    ];
    let mut handlers = json!({});
    for name in names {
        handlers[name] = json!({
            "url": receiver.url(), "backoff": "20ms", "retries": 2, "timeout": "1s",
        });
    }
    // It is called again and again, and counts no attempt.
    handlers["busy"]["retries"] = 0.into();
    let jobs: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| wanted(name, n, name))
        .collect();
    write(kafka, &topic, &jobs).await;
    let worker = worker(kafka, &prefix, &handlers)
        .env("WORKER_CONCURRENCY", "20")
        .start()
        .await;

    let letters = dead_letters(kafka, &prefix, 4).await;
    let told: std::collections::BTreeMap<_, _> = letters
        .iter()
        .map(|letter| {
            let said = (
                letter.header("tw-dlq-reason"),
                letter.header("tw-dlq-attempts"),
            );
            (letter.header("tw-job"), said)
        })
        .collect();
    let expected = [
        ("hanging", ("timeout", "3")),
        ("moved", ("status", "3")),
        ("odd", ("unreachable", "3")),
        ("refusing", ("status", "3")),
    ];
    assert_eq!(told, expected.into_iter().collect());
    let moved = letters
        .iter()
        .find(|it| it.header("tw-job") == "moved")
        .unwrap();
    assert_eq!(moved.header("tw-dlq-status"), "302");
    let health = eventually(PATIENCE, "all jobs are done", async || {
        let health = worker.get("/health").await.json();
        let done = |name: &str| {
            health["jobs"][name]["completed"] == 1 || health["jobs"][name]["failed"] == 1
        };
        names.iter().all(|name| done(name)).then_some(health)
    })
    .await;
    for (name, retried) in [
        ("flaky", 2),
        ("closing", 1),
        ("late", 0),
        ("short", 0),
        ("long", 0),
        ("busy", 0),
    ] {
        let counts = &health["jobs"][name];
        assert_eq!(
            (&counts["completed"], &counts["retried"]),
            (&json!(1), &json!(retried)),
            "{name}"
        );
    }
    assert!(
        receiver.calls().iter().all(|call| call.path == "/hooks"),
        "no redirect is followed"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_that_is_gone_is_switched_off_and_says_so() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match call.header("tw-job") {
        "gone" => Answer::Status(410),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "gone": {"url": receiver.url(), "concurrency": 1},
        "well": {"url": receiver.url()},
    });
    let mut jobs: Vec<_> = (0..5)
        .map(|n| wanted("gone", n, &format!("k{}", n % 2)))
        .collect();
    jobs.push(wanted("well", 9, "w"));
    write(kafka, &topic, &jobs).await;
    let mut worker = worker(kafka, &prefix, &handlers).start().await;
    let letters = dead_letters(kafka, &prefix, 5).await;
    assert!(
        letters
            .iter()
            .all(|it| it.header("tw-dlq-reason") == "handler_off")
    );
    receiver.wait_for(1).await;
    let called = receiver
        .calls()
        .iter()
        .filter(|call| call.header("tw-job") == "gone")
        .count();
    assert_eq!(called, 1);
    worker.wait_for_event("handler_off").await;
    let health = worker.get("/health").await.json();
    assert_eq!(health["handlers"]["gone"]["off"], json!(true));
    assert_eq!(health["status"], "degraded");
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_fails_holds_its_key_alone_and_only_where_that_is_asked_for() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let receiver = Receiver::start(|call| match (call.id(), call.nth) {
        ("kept-0" | "free-0", 1..=2) => Answer::Status(500),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "kept": {"url": receiver.url(), "backoff": "300ms"},
        "free": {"url": receiver.url(), "backoff": "300ms", "order": "none"},
    });
    let mut jobs = Vec::new();
    for name in ["kept", "free"] {
        jobs.extend([
            wanted(name, 0, "a"),
            wanted(name, 1, "a"),
            wanted(name, 2, "b"),
        ]);
    }
    write(kafka, &topic, &jobs).await;
    let worker = worker(kafka, &prefix, &handlers).start().await;
    let done = receiver.wait_for(6).await;
    let order = |name: &str| {
        let of = done.iter().filter(|call| call.header("tw-job") == name);
        of.map(|call| call.id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order("kept"), ["kept-2", "kept-0", "kept-1"]);
    let free = order("free");
    assert_eq!(free[2], "free-0", "{free:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_handler_that_only_fails_opens_its_circuit_and_loses_no_job() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let is_down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let down = std::sync::Arc::clone(&is_down);
    let receiver =
        Receiver::start(
            move |_| match down.load(std::sync::atomic::Ordering::Relaxed) {
                true => Answer::Status(503),
                false => Answer::Status(200),
            },
        )
        .await;
    let handlers =
        json!({"all": {"url": receiver.url(), "backoff": "10ms", "retries": 3, "order": "none"}});
    let jobs: Vec<_> = (0..40).map(|n| wanted("all", n, &n.to_string())).collect();
    write(kafka, &topic, &jobs).await;
    let mut worker = worker(kafka, &prefix, &handlers).start().await;
    worker.wait_for_event("handler_failing").await;
    let health = eventually(PATIENCE, "it is told", async || {
        let health = worker.get("/health").await.json();
        health["handlers"]["all"]["held"]
            .is_string()
            .then_some(health)
    })
    .await;
    assert!(
        health["reason"]
            .as_str()
            .unwrap()
            .contains("one job at a time")
    );
    is_down.store(false, std::sync::atomic::Ordering::Relaxed);
    receiver.wait_for(40).await;
    worker.wait_for_event("handler_works").await;
    let page = worker.get("/metrics").await;
    assert_eq!(
        page.metric("tailwater_worker_jobs_failed_total", &[("job", "all")]),
        Some(0.0)
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_program_gets_the_record_and_its_exit_code_is_the_answer() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let setup = worker(kafka, &prefix, &json!({}));
    let out = setup.folder().join("out");
    let (path, file) = (
        out.display().to_string(),
        setup.folder().join("handlers.json"),
    );
    // `$0` is where the program says what it was given; the rest it must not see.
    let script =
        "printf '%s %s %s ' \"$TW_ID\" \"$TW_ATTEMPT\" \"${SECRET-none}\" >> \"$0\"; cat >> \"$0\"";
    let handlers = json!({
        "tell": {"exec": ["sh", "-c", script, path]},
        "fail": {"exec": ["sh", "-c", "exit 7"], "retries": 1, "backoff": "10ms"},
        "hang": {"exec": ["sh", "-c", "sleep 600 & sleep 600"], "retries": 0, "timeout": "300ms"},
        "none": {"exec": ["/there/is/none"], "retries": 0},
    });
    std::fs::write(&file, json!({ "handlers": handlers }).to_string()).unwrap();
    let jobs = ["tell", "fail", "hang", "none"];
    let jobs: Vec<_> = jobs
        .iter()
        .zip(1..)
        .map(|(name, n)| wanted(name, n, name))
        .collect();
    write(kafka, &topic, &jobs).await;
    let worker = setup.env("SECRET", "hunter2").start().await;
    let letters = dead_letters(kafka, &prefix, 3).await;
    let told: std::collections::BTreeMap<_, _> = letters
        .iter()
        .map(|letter| {
            let status = letter.headers.get("tw-dlq-status").map(String::as_str);
            (
                letter.header("tw-job"),
                (letter.header("tw-dlq-reason"), status),
            )
        })
        .collect();
    let expected = [
        ("fail", ("program", Some("7"))),
        ("hang", ("timeout", None)),
        ("none", ("program", None)),
    ];
    assert_eq!(told, expected.into_iter().collect());
    let said = eventually(PATIENCE, "the program has run", async || {
        std::fs::read_to_string(&out)
            .ok()
            .filter(|said| said.ends_with('}'))
    })
    .await;
    assert_eq!(said, format!("tell-1 1 none {}", jobs[0].value));
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_shown_and_produced_again_as_it_was() {
    let kafka = Kafka::dedicated(&[]).await;
    let prefix = unique("jobs.t");
    let topic = format!("{prefix}.all");
    kafka.create_topic(&topic, 1, &[]).await;
    let is_well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let well = std::sync::Arc::clone(&is_well);
    let receiver =
        Receiver::start(
            move |_| match well.load(std::sync::atomic::Ordering::Relaxed) {
                true => Answer::Status(200),
                false => Answer::Status(422),
            },
        )
        .await;
    let handlers = json!({"all": {"url": receiver.url(), "retries": 0}});
    let job = wanted("all", 1, "a key");
    write(&kafka, &topic, std::slice::from_ref(&job)).await;
    let worker = worker(&kafka, &prefix, &handlers).start().await;
    dead_letters(&kafka, &prefix, 1).await;
    is_well.store(true, std::sync::atomic::Ordering::Relaxed);
    // Without MongoDB: nothing of it is needed for jobs.
    let dlq = async |command: &str, more: &[&str]| {
        let args = [&["dlq", command, "--topic", "jobs.dlq"], more].concat();
        let setup = Setup::empty().env("KAFKA_BROKERS", kafka.brokers());
        setup.args(&args).run().await
    };
    let listed = dlq("list", &["--job", "all", "--id", "all-1"]).await;
    let line = format!("  all of {topic}  status  1 attempts  ");
    assert!(
        listed.output.contains(&line) && listed.output.contains("422"),
        "{}",
        listed.output
    );
    for other in [["--job", "other"], ["--id", "other"], ["--seq", "9"]] {
        let none = dlq("list", &other).await;
        let told = "none of the 1 dead letters in jobs.dlq is meant";
        assert!(none.output.contains(told), "{}", none.output);
    }
    let listed = dlq("list", &["--output", "json"]).await;
    let objects: Value = serde_json::from_str(&listed.output).unwrap();
    let of_job = &objects[0]["job"];
    assert_eq!(
        (&of_job["name"], &of_job["topic"], &of_job["attempts"]),
        (&json!("all"), &json!(topic), &json!(1))
    );
    let replayed = dlq("replay", &["--id", "all-1"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.output);
    assert!(
        replayed.output.contains(&format!("-> {topic}")),
        "{}",
        replayed.output
    );
    let done = receiver.wait_for(1).await;
    assert_eq!(
        (done[0].id(), &*done[0].body),
        ("all-1", job.value.to_string().as_bytes())
    );
    let records = kafka.wait_for_records(&[&topic], 2).await;
    assert_eq!(records[0].key_bytes, records[1].key_bytes);
    assert_eq!(records[0].bytes, records[1].bytes);
    let more = records[1]
        .headers
        .keys()
        .filter(|name| !records[0].headers.contains_key(*name));
    assert_eq!(more.collect::<Vec<_>>(), ["tw-replayed"]);
    worker.stop().await;
}
