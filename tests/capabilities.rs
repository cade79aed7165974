//! Servers that lack something: an option that is refused, or a token that is not sent. What the server here
//! has is taken away by a proxy.

use crate::support::wire::{self, Wire};
use crate::support::{self, Database, Record, Setup, Tailwater, mongo};
use bson::{Bson, Document, doc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What real servers answer to a field or a stage that they do not know.
const UNKNOWN_FIELD: i32 = 40415;
const UNKNOWN_STAGE: i32 = 40324;

fn setup(db: &Database, wire: &Wire, kafka: &support::Kafka) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, kafka)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("RECONNECT_DELAY_MS", 10)
        .env("COMMIT_INTERVAL_MS", 50);
    (setup, topic)
}

async fn insert(db: &Database, ids: std::ops::Range<i32>) {
    for id in ids {
        let users = db.documents("users");
        users.insert_one(doc! {"_id": id}).await.unwrap();
    }
}

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}

/// Refuses each change stream with this option.
fn take_away(wire: &Wire, option: &'static str) {
    wire.refuse_if(move |command| {
        let has_it = wire::change_stream(command)?.contains_key(option);
        has_it.then(|| wire::error(UNKNOWN_FIELD, &[]))
    });
}

fn has_stage(command: &Document, name: &str) -> bool {
    let stages = command.get_array("pipeline").map(Vec::as_slice);
    let mut stages = stages
        .unwrap_or_default()
        .iter()
        .filter_map(Bson::as_document);
    stages.any(|stage| stage.contains_key(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_start_after_a_stream_resumes_after() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    take_away(&wire, "startAfter");
    let resumed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&resumed);
    wire.alter(move |command, _| {
        let stream = wire::change_stream(command);
        if stream.is_some_and(|options| options.contains_key("resumeAfter")) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (setup, topic) = setup(&db, &wire, kafka);
    let tailwater = setup.start().await;
    insert(&db, 0..3).await;
    kafka.wait_for_records(&[&topic], 3).await;
    // A running stream finds it out when its cursor is gone.
    wire.refuse_next("getMore", 1, wire::error(43, &[]));
    insert(&db, 3..6).await;
    kafka.wait_for_records(&[&topic], 6).await;
    assert!(resumed.load(Ordering::Relaxed) > 0);
    tailwater.stop().await;

    insert(&db, 6..9).await;
    let mut tailwater = setup.start().await;
    let line = tailwater.wait_for_log("it lacks startAfter").await;
    assert!(line.contains("resumeAfter"), "{line}");
    let records = kafka.wait_for_records(&[&topic], 9).await;
    assert_eq!(ids(&records), (0..9).collect::<Vec<_>>());
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_post_batch_tokens_nothing_is_lost_over_kills() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    wire.alter(|_, reply| {
        if let Ok(cursor) = reply.get_document_mut("cursor") {
            cursor.remove("postBatchResumeToken");
        }
    });
    let (setup, topic) = setup(&db, &wire, kafka);
    // Where it begins is stored before there is an event.
    let mut tailwater = setup.start().await;
    let line = tailwater
        .wait_for_log("it lacks post-batch resume tokens")
        .await;
    assert!(line.contains("the oplog"), "{line}");
    tailwater.kill9();
    insert(&db, 0..5).await;
    let mut next = 5;
    for _ in 0..5 {
        let mut tailwater = setup.start().await;
        insert(&db, next..next + 20).await;
        tailwater.kill9();
        next += 20;
        insert(&db, next..next + 5).await;
        next += 5;
    }
    let tailwater = setup.start().await;
    insert(&db, next..next + 1).await;
    let last = i64::from(next);
    let records = support::eventually(support::PATIENCE, "the last record comes", async || {
        let records = kafka.records(&[&topic]).await;
        ids(&records).contains(&last).then_some(records)
    })
    .await;
    tailwater.stop().await;
    let mut seen = BTreeSet::new();
    let firsts: Vec<_> = ids(&records)
        .into_iter()
        .filter(|id| seen.insert(*id))
        .collect();
    assert_eq!(firsts, (0..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_splitting_a_stream_is_opened_as_it_can_be() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    wire.refuse_if(|command| {
        let splits = has_stage(command, "$changeStreamSplitLargeEvent");
        splits.then(|| wire::error(UNKNOWN_STAGE, &[]))
    });
    let (setup, topic) = setup(&db, &wire, kafka);
    let mut tailwater = setup.start().await;
    let line = tailwater.wait_for_log("it lacks $changeStreamSplit").await;
    assert!(line.contains("ON_RECORD_ERROR"), "{line}");
    insert(&db, 0..1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_and_is_missing_is_refused_with_what_to_set() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    take_away(&wire, "fullDocumentBeforeChange");
    let (setup, _) = setup(&db, &wire, kafka);
    let asking = setup
        .clone()
        .env("FULL_DOCUMENT_BEFORE_CHANGE", "whenAvailable");
    let exit = asking.run().await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    assert!(
        exit.output.contains("set FULL_DOCUMENT_BEFORE_CHANGE=off"),
        "{}",
        exit.output
    );
    setup.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_lists_what_the_server_has_and_lacks() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    take_away(&wire, "startAfter");
    take_away(&wire, "showExpandedEvents");
    let (setup, _) = setup(&db, &wire, kafka);
    let exit = setup.args(&["check"]).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let mut lines = exit.output.lines();
    let line = lines
        .find(|line| line.contains("mongodb.change_streams"))
        .unwrap();
    assert!(line.starts_with("warn"), "{line}");
    let (has, lacks) = line.split_once("it lacks").unwrap();
    for name in ["startAfter", "expanded events"] {
        assert!(!has.contains(name) && lacks.contains(name), "{line}");
    }
    assert!(
        has.contains("post-batch resume tokens, $changeStreamSplitLargeEvent"),
        "{line}"
    );
}
