//! What becomes of jobs, in collections for people and their tools: a document for each dead letter, and one for each
//! job with how far it is. Kafka holds what counts; this is read by nobody here.

use super::job::{Done, Failure, Job};
use crate::change::namespace::Namespace;
use crate::listener::file::value;
use crate::mongo::describe::describe;
use crate::source::documents::{self, Unwritten};
use crate::source::listeners::collection::collection;
use crate::status::worker::Board;
use bson::{Bson, DateTime, Document, doc};
use mongodb::Client;
use mongodb::options::IndexOptions;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often is written how far jobs are.
const REST: Duration = Duration::from_millis(250);
/// Before what MongoDB did not take is written again.
const BREATH: Duration = Duration::from_secs(1);
/// How many jobs are told of in one write.
const AT_ONCE: usize = 500;
/// How many may wait to be told of.
const MOST: usize = 10_000;
/// The largest record that is copied into a document, in bytes: a document has 16 MiB at most, and BSON takes more.
const LARGEST: usize = 4 << 20;
const EXPIRY_INDEX: &str = "tailwater_expiry";

/// Where is written what.
#[derive(Debug)]
pub struct Journal {
    client: Client,
    failed: Option<Namespace>,
    /// With how long a document is kept.
    status: Option<(Namespace, Duration)>,
    board: Arc<Board>,
    /// What is to be set, by the ids of jobs.
    states: Mutex<BTreeMap<String, Document>>,
}

impl Journal {
    /// None where nothing is to be written.
    pub fn new(
        client: &Client,
        failed: Option<Namespace>,
        status: Option<(Namespace, Duration)>,
        board: Arc<Board>,
    ) -> Option<Self> {
        (failed.is_some() || status.is_some()).then(|| Self {
            client: client.clone(),
            failed,
            status,
            board,
            states: Mutex::default(),
        })
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, Document>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It waits, for the first time or for its next attempt.
    pub fn pending(&self, job: &Job, failure: Option<&Failure>) {
        self.set(
            job,
            doc! {
                "job": job.name(),
                "status": "pending",
                "topic": &*job.record.topic,
                "changedAt": job.changed_millis().map(DateTime::from_millis),
                "dueAt": job.due.map(DateTime::from_millis),
                "endedAt": null,
                "result": null,
                "error": failure.map(|failure| &failure.detail),
            },
        );
    }

    pub fn processing(&self, job: &Job) {
        self.set(
            job,
            doc! {"status": "processing", "startedAt": DateTime::now()},
        );
    }

    pub fn completed(&self, job: &Job, done: &Done, took: Duration) {
        let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        self.set(
            job,
            doc! {
                "status": "completed",
                "endedAt": DateTime::now(),
                "durationMs": millis,
                "result": {"status": done.status, "body": done.body.as_deref()},
                "error": null,
            },
        );
    }

    pub fn failed(&self, job: &Job, failure: &Failure) {
        self.set(
            job,
            doc! {
                "job": job.name(),
                "status": "failed",
                "endedAt": DateTime::now(),
                "result": {"status": failure.status},
                "error": &failure.detail,
            },
        );
    }

    fn set(&self, job: &Job, mut fields: Document) {
        if self.status.is_none() {
            return;
        }
        fields.insert("attempts", i64::from(job.attempts));
        fields.insert("updatedAt", DateTime::now());
        let mut states = self.states();
        let id = job.record.id();
        if states.len() >= MOST && !states.contains_key(&id) {
            // It was told that they cannot be written.
            return;
        }
        states.entry(id).or_default().extend(fields);
    }

    /// Writes how far jobs are, without an end.
    pub async fn follow(&self) {
        let Some((at, kept)) = &self.status else {
            return std::future::pending().await;
        };
        if let Err(error) = self.expire(at, *kept).await {
            tracing::warn!(collection = %at, error = describe(&error), "documents of jobs do not expire (WORKER_STATUS_DAYS)");
        }
        loop {
            tokio::time::sleep(REST).await;
            while !self.flush().await {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// Writes what is to be written; whether MongoDB has taken it.
    pub async fn flush(&self) -> bool {
        let Some((at, _)) = &self.status else {
            return true;
        };
        loop {
            let taken: Vec<_> = {
                let mut states = self.states();
                let ids: Vec<_> = states.keys().take(AT_ONCE).cloned().collect();
                ids.iter()
                    .filter_map(|id| states.remove_entry(id))
                    .collect()
            };
            if taken.is_empty() {
                self.board.go_on("status");
                return true;
            }
            let updates = taken
                .iter()
                .map(|(id, fields)| doc! {"q": {"_id": id}, "u": {"$set": fields}, "upsert": true});
            let written = documents::update(&self.client, at, updates.collect()).await;
            if let Err(error) = written {
                let sentence = format!(
                    "how far jobs are cannot be written to {at}; {MOST} jobs are kept in memory, and others are left out: {}",
                    told(&error)
                );
                self.board.wait("status", sentence);
                let mut states = self.states();
                for (id, mut fields) in taken {
                    // What came meanwhile is newer.
                    let newer = states.remove(&id).unwrap_or_default();
                    fields.extend(newer);
                    states.insert(id, fields);
                }
                return false;
            }
        }
    }

    async fn expire(&self, at: &Namespace, kept: Duration) -> mongodb::error::Result<()> {
        let collection = collection(&self.client, at);
        let index = || {
            let options = IndexOptions::builder()
                .name(EXPIRY_INDEX.to_owned())
                .expire_after(kept)
                .build();
            mongodb::IndexModel::builder()
                .keys(doc! {"updatedAt": 1})
                .options(options)
                .build()
        };
        if collection.create_index(index()).await.is_ok() {
            return Ok(());
        }
        // It is there with another time.
        collection.drop_index(EXPIRY_INDEX).await?;
        collection.create_index(index()).await.map(drop)
    }

    /// Writes the document of a dead letter; waits until that is done.
    pub async fn dead_letter(&self, job: &Job, failure: &Failure) {
        let Some(at) = &self.failed else {
            return;
        };
        let mut data = event_data(job);
        loop {
            let document = doc! {
                "type": job.name(),
                "eventData": &data,
                "error": &failure.detail,
                "attempts": i64::from(job.attempts),
                "timestamp": DateTime::now(),
            };
            let update = doc! {"q": {"_id": job.record.id()}, "u": document, "upsert": true};
            match documents::update(&self.client, at, vec![update]).await {
                Ok(reply) if !reply.contains_key("writeErrors") => break,
                // What the server does not take as a document it takes as text.
                Ok(_) if !matches!(data, Bson::String(_)) => data = Bson::String(text(job)),
                Ok(_) => {
                    tracing::warn!(
                        job = job.name(),
                        place = job.record.place(),
                        "MongoDB refuses the document of a job that failed for good; its dead letter is in Kafka"
                    );
                    break;
                }
                Err(error) => {
                    let sentence = format!(
                        "the document of a job that failed for good cannot be written to {at}: {}",
                        told(&error)
                    );
                    self.board.wait("failed_events", sentence);
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        self.board.go_on("failed_events");
    }
}

fn told(error: &Unwritten) -> String {
    match error {
        Unwritten::Refused(error) => describe(error),
        Unwritten::Silent(sentence) => sentence.clone(),
    }
}

/// The record's value as a document where it is JSON, and as text otherwise.
fn event_data(job: &Job) -> Bson {
    match &job.record.value {
        None => Bson::Null,
        Some(bytes) if bytes.len() > LARGEST => {
            let sentence = format!("{} bytes, left out; the dead letter has them", bytes.len());
            Bson::String(sentence)
        }
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| value(Path::new("value.json"), text).ok())
            .unwrap_or_else(|| Bson::String(text(job))),
    }
}

fn text(job: &Job) -> String {
    let bytes = job.record.value.as_deref().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
