//! Rights that are missing, are taken away, and come back.

use super::{assert_each_once, committed, put, schedule, scheduling, status, topic};
use crate::rights::telling;
use crate::support::{self, Kafka, Operation, PATIENCE, Resource, Wire, eventually, wire};
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

/// Only the schedules of that topic wait, and what was due meanwhile comes when it may be written again.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_holds_its_own_schedules_alone() {
    const USER: &str = "clock";
    let (db, kafka) = (
        support::database().await,
        Kafka::with_acls(&[USER], &[]).await,
    );
    kafka.allow_everything(USER).await;
    let all = doc! {"every": "1s", "missed": "all"};
    put(&db, schedule(&db, "good", all.clone())).await;
    put(&db, schedule(&db, "bad", all)).await;
    let setup = scheduling(&db, &kafka).logged_in_as(&kafka, USER);
    let process = setup.start().await;
    committed(&kafka, &topic(&db, "bad"), 2).await;
    let denied = topic(&db, "bad");
    kafka
        .deny(USER, Resource::Topic(&denied), Operation::Write)
        .await;
    let told = status(&db, "bad", "waiting").await;
    let reason = told.get_str("reason").unwrap();
    assert!(
        reason.contains("Write") && reason.contains(&denied),
        "{reason}"
    );
    let interrupted = async || {
        let page = process.get("/metrics").await;
        page.metric("tailwater_schedule_interruptions_total", &[])
            .unwrap()
    };
    let (before, so_far) = (
        interrupted().await,
        committed(&kafka, &topic(&db, "good"), 1).await.len(),
    );
    // More often than it is looked at again whether that one may be written.
    committed(&kafka, &topic(&db, "good"), so_far + 12).await;
    assert_eq!(interrupted().await, before, "nothing interrupts the others");
    status(&db, "bad", "waiting").await;

    kafka
        .end_denial(USER, Resource::Topic(&denied), Operation::Write)
        .await;
    status(&db, "bad", "active").await;
    let good = committed(&kafka, &topic(&db, "good"), so_far + 14)
        .await
        .len();
    committed(&kafka, &denied, good).await;
    process.stop().await;
    for name in ["good", "bad"] {
        let records = kafka.committed_records(&[&topic(&db, name)]).await;
        assert_each_once(&records, 1_000);
    }
}

/// Said by a check, before anything runs: a topic that may not be written, documents that may not be read, and
/// schedules that are invalid.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_schedules_lack() {
    const USER: &str = "checked";
    let (db, kafka) = (
        support::database().await,
        Kafka::with_acls(&[USER], &[]).await,
    );
    kafka.allow_everything(USER).await;
    put(&db, schedule(&db, "good", doc! {"every": "1s"})).await;
    put(&db, schedule(&db, "wrong", doc! {"every": "often"})).await;
    let due = doc! {"kind": "due", "database": "elsewhere", "collection": "data", "dueField": "at"};
    put(&db, schedule(&db, "due", due)).await;
    for name in ["good", "due"] {
        kafka.create_topic(&topic(&db, name), 1, &[]).await;
    }
    let right: &'static str = Box::leak(db.name().to_owned().into_boxed_str());
    let read: &[&str] = &["find", "changeStream", "listCollections", "listIndexes"];
    let every: &[&str] = &["anyAction"];
    let server = support::mongo().await.addr();
    let check = async |granted: &[(&'static str, &'static [&'static str])]| {
        let wire = telling(server, granted).await;
        let setup = scheduling(&db, &kafka).logged_in_as(&kafka, USER);
        let setup = setup.env("MONGODB_URI", wire.uri_of(db.name()));
        setup.args(&["check"]).run().await
    };
    let exit = check(&[(right, every), ("elsewhere", every)]).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for said in ["2 of 3 schedules", "wrong: "] {
        assert!(exit.output.contains(said), "{said}: {}", exit.output);
    }
    let exit = check(&[(right, read)]).await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    for said in [
        "lacks update on",
        "due: user tw lacks find and changeStream on elsewhere.data",
    ] {
        assert!(exit.output.contains(said), "{said}: {}", exit.output);
    }
    let progress = format!("{}.schedules", db.topic("checkpoints"));
    kafka
        .create_topic(&progress, 1, &[("cleanup.policy", "compact")])
        .await;
    for denied in [topic(&db, "good"), progress] {
        let on = Resource::Topic(&denied);
        kafka.deny(USER, on, Operation::Write).await;
        let exit = check(&[(right, every), ("elsewhere", every)]).await;
        assert_ne!(exit.code, Some(0), "{}", exit.output);
        let said = format!("lacks Write on topic {denied}");
        assert!(exit.output.contains(&said), "{said}: {}", exit.output);
        kafka.end_denial(USER, on, Operation::Write).await;
    }
}
