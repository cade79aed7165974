//! `tailwater verify` and `tailwater compare`: each kind of damage is found, and nothing else.

mod collections;
mod compared;
mod damage;
mod plant;
mod repaired;
mod unknown;

use crate::support::{self, Database, Kafka, Setup, Tailwater};
use bson::doc;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit codes of a comparison.
pub const EQUAL: i32 = 0;
const DIFFERENT: i32 = 1;
const UNFINISHED: i32 = 20;

/// A stream with one topic for changes and one for events about collections.
fn setup(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .env("COMMIT_INTERVAL_MS", 200)
}

/// What a command prints as JSON.
pub async fn run(setup: &Setup, args: &[&str], code: i32) -> Value {
    let exit = setup.clone().args(args).run().await;
    assert_eq!(exit.code, Some(code), "{}", exit.output);
    // Both outputs are captured together; the log's lines begin with a time.
    let start = match exit.output.starts_with('{') {
        true => 0,
        false => exit.output.find("\n{\n").expect("JSON among the output") + 1,
    };
    let mut values = serde_json::Deserializer::from_str(&exit.output[start..]).into_iter();
    values.next().and_then(Result::ok).expect("JSON")
}

async fn verify(setup: &Setup, args: &[&str], code: i32) -> Value {
    run(
        setup,
        &[&["verify", "--output", "json"], args].concat(),
        code,
    )
    .await
}

/// What is said of a collection.
pub fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["collections"].as_array().unwrap();
    let found = all.iter().find(|it| it["collection"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

/// Missing, extra, different, repeated, out of order.
fn figures(collection: &Value) -> [u64; 5] {
    ["missing", "extra", "different", "repeated", "outOfOrder"]
        .map(|name| collection[name].as_u64().unwrap())
}

/// The `_id`s that are named under a finding.
fn listed(collection: &Value, finding: &str) -> Vec<String> {
    let all = collection["listed"].as_array().unwrap().iter();
    let mut ids: Vec<_> = all
        .filter(|it| it["finding"] == finding)
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Waits until the topic has a record of each of so many changes.
async fn arrived(kafka: &Kafka, topic: &str, count: usize) -> Vec<support::Record> {
    kafka.wait_for_records(&[topic], count).await
}

/// Writes to a collection until it is dropped: inserts, updates, replacements and deletes of documents of its own.
struct Writer {
    done: Arc<AtomicBool>,
    task: Option<tokio::task::JoinHandle<u64>>,
}

impl Writer {
    fn start(db: &Database, collection: &str) -> Self {
        let done = Arc::<AtomicBool>::default();
        let (documents, is_done) = (db.documents(collection), Arc::clone(&done));
        let task = tokio::spawn(async move {
            let mut round = 0_u64;
            while !is_done.load(Ordering::Relaxed) {
                let id = format!("w{}", round % 40);
                let number = i64::try_from(round).unwrap();
                let query = doc! {"_id": &id};
                match round % 7 {
                    0..4 => {
                        let set = doc! {"$set": {"n": number}, "$inc": {"changes": 1}};
                        documents
                            .update_one(query, set)
                            .upsert(true)
                            .await
                            .map(drop)
                    }
                    4 | 5 => {
                        let whole = doc! {"n": number, "list": [1, {"a": number}]};
                        documents
                            .replace_one(query, whole)
                            .upsert(true)
                            .await
                            .map(drop)
                    }
                    _ => documents.delete_one(query).await.map(drop),
                }
                .unwrap();
                round += 1;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            round
        });
        Self {
            done,
            task: Some(task),
        }
    }

    /// How many changes were written in all.
    async fn stop(mut self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.task.take().unwrap().await.unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}
