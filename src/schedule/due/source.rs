//! Where the documents of one schedule come from: a look at all that are due soon, and then at each that is changed.
//!
//! What is due is asked of the server once more before its record is made, by the schedule's own query: so a filter means
//! what it means in `find`, and a document that has moved or no longer matches makes none.

use super::Due;
use super::queue::Queue;
use crate::error::Error;
use crate::mongo::heard::{self, Hears, Watched};
use crate::schedule::Schedule;
use crate::schedule::documents::{answer, failed_on};
use crate::tasks;
use bson::{Bson, DateTime, Document, RawDocument, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::change_stream::event::ChangeStreamEvent;
use mongodb::options::ReadConcern;
use mongodb::{Client, Collection};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How far ahead documents are looked for, in milliseconds: what is due later costs nothing.
const AHEAD: i64 = 10 * 60_000;
/// How many are asked for in one query.
const AT_ONCE: usize = 500;
/// How many changed documents are noted: with more, all are looked at.
const NOTED: usize = 10_000;
/// How often all are looked at while changes cannot be heard, or the last look failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How many bytes of documents are taken at once, and one document more.
const MOST_BYTES: usize = 16 << 20;
/// For how long it is remembered that a document had its record which is no more, in milliseconds.
const KEPT: i64 = 30 * 86_400_000;

/// What was heard of the collection.
#[derive(Debug, Default)]
struct Heard {
    changed: Mutex<Vec<Bson>>,
    /// Whether changes may have been missed, so that all are to be looked at.
    is_lost: AtomicBool,
    is_listening: AtomicBool,
    /// Told when there may be something to look at.
    told: Arc<Notify>,
}

impl Heard {
    fn changed(&self) -> MutexGuard<'_, Vec<Bson>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hears for Heard {
    fn begun(&self) {
        // What happened before is looked at.
        self.is_lost.store(true, Ordering::Relaxed);
        self.is_listening.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }

    fn event(&self, event: ChangeStreamEvent<Document>) {
        let id = event.document_key.and_then(|mut key| key.remove("_id"));
        let mut ids = self.changed();
        match id {
            Some(id) if ids.len() < NOTED => ids.push(id),
            // Too many, or the collection as a whole.
            _ => self.is_lost.store(true, Ordering::Relaxed),
        }
        drop(ids);
        self.told.notify_one();
    }

    fn ended(&self) {
        self.is_listening.store(false, Ordering::Relaxed);
        self.is_lost.store(true, Ordering::Relaxed);
    }
}

/// A document that is due.
#[derive(Debug)]
pub struct Found {
    pub id: Bson,
    pub due: i64,
    pub document: RawDocumentBuf,
}

/// The documents of one schedule.
pub struct Source {
    pub schedule: Arc<Schedule>,
    pub due: Due,
    pub queue: Queue,
    /// Why they cannot be looked at.
    pub problem: Option<String>,
    collection: Collection<RawDocumentBuf>,
    heard: Arc<Heard>,
    listening: JoinHandle<()>,
    /// Until when all are known.
    known: i64,
    looked: Option<Instant>,
    has_forgotten: bool,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Source {
    /// `changed` is told when there may be something to look at.
    pub fn new(
        schedule: Arc<Schedule>,
        due: Due,
        client: &Client,
        fired: BTreeMap<String, i64>,
        changed: Arc<Notify>,
    ) -> Self {
        let heard = Arc::new(Heard {
            is_lost: AtomicBool::new(true),
            told: changed,
            ..Heard::default()
        });
        let collection = client
            .database(&due.at.database)
            .collection(&due.at.collection);
        let watched = Watched {
            what: "documents that are due",
            meanwhile: "they are looked at every 5 s",
        };
        let (watch, hears) = (collection.clone_with_type(), Arc::clone(&heard));
        let listening = heard::follow(watch, &["updateDescription"], hears, watched);
        Self {
            schedule,
            due,
            queue: Queue::new(fired),
            problem: None,
            collection,
            heard,
            listening: tasks::spawn(listening),
            known: i64::MIN,
            looked: None,
            has_forgotten: false,
        }
    }

    /// Looks at what may have changed.
    pub async fn refresh(&mut self, now: i64) {
        let is_new = self.looked.is_none_or(|looked| looked.elapsed() >= AGAIN);
        if self.problem.is_some() && !is_new {
            return;
        }
        let is_deaf = !self.heard.is_listening.load(Ordering::Relaxed) && is_new;
        let looked = match self.heard.is_lost.swap(false, Ordering::Relaxed) || is_deaf {
            true => self.look_at_all(now).await,
            false => self.look_at_changed(now).await,
        };
        self.problem = looked.err().map(|error| {
            self.heard.is_lost.store(true, Ordering::Relaxed);
            error.detail
        });
    }

    async fn look_at_all(&mut self, now: i64) -> Result<(), Error> {
        self.looked = Some(Instant::now());
        self.heard.changed().clear();
        let until = now.saturating_add(AHEAD);
        let found = self.times(doc! {"$lte": date(until)}, None).await?;
        self.queue.clear();
        for (id, due) in found {
            self.queue.see(&id, Some(due));
        }
        self.known = until;
        Ok(())
    }

    async fn look_at_changed(&mut self, now: i64) -> Result<(), Error> {
        let changed = std::mem::take(&mut *self.heard.changed());
        for ids in changed.chunks(AT_ONCE) {
            let range = doc! {"$lte": date(self.known)};
            let found = self.times(range, Some(ids.to_vec())).await?;
            for id in ids {
                self.queue.see(id, None);
            }
            for (id, due) in found {
                self.queue.see(&id, Some(due));
            }
        }
        let until = now.saturating_add(AHEAD);
        if self.known.saturating_sub(now) < AHEAD / 2 {
            let range = doc! {"$gt": date(self.known), "$lte": date(until)};
            for (id, due) in self.times(range, None).await? {
                self.queue.see(&id, Some(due));
            }
            self.known = until;
        }
        Ok(())
    }

    /// The times of documents in a range.
    async fn times(
        &self,
        range: Document,
        ids: Option<Vec<Bson>>,
    ) -> Result<Vec<(Bson, i64)>, Error> {
        let find = self.collection.find(self.due.query(range, ids));
        let find = find.projection(doc! {"_id": 1, &self.due.field: 1});
        let found = self.found(find, usize::MAX).await?;
        Ok(found
            .into_iter()
            .map(|found| (found.id, found.due))
            .collect())
    }

    /// What is found, until it has so many bytes.
    async fn found(
        &self,
        find: mongodb::action::Find<'_, RawDocumentBuf>,
        most: usize,
    ) -> Result<Vec<Found>, Error> {
        let asked = async {
            let mut cursor = answer(find.read_concern(ReadConcern::majority())).await?;
            let (mut all, mut bytes) = (Vec::new(), 0);
            while bytes < most
                && let Some(document) = answer(cursor.try_next()).await?
            {
                if let Some(found) = self.read(document) {
                    bytes += found.document.as_bytes().len();
                    all.push(found);
                }
            }
            Ok::<_, mongodb::error::Error>(all)
        };
        let what = format!("reading the documents of schedule {}", self.schedule.name);
        asked
            .await
            .map_err(|error| failed_on(&what, &self.due.at, &error))
    }

    /// None where it has no time.
    fn read(&self, document: RawDocumentBuf) -> Option<Found> {
        let id = Bson::try_from(document.get("_id").ok()??).ok()?;
        let due = time_at(&document, &self.due.field)?;
        Some(Found { id, due, document })
    }

    /// Takes documents that are due by now, as they are now, each at most once for its time.
    ///
    /// # Errors
    /// What the server answers; nothing is taken then.
    pub async fn take(&mut self, now: i64, most: usize) -> Result<Vec<Found>, Error> {
        let taken = self.queue.take(now, most);
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let ids = taken.iter().map(|(id, _)| id.clone()).collect();
        let find = self
            .collection
            .find(self.due.query(doc! {"$lte": date(now)}, Some(ids)));
        match self.found(find, MOST_BYTES).await {
            Ok(mut found) => {
                let bytes = found.iter().map(|it| it.document.as_bytes().len());
                let is_part = bytes.sum::<usize>() >= MOST_BYTES;
                found.retain(|found| self.queue.fire(&found.id, found.due));
                found.sort_by_key(|found| found.due);
                if is_part {
                    // The rest is asked for again: of those that have their record by now nothing comes twice.
                    for (id, due) in taken {
                        self.queue.see(&id, Some(due));
                    }
                }
                Ok(found)
            }
            Err(error) => {
                self.problem = Some(error.detail.clone());
                self.looked = Some(Instant::now());
                self.heard.is_lost.store(true, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Gives on what is known of records that were made; nothing else is to be asked of it then.
    pub fn take_fired(&mut self) -> BTreeMap<String, i64> {
        std::mem::take(&mut self.queue).into_fired()
    }

    /// Once in its life: documents that had their record long ago and are no more, so that it need not be remembered.
    pub async fn forgotten(&mut self, now: i64) -> Vec<String> {
        if self.has_forgotten || self.problem.is_some() {
            return Vec::new();
        }
        self.has_forgotten = true;
        // It is only for the room that they take: the next start tries again.
        self.forget(now).await.unwrap_or_default()
    }

    async fn forget(&mut self, now: i64) -> Result<Vec<String>, Error> {
        let old = self.queue.fired_before(now - KEPT);
        let mut gone: BTreeSet<String> = old.iter().cloned().collect();
        for keys in old.chunks(AT_ONCE) {
            let ids = keys
                .iter()
                .filter_map(|key| serde_json::from_str::<Bson>(key).ok());
            let ids: Vec<Bson> = ids.collect();
            let there = async {
                let find = self
                    .collection
                    .find(doc! {"_id": {"$in": ids}})
                    .projection(doc! {"_id": 1});
                find.await?.try_collect::<Vec<_>>().await
            };
            let there = there.await.map_err(|error| {
                failed_on("looking for documents that are gone", &self.due.at, &error)
            })?;
            for document in there {
                if let Ok(Some(id)) = document.get("_id")
                    && let Ok(id) = Bson::try_from(id)
                {
                    gone.remove(&super::queue::id_key(&id));
                }
            }
        }
        for key in &gone {
            self.queue.forget(key);
        }
        Ok(gone.into_iter().collect())
    }
}

fn date(millis: i64) -> DateTime {
    DateTime::from_millis(millis)
}

/// The date at a path of names; none where there is another value.
fn time_at(document: &RawDocument, path: &str) -> Option<i64> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = document.get(first).ok()??;
    match rest {
        Some(rest) => time_at(value.as_document()?, rest),
        None => Some(value.as_datetime()?.timestamp_millis()),
    }
}
