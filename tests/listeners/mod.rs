//! Listeners that change while the stream runs.

mod asked;
mod errors;
mod hostile;
mod places;
mod random;
mod wishes;

use crate::support::{Database, Kafka, PATIENCE, Record, Setup, Tailwater, eventually, unique};
use bson::{Document, doc};

/// A setup with the listeners of `db` itself, whose records may go to the topics `jobs.<database>.*`.
fn listening(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("RESUME_TOPIC", unique("checkpoints"))
        .env("COMMIT_INTERVAL_MS", "50")
}

/// A listener on the inserts into a collection, with a topic of its own.
fn listener(db: &Database, id: &str, collection: &str, filter: Document) -> Document {
    doc! {
        "_id": id, "collection": collection, "jobName": id, "topic": topic(db, id),
        "filter": filter, "operationType": ["insert"], "isActive": true,
    }
}

fn topic(db: &Database, id: &str) -> String {
    format!("jobs.{}.{id}", db.name())
}

/// The records of a listener's topic, once there are so many.
async fn records(db: &Database, kafka: &Kafka, id: &str, count: usize) -> Vec<Record> {
    let topic = topic(db, id);
    let what = format!("{count} records in {topic}");
    eventually(PATIENCE, &what, async || {
        let records = kafka.records(&[&topic]).await;
        (records.len() >= count).then_some(records)
    })
    .await
}

/// The `_id`s of the records' documents, in order, each once.
fn ids(records: &[Record]) -> Vec<i64> {
    let mut ids = Vec::new();
    for record in records {
        let id = record.value["documentKey"]["_id"].as_i64().unwrap();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}
