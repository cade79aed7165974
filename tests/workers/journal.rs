//! Collections in which workers tell what becomes of jobs.

use super::{Answer, Receiver, dead_letters, wanted, with_topic, worker, write};
use crate::support::{self, PATIENCE, Wire, eventually, wire};
use bson::Document;
use serde_json::json;
use std::time::Duration;

const UNAUTHORIZED: i32 = 13;

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_jobs_is_told_in_collections_that_are_asked_for() {
    let db = support::database().await;
    let (kafka, prefix, topic) = with_topic("all", 1).await;
    let wire = Wire::before(support::mongo().await.addr()).await;
    let receiver = Receiver::start(|call| match call.header("tw-job") {
        "bad" => Answer::Status(422),
        _ => Answer::Status(200),
    })
    .await;
    let handlers = json!({
        "well": {"url": receiver.url()},
        "bad": {"url": receiver.url(), "retries": 1, "backoff": "20ms"},
    });
    let collection = |name: &str| format!("{}.{name}", db.name());
    let setup = worker(kafka, &prefix, &handlers)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("FAILED_EVENTS_COLLECTION", collection("failed"))
        .env("WORKER_STATUS_COLLECTION", collection("jobs"))
        .env("WORKER_STATUS_DAYS", 3);
    let running = setup.start().await;
    write(
        kafka,
        &topic,
        &[wanted("well", 1, "a"), wanted("bad", 2, "b")],
    )
    .await;
    let told = async |id: &str, status: &str| {
        eventually(PATIENCE, &format!("{id} is {status}"), async || {
            let all = db.contents("jobs").await;
            let is = |it: &Document| {
                it.get_str("_id").is_ok_and(|it| it == id)
                    && it.get_str("status").is_ok_and(|it| it == status)
            };
            all.into_iter().find(is)
        })
        .await
    };
    let well = told("well-1", "completed").await;
    let bad = told("bad-2", "failed").await;
    let result = well.get_document("result").unwrap();
    assert_eq!(
        (
            result.get_i32("status").unwrap(),
            result.get_str("body").unwrap()
        ),
        (200, "ok")
    );
    assert_eq!(
        (
            well.get_i64("attempts").unwrap(),
            bad.get_i64("attempts").unwrap()
        ),
        (1, 2)
    );
    let time = |name: &str| well.get_datetime(name).unwrap().timestamp_millis();
    assert!(time("changedAt") <= time("startedAt") && time("startedAt") <= time("endedAt"));
    assert!(bad.get_str("error").unwrap().contains("422"), "{bad}");
    let failed = db.contents("failed").await;
    assert_eq!(failed.len(), 1);
    let failed = &failed[0];
    assert_eq!(failed.get_str("type").unwrap(), "bad");
    let data = failed.get_document("eventData").unwrap();
    assert_eq!(data.get_str("key").unwrap(), "b");
    assert_eq!(failed.get_i64("attempts").unwrap(), 2);
    assert!(failed.get_str("error").unwrap().contains("422"));
    assert!(failed.get_datetime("timestamp").is_ok());
    let kept = db
        .indexes("jobs")
        .await
        .into_iter()
        .find_map(|index| index.options?.expire_after);
    assert_eq!(kept, Some(Duration::from_secs(3 * 24 * 60 * 60)));

    // While it cannot be written the job is not taken for done.
    wire.refuse_if(|command| {
        let is_update = command.keys().next().is_some_and(|name| name == "update");
        is_update.then(|| wire::error(UNAUTHORIZED, &[]))
    });
    write(kafka, &topic, &[wanted("bad", 3, "b")]).await;
    dead_letters(kafka, &prefix, 2).await;
    eventually(PATIENCE, "it is told", async || {
        let health = running.get("/health").await.json();
        let reason = health["reason"].as_str()?.to_owned();
        (reason.contains("of a job that failed for good cannot be written")).then_some(())
    })
    .await;
    wire.heal();
    told("bad-3", "failed").await;
    assert_eq!(db.contents("failed").await.len(), 2);
    running.stop().await;
    // Nothing is written where nothing is asked for.
    let without = setup.without("MONGODB_URI").run().await;
    assert!(
        without.output.contains("MONGODB_URI is not set"),
        "{}",
        without.output
    );
}
