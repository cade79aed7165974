//! What is seen of the schedules: who runs them, what is waited for, and how each is.

use super::health::Health;
use super::owner::Ownership;
use super::values::{Counter, now_millis};
use super::waiting::{Wait, Waits};
use bson::Bson;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What this instance does about the schedules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not yet, or not any more.
    #[default]
    Stopped,
    /// It takes them over.
    Starting,
    Running,
    /// Another instance has them.
    Standby,
    /// Another instance has taken them over, and nobody is to give them back.
    Fenced,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Standby => "standby",
            Self::Fenced => "fenced",
        }
    }
}

/// What a schedule does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Active,
    /// `isActive` is false.
    Disabled,
    /// Its one time is over.
    Done,
    /// Its topic cannot be had now, and why; what is due meanwhile is not lost.
    Waiting(String),
    /// It gets no records, and why.
    Invalid(String),
}

impl State {
    pub const NAMES: [&str; 5] = ["active", "disabled", "done", "waiting", "invalid"];

    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Done => "done",
            Self::Waiting(_) => "waiting",
            Self::Invalid(_) => "invalid",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting(reason) | Self::Invalid(reason) => Some(reason),
            Self::Active | Self::Disabled | Self::Done => None,
        }
    }
}

/// One schedule at one moment; times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The document's; null for one of a file.
    pub id: Bson,
    pub name: String,
    /// When it is due, in words.
    pub timing: String,
    pub job: String,
    pub topic: String,
    pub state: State,
    pub since: i64,
    pub next: Option<i64>,
    /// What was due last.
    pub last: Option<i64>,
    /// Records that were made by this instance.
    pub produced: u64,
}

/// What was told of each, and when.
pub type Told = BTreeMap<String, (Shown, Instant)>;

/// The board of the schedules.
#[derive(Debug, Default)]
pub struct Schedules {
    pub waits: Waits,
    /// Records that were made.
    pub produced: Counter,
    /// Transactions that failed.
    pub failed: Counter,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    ownership: Option<Ownership>,
    /// Why it ended here.
    end: Option<String>,
    shown: BTreeMap<String, Shown>,
}

impl Schedules {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, phase: Phase) {
        let mut inner = self.lock();
        inner.phase = phase;
        if phase != Phase::Fenced {
            inner.end = None;
        }
        if phase == Phase::Standby {
            inner.shown.clear();
        }
    }

    /// It ended here, and is not begun again.
    pub fn end(&self, why: String) {
        let mut inner = self.lock();
        inner.phase = Phase::Fenced;
        inner.end = Some(why);
    }

    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub fn set_ownership(&self, ownership: Ownership) {
        self.lock().ownership = Some(ownership);
    }

    pub fn ownership(&self) -> Option<Ownership> {
        self.lock().ownership.clone()
    }

    /// From now on these are there. Those that are known keep since when they are as they are, and their counts.
    pub fn put(&self, all: Vec<(String, Shown)>) {
        let mut inner = self.lock();
        let mut before = std::mem::take(&mut inner.shown);
        for (key, mut shown) in all {
            if let Some(before) = before.remove(&key) {
                shown.produced = before.produced;
                shown.last = shown.last.max(before.last);
                if before.state == shown.state {
                    shown.since = before.since;
                }
            }
            inner.shown.insert(key, shown);
        }
    }

    /// One has made a record, or passed a time over.
    pub fn moved(&self, key: &str, last: Option<i64>, next: Option<i64>, produced: u64) {
        self.produced.add(produced);
        if let Some(shown) = self.lock().shown.get_mut(key) {
            shown.last = shown.last.max(last);
            shown.next = next;
            shown.produced += produced;
        }
    }

    /// One is in another state.
    pub fn set_state(&self, key: &str, state: State) {
        if let Some(shown) = self.lock().shown.get_mut(key)
            && shown.state != state
        {
            shown.state = state;
            shown.since = now_millis();
        }
    }

    /// Those that are in another state than was told, and after `seldom` also those of which anything else has changed.
    /// Forgets what was told of those that are there no more.
    pub fn untold(&self, told: &mut Told, seldom: Duration) -> Vec<(String, Shown)> {
        let inner = self.lock();
        told.retain(|key, _| inner.shown.contains_key(key));
        let is_untold = |(key, shown): &(&String, &Shown)| {
            told.get(*key).is_none_or(|(before, at)| {
                before.state != shown.state || (at.elapsed() >= seldom && before != *shown)
            })
        };
        let untold = inner.shown.iter().filter(is_untold);
        untold
            .map(|(key, shown)| (key.clone(), shown.clone()))
            .collect()
    }

    /// All, by the text of their id.
    pub fn all(&self) -> Vec<(String, Shown)> {
        let inner = self.lock();
        let all = inner.shown.iter();
        all.map(|(key, shown)| (key.clone(), shown.clone()))
            .collect()
    }

    /// How many are in each state.
    pub fn count(&self) -> [(&'static str, usize); 5] {
        let inner = self.lock();
        State::NAMES.map(|name| {
            let of = inner.shown.values();
            (name, of.filter(|shown| shown.state.name() == name).count())
        })
    }

    /// When the next of all is due.
    pub fn next(&self) -> Option<i64> {
        self.lock()
            .shown
            .values()
            .filter_map(|shown| shown.next)
            .min()
    }

    /// How long the job that was due first waits for its record.
    pub fn late_seconds(&self) -> f64 {
        let late = self.next().map_or(0, |next| now_millis() - next);
        late.max(0) as f64 / 1e3
    }

    /// How the schedules are.
    pub fn health(&self) -> Health {
        let (phase, end) = {
            let inner = self.lock();
            (inner.phase, inner.end.clone())
        };
        if let Some(end) = end {
            return Health::unhealthy(format!("schedules: {end}"));
        }
        let waits = self.waits.all();
        let told = match phase {
            // It has nothing else to do than to wait.
            Phase::Starting => waits.iter().find(|wait| wait.why.is_some()),
            _ => waits.iter().find(|wait| wait.is_noticed()),
        };
        match told {
            Some(wait) if wait.is_unhealthy() => {
                Health::unhealthy(format!("schedules: {}", wait.sentence()))
            }
            Some(wait) => Health::degraded(format!("schedules: {}", wait.sentence())),
            None => Health::Healthy,
        }
    }

    /// What they wait for.
    pub fn waiting(&self) -> Vec<Wait> {
        self.waits.all()
    }
}
