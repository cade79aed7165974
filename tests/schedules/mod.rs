//! Jobs that are due at a time, with real servers and the real program.

mod asked;
mod due;
mod edited;
mod figures;
mod once_each;
mod rights;
mod values;

use crate::support::{Database, Kafka, PATIENCE, Record, Setup, Tailwater, eventually};
use bson::{Document, doc};
use std::collections::BTreeMap;

/// A setup with schedules in the collection `schedules`, and nothing watched beside them that matters.
fn scheduling(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("SCHEDULES_COLLECTION", format!("{}.schedules", db.name()))
        .env("LISTENERS_TOPICS", format!("{}.*", db.name()))
        .env("RESUME_TOPIC", db.topic("checkpoints"))
        .env("KAFKA_TOPIC_PARTITIONS", 1)
}

fn topic(db: &Database, job: &str) -> String {
    format!("{}.{job}", db.name())
}

fn schedule(db: &Database, name: &str, when: Document) -> Document {
    let mut schedule = doc! {"_id": name, "name": name, "jobName": name, "topic": topic(db, name)};
    schedule.extend(when);
    schedule
}

async fn put(db: &Database, schedule: Document) {
    db.documents("schedules")
        .insert_one(schedule)
        .await
        .unwrap();
}

/// When the jobs of these records were due, in milliseconds since the Unix epoch.
fn dues(records: &[Record]) -> Vec<i64> {
    let time =
        |record: &Record| -> jiff::Timestamp { record.header("tw-scheduled-for").parse().unwrap() };
    records
        .iter()
        .map(|record| time(record).as_millisecond())
        .collect()
}

/// Each due time of an interval has one record: none is missing between the first and the last, and none is there twice.
fn assert_each_once(records: &[Record], every: i64) {
    let dues = dues(records);
    let Some(first) = dues.first() else {
        panic!("no record");
    };
    let wanted: Vec<_> = (0..).map(|n| first + n * every).take(dues.len()).collect();
    assert_eq!(dues, wanted);
    assert_eq!(first % every, 0);
    let mut ids = BTreeMap::new();
    for record in records {
        let other = ids.insert(record.header("tw-id"), record.offset);
        assert_eq!(other, None, "{}", record.header("tw-id"));
    }
}

async fn committed(kafka: &Kafka, topic: &str, count: usize) -> Vec<Record> {
    let what = format!("{count} committed records in {topic}");
    eventually(PATIENCE, &what, async || {
        let records = kafka.committed_records(&[topic]).await;
        (records.len() >= count).then_some(records)
    })
    .await
}

/// What is written of a schedule, once it is in this state.
async fn status(db: &Database, name: &str, state: &str) -> Document {
    let schedules = db.documents("schedules");
    eventually(PATIENCE, &format!("{name} is {state}"), async || {
        let found = schedules.find_one(doc! {"_id": name}).await.unwrap()?;
        let status = found.get_document("status").ok()?.clone();
        (status.get_str("state").ok()? == state).then_some(status)
    })
    .await
}
