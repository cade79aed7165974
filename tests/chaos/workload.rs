//! Writes under load, and which of them the server has acknowledged.

use super::plan::Dice;
use crate::support::Database;
use bson::{Document, doc};
use mongodb::Collection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const COLLECTIONS: [&str; 3] = ["orders", "users", "carts"];
const DOCUMENTS: u64 = 60;

/// A document: its collection and its `_id`.
pub type Key = (String, i64);

/// What one write did; every write but a delete has a version of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Set(u64),
    Delete,
}

/// The acknowledged writes of each document, in order.
#[derive(Default)]
pub struct Written {
    pub changes: BTreeMap<Key, Vec<Change>>,
}

impl Written {
    pub fn last_version(&self) -> u64 {
        let version = |change: &Change| match change {
            Change::Set(version) => *version,
            Change::Delete => 0,
        };
        self.changes
            .values()
            .flatten()
            .map(version)
            .max()
            .unwrap_or(0)
    }
}

pub struct Workload {
    task: JoinHandle<Written>,
    /// Nothing is written while it is held.
    pause: Arc<tokio::sync::Mutex<()>>,
    /// The last version that was acknowledged.
    acknowledged: Arc<AtomicU64>,
    /// What it was when [`Workload::later`] was first asked for a later one.
    asked: AtomicU64,
}

impl Workload {
    /// Writes until `stop`, past every proxy: what breaks between Tailwater and the server is not
    /// what the application sees.
    pub fn start(db: &Database, seed: u64, stop: CancellationToken) -> Self {
        let collections = COLLECTIONS.map(|name| db.documents(name));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let pause = Arc::default();
        let writer = Writer {
            pause: Arc::clone(&pause),
            collections,
            dice: Dice::new(seed ^ 0xA5A5),
            written: Written::default(),
            acknowledged: Arc::clone(&acknowledged),
        };
        Self {
            task: tokio::spawn(writer.run(stop)),
            pause,
            acknowledged,
            asked: AtomicU64::new(0),
        }
    }

    /// Writes nothing for this long.
    pub async fn rest(&self, lasts: Duration) {
        let _held = self.pause.lock().await;
        tokio::time::sleep(lasts).await;
    }

    /// A version acknowledged after this was first asked for, once there is one.
    pub fn later(&self) -> Option<u64> {
        let now = self.acknowledged.load(Ordering::Relaxed);
        match self.asked.load(Ordering::Relaxed) {
            0 => {
                self.asked.store(now.max(1), Ordering::Relaxed);
                None
            }
            asked if now > asked => {
                self.asked.store(0, Ordering::Relaxed);
                Some(now)
            }
            _ => None,
        }
    }

    pub async fn finish(self) -> Written {
        self.task.await.expect("the workload does not panic")
    }
}

struct Writer {
    pause: Arc<tokio::sync::Mutex<()>>,
    collections: [Collection<Document>; 3],
    dice: Dice,
    written: Written,
    acknowledged: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) -> Written {
        let mut version = 0;
        while !stop.is_cancelled() {
            version += 1;
            let pause = Arc::clone(&self.pause);
            let writing = pause.lock().await;
            self.write(version).await;
            drop(writing);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // The last one is a write whose arrival can be seen.
        self.set(0, 0, version + 1).await;
        self.written
    }

    async fn write(&mut self, version: u64) {
        let collection = self.dice.roll(3) as usize;
        let id = self.dice.roll(DOCUMENTS) as i64;
        if self.dice.roll(6) == 0 {
            let deleted = self.collections[collection]
                .delete_one(doc! {"_id": id})
                .await;
            // Nobody else writes: what was there is gone when the server says so, even if it found
            // nothing when the driver asked again. Where it says nothing, a look tells.
            let was = self
                .last(collection, id)
                .is_some_and(|last| last != Change::Delete);
            let existed = was && (deleted.is_ok() || self.look(collection, id).await.is_none());
            if existed {
                self.note(collection, id, Change::Delete);
            }
            return;
        }
        self.set(collection, id, version).await;
    }

    async fn set(&mut self, collection: usize, id: i64, version: u64) {
        let documents = &self.collections[collection];
        let (filter, number) = (doc! {"_id": id}, version as i64);
        let is_done = if self.dice.roll(3) == 0 {
            let padding = "x".repeat(self.dice.roll(600) as usize);
            let whole = doc! {"_id": id, "v": number, "padding": padding};
            documents
                .replace_one(filter, whole)
                .upsert(true)
                .await
                .is_ok()
        } else {
            let update = doc! {"$set": {"v": number}};
            documents
                .update_one(filter, update)
                .upsert(true)
                .await
                .is_ok()
        };
        if is_done || self.look(collection, id).await == Some(version) {
            self.note(collection, id, Change::Set(version));
            self.acknowledged.store(version, Ordering::Relaxed);
        }
    }

    /// The document's version, read until the server answers.
    async fn look(&self, collection: usize, id: i64) -> Option<u64> {
        loop {
            match self.collections[collection]
                .find_one(doc! {"_id": id})
                .await
            {
                Ok(found) => return found.and_then(|found| Some(found.get_i64("v").ok()? as u64)),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn last(&self, collection: usize, id: i64) -> Option<Change> {
        let key = (COLLECTIONS[collection].to_owned(), id);
        self.written.changes.get(&key)?.last().copied()
    }

    fn note(&mut self, collection: usize, id: i64, change: Change) {
        let key = (COLLECTIONS[collection].to_owned(), id);
        self.written.changes.entry(key).or_default().push(change);
    }
}

/// The version of every document that is there.
pub async fn contents(db: &Database) -> BTreeMap<Key, u64> {
    let mut state = BTreeMap::new();
    for name in COLLECTIONS {
        for document in db.contents(name).await {
            let id = document.get_i64("_id").expect("our own document");
            let version = document.get_i64("v").expect("our own document");
            state.insert((name.to_owned(), id), version as u64);
        }
    }
    state
}
