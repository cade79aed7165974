//! What documents that are due have in the field that says when.

use super::due::{due, now, task};
use super::{assert_each_once, committed, dues, put, schedule, scheduling, topic};
use crate::support::{self, Kafka, PATIENCE, Proxy, Record, eventually};
use bson::{Bson, DateTime, Document, bson, doc};
use std::collections::BTreeSet;
use std::time::Duration;

fn ids(records: &[Record]) -> BTreeSet<String> {
    let id = |record: &Record| record.key["_id"].as_str().unwrap().to_owned();
    records.iter().map(id).collect()
}

/// Waits for the record of this document, behind whose time no other of a test is due.
async fn until(kafka: &Kafka, jobs: &str, last: &str) -> Vec<Record> {
    eventually(PATIENCE, &format!("{last} has its record"), async || {
        let records = kafka.committed_records(&[jobs]).await;
        ids(&records).contains(last).then_some(records)
    })
    .await
}

#[tokio::test]
async fn only_a_date_says_when_a_document_is_due() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(&db, due(&db, "call")).await;
    let tasks = db.documents("tasks");
    let past = DateTime::from_millis(now() - 60_000);
    let millis = past.timestamp_millis();
    let of = |id: &str, plan: Bson| doc! {"_id": id, "state": "open", "plan": plan};
    let text = past.try_to_rfc3339_string().unwrap();
    let never = [
        of("long", bson!({"at": millis})),
        of("int", bson!({"at": 1_i32})),
        of("double", bson!({"at": 1.5})),
        of("text", bson!({"at": text})),
        of("dates", bson!({"at": [past, past]})),
        of("none", bson!({"at": []})),
        of("null", bson!({"at": null})),
        of("true", bson!({"at": true})),
        of("inner", bson!({"at": {"at": past}})),
        of("missing", bson!({})),
        of("plans", bson!([{"at": past}])),
        of("no-plan", Bson::DateTime(past)),
        doc! {"_id": "bare", "state": "open"},
    ];
    tasks.insert_many(never).await.unwrap();
    // A date is one however long ago it is.
    let first_year = DateTime::from_millis(-62_135_596_800_000);
    let before = DateTime::from_millis(-1);
    tasks
        .insert_many([
            of("past", bson!({"at": past})),
            of("first-year", bson!({"at": first_year})),
            of("before", bson!({"at": before})),
        ])
        .await
        .unwrap();
    let jobs = topic(&db, "call");
    let setup = scheduling(&db, kafka);
    let process = setup.start().await;
    committed(kafka, &jobs, 3).await;
    tasks.insert_one(task("last", now())).await.unwrap();
    let records = until(kafka, &jobs, "last").await;
    let expected = ["before", "first-year", "last", "past"].map(str::to_owned);
    assert_eq!(ids(&records), expected.into());
    assert_eq!(
        dues(&records)[..3],
        [first_year, before, past].map(DateTime::timestamp_millis)
    );

    // What becomes a date is one from then on, and what is none any more makes no record.
    let set = async |id: &str, at: Bson| {
        let set = doc! {"$set": {"plan": {"at": at}}};
        tasks.update_one(doc! {"_id": id}, set).await.unwrap();
    };
    set("dates", past.into()).await;
    set("past", bson!([past, DateTime::from_millis(millis + 1)])).await;
    let records = until(kafka, &jobs, "dates").await;
    assert_eq!(records.len(), 5, "{:?}", ids(&records));
    process.stop().await;

    // Whoever starts again reads all of them, and makes none twice.
    let process = setup.start().await;
    tasks.insert_one(task("end", now())).await.unwrap();
    let records = until(kafka, &jobs, "end").await;
    assert_eq!((records.len(), ids(&records).len()), (6, 6));
    process.stop().await;
}

#[tokio::test]
async fn a_thousand_documents_of_one_time_have_a_record_each_and_the_same_time_makes_no_other() {
    const DOCUMENTS: usize = 1_000;
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(&db, due(&db, "call")).await;
    let process = scheduling(&db, kafka).start().await;
    let tasks = db.documents("tasks");
    let at = now() + 3_000;
    let all = (0..DOCUMENTS).map(|n| task(&format!("t{n}"), at));
    tasks.insert_many(all).await.unwrap();
    let jobs = topic(&db, "call");
    let records = committed(kafka, &jobs, DOCUMENTS).await;
    assert_eq!(ids(&records).len(), DOCUMENTS);
    assert!(dues(&records).iter().all(|due| *due == at));

    // Away from it and back to it, in one way and in the other.
    let all = async |change: Document| {
        let changed = tasks.update_many(doc! {"n": 1}, change).await.unwrap();
        assert_eq!(changed.matched_count, DOCUMENTS as u64);
    };
    let to = |millis: i64| doc! {"$set": {"plan.at": DateTime::from_millis(millis)}};
    all(to(now() + 3_600_000)).await;
    all(to(at)).await;
    all(doc! {"$unset": {"plan.at": ""}}).await;
    all(to(at)).await;
    tasks.insert_one(task("last", now())).await.unwrap();
    let records = until(kafka, &jobs, "last").await;
    assert_eq!(records.len(), DOCUMENTS + 1);
    process.stop().await;
}

/// Of large documents fewer are taken at once: what is held in memory is bounded.
#[tokio::test]
async fn large_documents_of_one_time_are_not_all_in_one_transaction() {
    const DOCUMENTS: i64 = 60;
    const BYTES: usize = 500_000;
    const MOST: usize = 16 << 20;
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(&db, due(&db, "call")).await;
    let tasks = db.documents("tasks");
    let at = now() - 1_000;
    for n in 0..DOCUMENTS {
        let mut task = task(&format!("t{n}"), at);
        task.insert("much", "x".repeat(BYTES));
        tasks.insert_one(task).await.unwrap();
    }
    let process = scheduling(&db, kafka).start().await;
    let jobs = topic(&db, "call");
    let records = committed(kafka, &jobs, DOCUMENTS as usize).await;
    assert_eq!((records.len(), ids(&records).len()), (60, 60));
    // Between two transactions is the end of the first.
    let (mut largest, mut bytes, mut last) = (0, 0, -1);
    for record in &records {
        let is_next = record.offset == last + 1;
        bytes = if is_next { bytes } else { 0 } + record.text().len();
        (largest, last) = (largest.max(bytes), record.offset);
    }
    assert!(largest > BYTES && largest < MOST + 2 * BYTES, "{largest}");
    process.stop().await;
}

/// MongoDB does not answer when a document is due: what is due by the clock has its records afterwards, and was not missed.
#[tokio::test]
async fn no_time_is_missed_while_documents_that_are_due_are_waited_for() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mongo = support::mongo().await;
    let proxy = Proxy::to(mongo.addr()).await;
    put(&db, due(&db, "call")).await;
    put(&db, schedule(&db, "tick", doc! {"every": "1s"})).await;
    let setup = scheduling(&db, kafka).env("MONGODB_URI", mongo.uri_through(&proxy, db.name()));
    let process = setup.start().await;
    let ticks = topic(&db, "tick");
    committed(kafka, &ticks, 2).await;
    let tasks = db.documents("tasks");
    tasks.insert_one(task("first", now())).await.unwrap();
    let jobs = topic(&db, "call");
    until(kafka, &jobs, "first").await;
    tasks
        .insert_one(task("second", now() + 5_000))
        .await
        .unwrap();
    // It knows of that one by then.
    committed(
        kafka,
        &ticks,
        kafka.committed_records(&[&ticks]).await.len() + 1,
    )
    .await;
    proxy.stall(support::Direction::Both);
    // It is waited for longer than what is taken for a pause.
    tokio::time::sleep(Duration::from_secs(18)).await;
    let made = kafka.committed_records(&[&jobs]).await;
    assert!(!ids(&made).contains("second"));
    proxy.heal();
    until(kafka, &jobs, "second").await;
    let before = kafka.committed_records(&[&ticks]).await.len();
    let records = committed(kafka, &ticks, before + 2).await;
    assert_each_once(&records, 1_000);
    process.stop().await;
}
