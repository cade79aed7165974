//! What becomes of a running stream when the server answers with a code. A real server is behind; the
//! codes that it does not give on demand come from a proxy.

use crate::support::wire::{self, Wire, name};
use crate::support::{self, PATIENCE, Record, Refusals, Setup, Tailwater, eventually, mongo};
use bson::{Document, doc};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CURSOR_NOT_FOUND: i32 = 43;
const NOT_PRIMARY: i32 = 10107;
/// A code that no server gives, and one that servers give for all they are asked.
const UNKNOWN: i32 = 99_999;
const OVERLOADED: i32 = 462;

fn ids(records: &[Record]) -> Vec<serde_json::Value> {
    let id = |record: &Record| record.value["documentKey"]["_id"].clone();
    records.iter().map(id).collect()
}

async fn insert(db: &support::Database, id: i32) {
    let users = db.documents("users");
    users.insert_one(doc! {"_id": id}).await.unwrap();
}

/// A stream through the proxy, with short pauses.
fn through(wire: &Wire, db: &support::Database, kafka: &support::Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("RECONNECT_DELAY_MS", 5)
}

/// Whether a command belongs to the change stream.
fn is_of_the_stream(command: &Document) -> bool {
    name(command) == "getMore" || wire::change_stream(command).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cursor_and_a_step_down_lose_and_repeat_nothing() {
    for code in [CURSOR_NOT_FOUND, NOT_PRIMARY] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let topic = db.topic("changes");
        let refusals = Refusals::before(mongo().await.addr(), "getMore", code).await;
        let tailwater = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", refusals.uri_of(db.name()))
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("RECONNECT_DELAY_MS", 10)
            .start()
            .await;
        for id in 0..30 {
            if id % 10 == 5 {
                refusals.refuse(2);
            }
            insert(&db, id).await;
        }
        let records = kafka.wait_for_records(&[&topic], 30).await;
        tailwater.stop().await;
        assert_eq!(ids(&records), (0..30).collect::<Vec<_>>());
        assert_eq!(kafka.records(&[&topic]).await.len(), 30);
        assert_eq!(
            refusals.left(),
            0,
            "code {code}: the refusals were never met"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_come_back_to_whether_code_or_label_says_so() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    let tailwater = through(&wire, &db, kafka).start().await;
    let overload: &[&str] = &["SystemOverloadedError", "RetryableError"];
    let cases: [(i32, &[&str]); 9] = [
        (365, &[]),
        (261, &[]),
        (391, &[]),
        (246, &[]),
        (UNKNOWN, &["RetryableError"]),
        (UNKNOWN, &["TransientTransactionError"]),
        (UNKNOWN, &["ResumableChangeStreamError"]),
        // Not known at all: a server of tomorrow.
        (UNKNOWN, &[]),
        (OVERLOADED, overload),
    ];
    for (index, (code, labels)) in cases.into_iter().enumerate() {
        // The driver itself asks an overloaded server three times.
        wire.refuse_next("getMore", 4, wire::error(code, labels));
        insert(&db, index as i32).await;
        let what = format!("code {code} with {labels:?} is passed");
        eventually(PATIENCE, &what, async || {
            (wire.left("getMore") == 0).then_some(())
        })
        .await;
        // Only what has gone on begins with short pauses again.
        let topic = db.topic("changes");
        kafka.wait_for_records(&[&topic], index + 1).await;
    }
    let count = cases.len();
    let records = kafka.records(&[&db.topic("changes")]).await;
    assert_eq!(ids(&records), (0..count).collect::<Vec<_>>());
    let exit = tailwater.stop().await;
    assert!(exit.output.contains("overloaded"), "{}", exit.output);
    assert!(exit.output.contains("not known here"), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_and_a_checkpoint_wait_for_what_passes_by_itself() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    let busy = || wire::error(365, &[]);
    wire.refuse_next("aggregate", 2, busy());
    wire.refuse_next("findAndModify", 1, busy());
    wire.refuse_next("update", 2, wire::error(UNKNOWN, &["RetryableError"]));
    let setup = through(&wire, &db, kafka)
        .env("RESUME_STORE", "mongodb")
        .env("RESUME_DATABASE", db.name());
    let tailwater = setup.start().await;
    insert(&db, 1).await;
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    tailwater.stop().await;
    for command in ["aggregate", "findAndModify", "update"] {
        assert_eq!(wire.left(command), 0, "{command} was never refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_not_known_ends_a_start_at_once_and_a_run_after_many_attempts() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    let setup = through(&wire, &db, kafka).env("RECONNECT_DELAY_MS", 1);
    let mut tailwater = setup.start().await;
    wire.refuse_if(|command| is_of_the_stream(command).then(|| wire::error(UNKNOWN, &[])));
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    let said = "13 attempts in a row ended so";
    assert!(exit.output.contains(said), "{}", exit.output);

    let before = wire.seen("aggregate");
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    assert_eq!(wire.seen("aggregate"), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_heal_ends_the_process_with_a_code_of_its_own() {
    for (code, exit_code, said) in [
        (136, 6, "ON_HISTORY_LOST"),
        (260, 5, "token"),
        (40324, 3, "reading the change stream"),
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let refusals = Refusals::before(mongo().await.addr(), "getMore", code).await;
        let mut tailwater = Tailwater::on(&db, kafka)
            .env("MONGODB_URI", refusals.uri_of(db.name()))
            .start()
            .await;
        refusals.refuse(1);
        let exit = tailwater.wait_exit(support::PATIENCE).await;
        assert_eq!(exit.code, Some(exit_code), "code {code}: {}", exit.output);
        assert!(exit.output.contains(said), "code {code}: {}", exit.output);
    }
}

/// Nobody is there to see a run of months end over a password that is being changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_from_the_user_of_a_run_is_named_and_waited_for() {
    for (code, said) in [(13, "changeStream"), (18, "MONGODB_URI")] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let wire = Wire::before(mongo().await.addr()).await;
        let tailwater = through(&wire, &db, kafka).start().await;
        let refuses = Arc::new(AtomicBool::new(true));
        let answer = Arc::clone(&refuses);
        wire.refuse_if(move |command| {
            let refused = answer.load(Ordering::Relaxed) && is_of_the_stream(command);
            refused.then(|| wire::error(code, &[]))
        });
        insert(&db, 1).await;
        let reason = "mongodb refuses the credentials, or a privilege is missing";
        eventually(PATIENCE, reason, async || {
            let health = tailwater.get("/health").await.json();
            (health["status"] == "unhealthy" && health["reason"] == reason).then_some(())
        })
        .await;
        assert_eq!(tailwater.get("/health/ready").await.status, 503);
        let detailed = tailwater.get("/health/detailed").await.json();
        let error = detailed["components"]["source"]["lastError"]["message"].to_string();
        assert!(error.contains(said), "code {code}: {error}");

        refuses.store(false, Ordering::Relaxed);
        let records = kafka.wait_for_records(&[&db.topic("changes")], 1).await;
        assert_eq!(ids(&records), [1]);
        eventually(PATIENCE, "it is healthy again", async || {
            let health = tailwater.get("/health").await.json();
            (health["status"] == "healthy").then_some(())
        })
        .await;
        let exit = tailwater.stop().await;
        assert!(exit.output.contains(said), "code {code}: {}", exit.output);

        // At a start somebody is there.
        refuses.store(true, Ordering::Relaxed);
        let exit = through(&wire, &db, kafka).run().await;
        assert_eq!(exit.code, Some(3), "code {code}: {}", exit.output);
    }
}
