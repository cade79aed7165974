//! What is seen of each listener: its state, and what it has got.

use super::listener_changes::ListenerChanges;
use bson::Bson;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a listener does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Active,
    /// `isActive` is false.
    Disabled,
    /// It gets no records, and why.
    Invalid(String),
}

impl State {
    pub const NAMES: [&str; 3] = ["active", "disabled", "invalid"];

    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Invalid(_) => "invalid",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Invalid(reason) => Some(reason),
            Self::Active | Self::Disabled => None,
        }
    }
}

/// One listener, as seen from outside of the stream.
#[derive(Debug)]
pub struct Status {
    pub id: Bson,
    /// The id as text.
    pub name: String,
    state: Mutex<Since>,
    counts: Counts,
}

#[derive(Debug, Clone)]
struct Since {
    /// What its document says.
    defined: State,
    /// What keeps its records from their topic now.
    trouble: Option<String>,
    job: String,
    collection: String,
    database: Option<String>,
    since_millis: i64,
}

#[derive(Debug, Default)]
struct Counts {
    produced: AtomicU64,
    undecided: AtomicU64,
    refused: AtomicU64,
    last_millis: AtomicI64,
}

/// What becomes of an event that a listener is asked about, and that is counted.
pub const OUTCOMES: [&str; 3] = ["produced", "undecided", "refused"];

impl Counts {
    /// In the order of [`OUTCOMES`].
    fn all(&self) -> [&AtomicU64; 3] {
        [&self.produced, &self.undecided, &self.refused]
    }
}

/// What is known of a listener at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub id: Bson,
    pub name: String,
    pub state: State,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_millis: i64,
    pub job: String,
    pub collection: String,
    pub database: Option<String>,
    /// Events that it wanted.
    pub matched: u64,
    /// Records that were sent.
    pub produced: u64,
    /// Events of which its filter could not be decided, for want of a document.
    pub undecided: u64,
    /// Events whose record could not be had.
    pub refused: u64,
    /// Time of the last event that it wanted, in milliseconds since the Unix epoch.
    pub last_event_millis: Option<i64>,
}

impl Status {
    fn locked(&self) -> MutexGuard<'_, Since> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn undecided(&self) {
        self.counts.undecided.fetch_add(1, Ordering::Relaxed);
    }

    pub fn produced(&self, time_millis: Option<i64>) {
        if let Some(millis) = time_millis {
            self.counts.last_millis.store(millis, Ordering::Relaxed);
        }
        // Seldom, and not worth a lock for each record.
        if self.counts.produced.fetch_add(1, Ordering::Relaxed) == 0
            || self.counts.refused.load(Ordering::Relaxed) > 0
        {
            let mut state = self.locked();
            if state.trouble.take().is_some() {
                state.since_millis = now_millis();
            }
        }
    }

    /// Takes note of a record that cannot be had; whether that is news.
    pub fn refused(&self, reason: &str) -> bool {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        let mut state = self.locked();
        let is_news = state.trouble.as_deref() != Some(reason);
        if is_news {
            state.trouble = Some(reason.to_owned());
            state.since_millis = now_millis();
        }
        is_news
    }

    /// What is known of it now.
    pub fn shown(&self) -> Shown {
        let state = self.locked().clone();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let last = self.counts.last_millis.load(Ordering::Relaxed);
        Shown {
            id: self.id.clone(),
            name: self.name.clone(),
            state: match (state.defined, state.trouble) {
                (State::Active, Some(trouble)) => State::Invalid(trouble),
                (defined, _) => defined,
            },
            since_millis: state.since_millis,
            job: state.job,
            collection: state.collection,
            database: state.database,
            matched: read(&self.counts.produced) + read(&self.counts.refused),
            produced: read(&self.counts.produced),
            undecided: read(&self.counts.undecided),
            refused: read(&self.counts.refused),
            last_event_millis: (last != 0).then_some(last),
        }
    }
}

/// What a document says of its listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    pub state: State,
    pub job: String,
    pub collection: String,
    pub database: Option<String>,
}

/// All listeners of a stream, by their ids; for as long as the process runs, so that counts outlive a producer.
#[derive(Debug, Default)]
pub struct Statuses {
    all: Mutex<BTreeMap<String, Arc<Status>>>,
    /// What those that are gone have counted.
    gone: Counts,
    /// The settings of databases that are wrong, by their ids.
    settings: Mutex<BTreeMap<String, String>>,
    /// What has changed when.
    pub changes: ListenerChanges,
}

impl Statuses {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Status>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of a listener of this id, and of this name where it is shown, which its document now defines.
    pub fn define(&self, id: &Bson, name: &str, defined: Defined) -> Arc<Status> {
        let mut all = self.locked();
        let status = all.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Status {
                id: id.clone(),
                name: name.to_owned(),
                state: Mutex::new(Since {
                    defined: defined.state.clone(),
                    trouble: None,
                    job: String::new(),
                    collection: String::new(),
                    database: None,
                    since_millis: now_millis(),
                }),
                counts: Counts::default(),
            })
        });
        let status = Arc::clone(status);
        drop(all);
        let mut state = status.locked();
        if state.defined != defined.state {
            state.since_millis = now_millis();
            // What was wrong may be right now; the next record says.
            state.trouble = None;
        }
        state.defined = defined.state;
        state.job = defined.job;
        state.collection = defined.collection;
        state.database = defined.database;
        drop(state);
        status
    }

    /// Forgets the listeners that are not among these.
    pub fn retain(&self, names: impl Fn(&str) -> bool) {
        self.locked().retain(|name, status| {
            let stays = names(name);
            if !stays {
                for (sum, count) in self.gone.all().into_iter().zip(status.counts.all()) {
                    sum.fetch_add(count.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            stays
        });
    }

    /// What all have counted since the start, also those that are gone: by [`OUTCOMES`].
    pub fn sums(&self) -> [u64; 3] {
        // Held, so that what goes is not missed.
        let all = self.locked();
        let mut sums = self.gone.all().map(|count| count.load(Ordering::Relaxed));
        for status in all.values() {
            for (sum, count) in sums.iter_mut().zip(status.counts.all()) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }

    /// How many are in which state.
    pub fn states(&self) -> BTreeMap<&'static str, u64> {
        let mut states = BTreeMap::from(State::NAMES.map(|name| (name, 0)));
        for shown in self.all() {
            *states.entry(shown.state.name()).or_default() += 1;
        }
        states
    }

    pub fn wrong_settings(&self, wrong: BTreeMap<String, String>) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
    }

    /// The settings of databases that are wrong, by their ids, and why.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let settings = self.settings.lock();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every listener, in the order of the ids' text.
    pub fn all(&self) -> Vec<Shown> {
        let all: Vec<_> = self.locked().values().cloned().collect();
        all.iter().map(|status| status.shown()).collect()
    }
}

fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
