//! What a worker does: its jobs, its handlers, and what it waits for.

pub mod attempts;
pub mod line;
mod times;

pub use times::Times;

use super::values::{Flag, now_millis};
use attempts::Attempts;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// So many jobs are told apart; what others do is told as that of [`OTHERS`].
const MOST: usize = 1000;
pub const OTHERS: &str = "(others)";

/// Counts of one job.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Counts {
    /// Read, and not begun.
    pub waiting: usize,
    /// Running.
    pub active: usize,
    /// Failed, and to be tried again.
    pub parked: usize,
    pub completed: u64,
    /// For good.
    pub failed: u64,
    /// Attempts that were made again.
    pub retried: u64,
    /// From the change to the end of its job, the sum of all completed, in seconds.
    #[serde(rename = "secondsFromChange")]
    pub seconds: f64,
}

/// How a handler is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct HandlerState {
    /// The service or the program, without what may be secret.
    pub calls: String,
    /// Why nothing of it begins, or only one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Whether it is switched off.
    pub off: bool,
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    pub what: String,
    pub since_millis: i64,
}

/// All that is told.
#[derive(Debug, Default, Clone, Serialize)]
pub struct View {
    pub group: String,
    pub topics: Vec<String>,
    /// Partitions that this worker has.
    pub partitions: usize,
    /// Jobs that wait in them, also those that are not read yet, by topic.
    pub lag: BTreeMap<String, u64>,
    pub jobs: BTreeMap<String, Counts>,
    /// From the change to the end of its job, of all that are completed.
    #[serde(skip)]
    pub times: Times,
    pub handlers: BTreeMap<String, HandlerState>,
    /// By a name of its own.
    pub waits: BTreeMap<&'static str, Wait>,
}

/// Where a worker tells it.
#[derive(Debug)]
pub struct Board {
    /// What the other members of its group call it.
    pub instance: String,
    /// Where it says how it is.
    pub http: OnceLock<SocketAddr>,
    /// It is a member of its group.
    pub ready: Flag,
    /// Whether an operator has paused it.
    pub paused: watch::Sender<bool>,
    view: Mutex<View>,
    attempts: Mutex<Attempts>,
}

impl Board {
    pub fn new(group: &str, instance: String) -> Self {
        let view = View {
            group: group.to_owned(),
            ..View::default()
        };
        Self {
            instance,
            http: OnceLock::new(),
            ready: Flag::default(),
            paused: watch::Sender::new(false),
            view: Mutex::new(view),
            attempts: Mutex::default(),
        }
    }

    pub fn view(&self) -> View {
        self.change().clone()
    }

    /// The view, to be changed.
    pub fn change(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was tried.
    pub fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A word for it.
    pub fn state(&self) -> &'static str {
        match *self.paused.borrow() {
            true => "paused",
            false => "working",
        }
    }

    /// Says what is waited for; the first time counts.
    pub fn wait(&self, name: &'static str, what: impl Into<String>) {
        let what = what.into();
        let mut view = self.change();
        let since_millis = view
            .waits
            .get(name)
            .map_or_else(now_millis, |wait| wait.since_millis);
        view.waits.insert(name, Wait { what, since_millis });
    }

    /// It is waited for no more; whether it was.
    pub fn go_on(&self, name: &'static str) -> bool {
        self.change().waits.remove(name).is_some()
    }
}

impl View {
    pub fn job(&mut self, name: &str) -> &mut Counts {
        let is_known = self.jobs.contains_key(name) || self.jobs.len() < MOST;
        let name = if is_known { name } else { OTHERS };
        self.jobs.entry(name.to_owned()).or_default()
    }

    /// A job is done, so long after the change that it is about.
    pub fn completed(&mut self, job: &str, after: Option<Duration>) {
        let counts = self.job(job);
        counts.completed += 1;
        if let Some(after) = after {
            counts.seconds += after.as_secs_f64();
            self.times.add(after);
        }
    }

    /// Whether nothing of a handler may be carried out, or Kafka is waited for.
    pub fn problem(&self) -> Option<String> {
        let waits = self.waits.values().map(|wait| wait.what.clone());
        let held = self
            .handlers
            .iter()
            .filter_map(|(job, handler)| Some(format!("{job}: {}", handler.held.as_ref()?)));
        let all: Vec<_> = waits.chain(held).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
