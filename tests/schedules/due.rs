//! Documents of the data that become jobs when their time comes.

use super::{committed, dues, put, schedule, scheduling, status, topic};
use crate::support::{self, Database, PATIENCE, eventually};
use bson::{DateTime, Document, doc};
use std::collections::BTreeSet;

pub(super) fn due(db: &Database, name: &str) -> Document {
    let when = doc! {
        "kind": "due", "database": db.name(), "collection": "tasks", "dueField": "plan.at", "filter": {"state": "open"},
    };
    schedule(db, name, when)
}

pub(super) fn task(id: &str, at: i64) -> Document {
    doc! {"_id": id, "plan": {"at": DateTime::from_millis(at)}, "state": "open", "n": 1}
}

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn a_document_becomes_a_job_when_its_time_comes_moves_with_it_and_is_dropped_with_its_filter()
{
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tasks = db.documents("tasks");
    let begin = now();
    tasks
        .insert_many([task("past", begin - 3_600_000), task("done", begin - 1_000)])
        .await
        .unwrap();
    let set = async |id: &str, set: Document| {
        tasks
            .update_one(doc! {"_id": id}, doc! {"$set": set})
            .await
            .unwrap();
    };
    set("done", doc! {"state": "done"}).await;
    put(&db, due(&db, "call")).await;
    let jobs = topic(&db, "call");
    let process = scheduling(&db, kafka).start().await;
    let first = committed(kafka, &jobs, 1).await;
    assert_eq!(dues(&first), [begin - 3_600_000]);
    let record = &first[0];
    assert_eq!(record.value["operationType"], "schedule");
    assert_eq!(record.value["fullDocument"]["n"], 1);
    assert_eq!(record.key["_id"], "past");
    assert_eq!(record.header("tw-ns"), format!("{}.tasks", db.name()));
    assert!(
        record.header("tw-id").contains("/schedules/call/past@"),
        "{}",
        record.header("tw-id")
    );

    // Due soon, later, moved to soon, moved away from soon, no longer matching, deleted.
    let soon = now() + 4_000;
    let far = now() + 3_600_000;
    tasks
        .insert_many([
            task("soon", soon),
            task("late", far),
            task("moved-near", far),
            task("moved-far", soon),
            task("closed", soon),
            task("deleted", soon),
        ])
        .await
        .unwrap();
    set(
        "moved-near",
        doc! {"plan.at": DateTime::from_millis(soon + 500)},
    )
    .await;
    set("moved-far", doc! {"plan.at": DateTime::from_millis(far)}).await;
    set("closed", doc! {"state": "closed"}).await;
    tasks.delete_one(doc! {"_id": "deleted"}).await.unwrap();
    let all = committed(kafka, &jobs, 3).await;
    let ids: Vec<_> = all[1..]
        .iter()
        .map(|record| record.key["_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["soon", "moved-near"]);
    assert_eq!(dues(&all[1..]), [soon, soon + 500]);
    assert!(
        all.iter()
            .all(|record| record.timestamp.unwrap() >= dues(std::slice::from_ref(record))[0])
    );

    // Another field of it is no new time; a new time is.
    set("soon", doc! {"n": 2}).await;
    let again = now() + 1_000;
    set("past", doc! {"plan.at": DateTime::from_millis(again)}).await;
    let all = committed(kafka, &jobs, 4).await;
    assert_eq!((dues(&all)[3], &all[3].key["_id"]), (again, &"past".into()));
    process.stop().await;

    // Whoever comes next makes none of it again, whatever it reads.
    let process = scheduling(&db, kafka)
        .env("KAFKA_CLIENT_ID", client(&all[0]))
        .start()
        .await;
    status(&db, "call", "active").await;
    tasks.insert_one(task("last", now())).await.unwrap();
    let all = committed(kafka, &jobs, 5).await;
    assert_eq!(all.len(), 5);
    assert_eq!(all[4].key["_id"], "last");
    process.stop().await;
}

fn client(record: &support::Record) -> String {
    let stream = record.header("tw-stream");
    stream.strip_suffix("/schedules").unwrap().to_owned()
}

#[tokio::test]
async fn no_document_is_made_a_job_twice_or_not_at_all_over_kill_9() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(&db, due(&db, "call")).await;
    let tasks = db.documents("tasks");
    let setup = scheduling(&db, kafka);
    let count = 300;
    let begin = now();
    let all: Vec<_> = (0..count)
        .map(|n| task(&format!("t{n:03}"), begin + n * 40))
        .collect();
    tasks.insert_many(&all).await.unwrap();
    let jobs = topic(&db, "call");
    for some in [1, 100, 200] {
        let mut process = setup.spawn();
        committed(kafka, &jobs, some).await;
        process.kill9();
    }
    let process = setup.start().await;
    let records = committed(kafka, &jobs, count as usize).await;
    let ids: BTreeSet<_> = records
        .iter()
        .map(|record| record.key["_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((records.len(), ids.len()), (count as usize, count as usize));
    // A place in its collection is no reason to make it again.
    tasks.drop().await.unwrap();
    tasks.insert_many(&all).await.unwrap();
    tasks.insert_one(task("last", now())).await.unwrap();
    eventually(PATIENCE, "the last one", async || {
        let records = kafka.committed_records(&[&jobs]).await;
        records
            .iter()
            .any(|record| record.key["_id"] == "last")
            .then_some(())
    })
    .await;
    let records = kafka.committed_records(&[&jobs]).await;
    assert_eq!(records.len(), count as usize + 1);
    process.stop().await;
}
