//! What is delivered, in what order and how often, when something goes wrong on the way to Kafka.

mod dead_letters;
mod exactly_once;
mod expired;
mod fenced;
mod first_refused;
mod long_keys;
mod many_topics;
mod memory;
mod never_made;
mod out_of_time;
mod record_errors;
mod removed;
mod rights;
mod targets;
mod topics;

use crate::support::{Database, Kafka, PATIENCE, Record, eventually};
use bson::doc;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinHandle;

/// Writes to a few documents, one change after the other, until it is told to stop.
struct Load {
    written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Begins to write to `collection` of `db`.
    fn on(db: &Database, collection: &str) -> Self {
        let documents = db.documents(collection);
        let written = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, halt) = (Arc::clone(&written), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            while !halt.load(Ordering::Relaxed) {
                let number = i64::try_from(count.load(Ordering::Relaxed)).unwrap();
                let id = number % DOCUMENTS;
                if number < DOCUMENTS {
                    let document = doc! {"_id": id, "number": number};
                    documents.insert_one(document).await.unwrap();
                } else {
                    let change = doc! {"$set": {"number": number}};
                    documents
                        .update_one(doc! {"_id": id}, change)
                        .await
                        .unwrap();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            written,
            stop,
            task,
        }
    }

    /// Acknowledged writes so far.
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends, and returns how many writes were acknowledged.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        usize::try_from(self.written.load(Ordering::Relaxed)).unwrap()
    }
}

const DOCUMENTS: i64 = 20;

/// Waits until at least `count` committed records are there, and returns all of them.
async fn committed(kafka: &Kafka, topic: &str, count: usize) -> Vec<Record> {
    let what = format!("{count} committed records");
    eventually(PATIENCE, &what, async || {
        let records = kafka.committed_records(&[topic]).await;
        (records.len() >= count).then_some(records)
    })
    .await
}

/// Each event once, none missing, in order within its partition.
#[track_caller]
fn assert_exactly_once(records: &[Record], events: usize) {
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    for record in records {
        let before = last.insert(record.partition, record.seq());
        assert!(
            before < Some(record.seq()),
            "{before:?} before {} in partition {}",
            record.seq(),
            record.partition
        );
    }
    assert_complete(records, events);
    assert_eq!(records.len(), events, "some are repeated");
}

/// No event is missing. Numbers of one stream follow each other.
#[track_caller]
fn assert_complete(records: &[Record], events: usize) {
    let mut seqs: Vec<u64> = records.iter().map(Record::seq).collect();
    seqs.sort_unstable();
    seqs.dedup();
    let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
    assert_eq!(
        (seqs.len(), usize::try_from(last - first).unwrap() + 1),
        (events, events),
        "some are missing"
    );
}

/// Repeats aside, the records of each key are in order: a consumer that ignores numbers up to the
/// last one seen misses none.
#[track_caller]
fn assert_first_in_order(records: &[Record]) {
    let mut seen: BTreeMap<(i32, String), BTreeSet<u64>> = BTreeMap::new();
    for record in records {
        let of_key = (record.partition, record.key.to_string());
        let seen = seen.entry(of_key).or_default();
        let last = seen.last().copied();
        if seen.insert(record.seq()) {
            assert!(
                last < Some(record.seq()),
                "first occurrence of {} after {last:?}, offset {} of partition {}",
                record.seq(),
                record.offset,
                record.partition
            );
        }
    }
}
