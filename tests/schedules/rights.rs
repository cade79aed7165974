//! Rights that are missing, are taken away, and come back.

use super::{committed, put, schedule, scheduling, status, topic};
use crate::support::{self, PATIENCE, Wire, eventually, wire};
use bson::doc;

const UNAUTHORIZED: i32 = 13;

/// The schedules that were read go on, and it is told that they cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_read_what_was_read_goes_on_and_is_told() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(support::mongo().await.addr()).await;
    put(&db, schedule(&db, "tick", doc! {"every": "1s"})).await;
    let setup = scheduling(&db, kafka).env("MONGODB_URI", wire.uri_of(db.name()));
    let process = setup.start().await;
    let ticks = committed(kafka, &topic(&db, "tick"), 1).await.len();
    wire.refuse_if(|command| {
        let (name, on) = command.iter().next()?;
        let is_it = ["find", "aggregate", "getMore"].contains(&name.as_str())
            && on.as_str() == Some("schedules")
            || (name == "getMore" && command.get_str("collection").ok() == Some("schedules"));
        is_it.then(|| wire::error(UNAUTHORIZED, &[]))
    });
    put(&db, schedule(&db, "later", doc! {"every": "1s"})).await;
    let reason = eventually(PATIENCE, "it is told", async || {
        let health = process.get("/health").await.json();
        let reason = health["reason"].as_str()?.to_owned();
        reason.contains("grant the user").then_some(reason)
    })
    .await;
    assert!(
        reason.contains("find") && reason.contains("SCHEDULES_COLLECTION"),
        "{reason}"
    );
    committed(kafka, &topic(&db, "tick"), ticks + 2).await;
    wire.heal();
    status(&db, "later", "active").await;
    eventually(PATIENCE, "all is well", async || {
        (process.get("/health").await.json()["status"] == "healthy").then_some(())
    })
    .await;
    process.stop().await;
}
