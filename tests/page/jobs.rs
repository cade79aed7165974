//! What a worker does, on the page.

use super::{TOKEN, assert_sound, keep, open};
use crate::support::{Chromium, PATIENCE, Tailwater, eventually, http};
use crate::workers::{Answer, Receiver, dead_letters, wanted, with_topic, worker, write};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_while_they_run_fail_and_are_retried() {
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let is_mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_mended);
    let receiver = Receiver::start(move |call| match call.id() {
        "all-0" => Answer::Never,
        "all-1" => Answer::Status(500),
        id if id.starts_with("bad-") && !seen.load(Ordering::Relaxed) => Answer::Status(400),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "all": {"url": receiver.url(), "timeout": "10m", "backoff": "5m"},
        "bad": {"url": receiver.url(), "retries": 1, "backoff": "10ms"},
    });
    let worker = worker(kafka, &prefix, &handlers)
        .env("ADMIN_TOKEN", TOKEN)
        .start()
        .await;
    let mut jobs: Vec<_> = (0..4).map(|n| wanted("all", n, &n.to_string())).collect();
    jobs.extend((0..3).map(|n| wanted("bad", n, &format!("b{n}"))));
    write(kafka, &topic, &jobs).await;
    dead_letters(kafka, &prefix, 3).await;

    let page = open(&worker, "jobs").await;
    page.reads(&format!("of the group {prefix}")).await;
    // Of `all` one runs, one is to be tried again, and two are done.
    row(
        &page,
        "Jobs",
        "all",
        &[(2, "0"), (3, "1"), (4, "1"), (5, "2"), (6, "0")],
    )
    .await;
    row(
        &page,
        "Jobs",
        "bad",
        &[(3, "0"), (4, "0"), (5, "0"), (6, "3"), (7, "3")],
    )
    .await;
    row(&page, "Running", "all", &[(1, "all-0"), (2, "1")]).await;
    row(
        &page,
        "Failed, and tried again",
        "all",
        &[(1, "all-1"), (2, "waiting")],
    )
    .await;
    page.click("Attempts of all-1").await;
    page.reads("status: the service answered 500").await;
    page.click("Close").await;
    page.click("Attempts of bad-2").await;
    page.until("document.querySelectorAll('dialog tbody tr').length === 2")
        .await;
    page.reads("the service answered 400").await;
    page.click("Close").await;
    assert_eq!(page.inaccessible().await, Vec::<String>::new());
    keep(&page, "jobs", "light", 1280).await;

    // One that fails once more, and then all.
    page.click("Retry bad-0").await;
    page.click("Retry").await;
    page.reads("1 retried.").await;
    dead_letters(kafka, &prefix, 4).await;
    is_mended.store(true, Ordering::Relaxed);
    page.click("Retry all").await;
    page.click("Retry").await;
    // The one that was retried has failed again since.
    page.reads("3 retried.").await;
    row(&page, "Jobs", "bad", &[(5, "3")]).await;
    assert_sound(&page, &worker);

    page.click("Retry all").await;
    page.click("Retry").await;
    page.reads("0 retried.").await;
    eventually(PATIENCE, "each was done once", async || {
        let done = receiver.done();
        let bad = done.iter().filter(|call| call.id().starts_with("bad-"));
        (bad.count() == 3).then_some(())
    })
    .await;
    calls(&worker).await;
    drop(page);
    let mut worker = worker;
    // One of its jobs never ends.
    worker.kill9();
}

/// A row of a table, by its first cell, and what some of its cells say.
async fn row(page: &Chromium, table: &str, first: &str, cells: &[(usize, &str)]) {
    let script = format!(
        "(() => {{
            const tables = [...document.querySelectorAll('#main table')].filter((one) => one.caption.textContent === {});
            const rows = tables.flatMap((one) => [...one.tBodies[0].rows]);
            const row = rows.find((one) => one.cells[0].textContent === {});
            return Boolean(row) && {}.every(([at, text]) => row.cells[at].textContent === text);
        }})()",
        json!(table),
        json!(first),
        json!(cells)
    );
    page.until(&script).await;
}

/// What the calls say of what cannot be done.
async fn calls(worker: &Tailwater) {
    let addr = worker.http_addr().unwrap();
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let post = async |body: &str| {
        let path = "/api/jobs/failed/retry";
        http::post(addr, path, &bearer, body).await.unwrap()
    };
    let reply = post("{}").await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("say which jobs"), "{}", reply.body);
    let reply = post(r#"{"ids": ["no-such-job"]}"#).await;
    assert_eq!(reply.status, 404);
    assert!(
        reply.body.contains("GET /api/jobs/failed"),
        "{}",
        reply.body
    );
    assert_eq!(post(r#"{"job": "bad"}"#).await.json()["retried"], 0);
    // Without the token nothing of it is told.
    assert_eq!(worker.get("/api/jobs").await.status, 401);
}
