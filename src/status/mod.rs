//! The board: what the tasks last saw, for the status line, the health endpoints and the metrics.

pub mod exposition;
pub mod health;
pub mod line;
pub mod listener_changes;
pub mod listeners;
pub mod live;
pub mod owner;
pub mod samples;
pub mod schedules;
pub mod snapshot;
pub mod stall;
mod values;
pub mod waiting;
pub mod worker;

pub use values::{Counter, Flag, Lasting, Note, Noted};

use crate::change::position::Position;
use crate::error::Error;
use crate::metrics::{Metrics, Registry};
use owner::Ownership;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use values::now_millis;
use waiting::{Awaited, Wait, Waits};

/// What keeps a snapshot from reading is nothing to speak of before it has lasted so long, in ms.
const SNAPSHOT_HICCUP: i64 = 10_000;

/// What the process is doing. One state at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting for servers, reading the checkpoint, opening the stream.
    Starting,
    /// `ENABLE_CHANGE_STREAMS=false`.
    Disabled,
    /// Another instance has the stream; this one could take it at once.
    Standby,
    /// No instance has the stream.
    Unowned,
    /// The stream is open.
    Running,
    /// The stream broke and is being set up again.
    Recovering,
    /// Stands still at its checkpoint, because an operator asked for it.
    Paused,
    /// Reading has stopped; waiting for the last acknowledgements.
    Draining,
    /// It cannot run, until somebody does something about it.
    Failed,
    Stopped,
}

impl State {
    pub const ALL: [Self; 10] = [
        Self::Starting,
        Self::Disabled,
        Self::Standby,
        Self::Unowned,
        Self::Running,
        Self::Recovering,
        Self::Paused,
        Self::Draining,
        Self::Failed,
        Self::Stopped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Disabled => "disabled",
            Self::Standby => "standby",
            Self::Unowned => "unowned",
            Self::Running => "running",
            Self::Recovering => "recovering",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the stream is not this instance's to run now.
    pub fn is_elsewhere(self) -> bool {
        matches!(self, Self::Standby | Self::Unowned)
    }

    /// Whether events are taken from the source in this state.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Recovering)
    }
}

/// Shared by all tasks of a stream; every value is what was last seen.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    started_millis: i64,
    /// The database, or `*`.
    pub namespace: String,
    /// Every line of the log that is about the stream is written within it.
    pub span: tracing::Span,
    state: Mutex<State>,
    /// The listeners of the stream; empty without `LISTENERS_COLLECTION`.
    pub listeners: Arc<listeners::Statuses>,
    /// The snapshot that runs, or the last one.
    pub snapshots: snapshot::Snapshots,
    /// `LISTENERS_COLLECTION` is set.
    pub has_listeners: Flag,
    /// `run --dry-run`: what is counted as delivered and stored went nowhere.
    pub dry_run: Flag,
    /// The last pause did not wait for all acknowledgements: some records come again.
    pub cut_short: Flag,
    /// The last call to MongoDB succeeded.
    pub mongo_connected: Flag,
    /// MongoDB refuses the user of a stream that was open: the credentials, or a privilege.
    pub mongo_refuses: Flag,
    /// A broker is connected.
    pub kafka_connected: Flag,
    /// The checkpoint, or its absence, was read.
    pub checkpoint_loaded: Flag,
    /// The server closes the change stream again and again, and no event comes.
    pub closed_again: Flag,
    /// The last attempts to store the checkpoint failed.
    pub checkpoint_failing: Flag,
    /// What is waited for now.
    pub waits: Waits,
    /// Records wait for their acknowledgement and none has come.
    pub unacknowledged: Lasting,
    /// The source is asked and has not answered.
    pub unanswered: Lasting,
    /// The last reply of the source was empty: nothing more to read now.
    pub caught_up: Flag,
    /// The last errors of MongoDB, Kafka and the checkpoint store.
    pub source_error: Note,
    pub sink_error: Note,
    pub checkpoint_error: Note,
    /// Why the stream cannot run.
    pub failure: Note,
    pub replies: Counter,
    /// Events that came from the stream.
    pub events: Counter,
    /// Events that no record was made of: filtered, or DDL without a topic.
    pub passed: Counter,
    /// Records handed to the producer and acknowledged.
    pub produced: Counter,
    pub acked: Counter,
    /// Records whose producer ended before they were acknowledged.
    abandoned: Counter,
    pub reconnects: Counter,
    pub skipped: Counter,
    pub dead_lettered: Counter,
    /// Times that history was lost and the stream went on behind the gap.
    pub gaps: Counter,
    /// Events that a stream opened again has sent a second time.
    pub went_back: Counter,
    /// Time of the last event read, ms since the epoch; 0 before the first.
    pub last_seen_millis: AtomicI64,
    /// The time of the event that is being worked on, ms since the epoch; 0 between replies.
    pub in_hand_millis: AtomicI64,
    /// Up to when the stream was read, by the last idle token, ms since the epoch; 0 before the first.
    pub idle_millis: AtomicI64,
    /// How old the last event was when it was read, in ms.
    late_millis: AtomicU64,
    /// What is counted and timed beyond what is here.
    pub metrics: Metrics,
    committed: Mutex<Option<Committed>>,
    /// Which instance has the stream; none where the instances share nothing.
    ownership: Mutex<Option<Ownership>>,
    /// Bits of the events a second of the last status interval; NaN before its end.
    rate: AtomicU64,
}

/// The last position stored.
#[derive(Debug, Clone)]
pub struct Committed {
    pub position: Position,
    pub at: Instant,
}

impl Board {
    /// Of the stream `name`, whose series go to `registry`.
    pub fn new(name: &str, namespace: &str, registry: &Arc<Registry>) -> Self {
        Self {
            started: Instant::now(),
            started_millis: now_millis(),
            namespace: namespace.to_owned(),
            listeners: Arc::default(),
            has_listeners: Flag::default(),
            snapshots: snapshot::Snapshots::default(),
            state: Mutex::new(State::Starting),
            dry_run: Flag::default(),
            cut_short: Flag::default(),
            mongo_connected: Flag::default(),
            mongo_refuses: Flag::default(),
            kafka_connected: Flag::default(),
            checkpoint_loaded: Flag::default(),
            closed_again: Flag::default(),
            checkpoint_failing: Flag::default(),
            waits: Waits::default(),
            unacknowledged: Lasting::default(),
            unanswered: Lasting::default(),
            caught_up: Flag::default(),
            source_error: Note::default(),
            sink_error: Note::default(),
            checkpoint_error: Note::default(),
            failure: Note::default(),
            replies: Counter::default(),
            events: Counter::default(),
            passed: Counter::default(),
            produced: Counter::default(),
            acked: Counter::default(),
            abandoned: Counter::default(),
            reconnects: Counter::default(),
            skipped: Counter::default(),
            dead_lettered: Counter::default(),
            gaps: Counter::default(),
            went_back: Counter::default(),
            last_seen_millis: AtomicI64::new(0),
            in_hand_millis: AtomicI64::new(0),
            idle_millis: AtomicI64::new(0),
            late_millis: AtomicU64::new(0),
            metrics: Metrics::new(registry, name),
            // At the highest level, so that no filter takes it from the lines that are shown.
            span: tracing::error_span!("stream", stream = name),
            committed: Mutex::new(None),
            ownership: Mutex::new(None),
            rate: AtomicU64::new(f64::NAN.to_bits()),
        }
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// When the process started, in ms since the Unix epoch.
    pub fn started_millis(&self) -> i64 {
        self.started_millis
    }

    pub fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the rows of a snapshot cannot be read, where that has lasted.
    pub fn snapshot_problem(&self) -> Option<String> {
        let problem = self.snapshots.problem()?;
        let lasts = now_millis().saturating_sub(problem.since) >= SNAPSHOT_HICCUP;
        lasts.then_some(problem.text)
    }

    /// Moves to a state; one log line for each change.
    pub fn enter(&self, next: State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != next {
            tracing::info!(from = state.name(), to = next.name(), "state");
            *state = next;
        }
    }

    /// The stream is not this instance's: what was seen of its last run here says nothing of it any more.
    pub fn leave_to_others(&self, state: State) {
        if !self.state().is_elsewhere() {
            *self
                .committed
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
            self.checkpoint_loaded.set(false);
            self.checkpoint_failing.set(false);
        }
        self.enter(state);
    }

    pub fn set_ownership(&self, ownership: Ownership) {
        *self
            .ownership
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(ownership);
    }

    /// Which instance has the stream; none where the instances share nothing.
    pub fn ownership(&self) -> Option<Ownership> {
        let ownership = self
            .ownership
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ownership.clone()
    }

    /// The stream cannot run now, and why.
    pub fn fail(&self, error: &Error) {
        self.failure
            .set(format!("{}: {}", error.code, error.detail));
        self.enter(State::Failed);
    }

    /// Whether the instance does its work now: cursor open, Kafka reachable, checkpoint loaded, and nothing
    /// waited for that it stands still for. One that should watch nothing has no more to do.
    pub fn is_ready(&self) -> bool {
        match self.state() {
            State::Disabled => true,
            // Whoever waits for it to be ready wants to stop the other one.
            State::Standby => {
                self.mongo_connected.get()
                    && self.kafka_connected.get()
                    && !self.waiting().iter().any(Wait::is_unhealthy)
            }
            State::Running => {
                self.mongo_connected.get()
                    && !self.mongo_refuses.get()
                    && self.kafka_connected.get()
                    && self.checkpoint_loaded.get()
                    && self.stands_still().is_none()
            }
            _ => false,
        }
    }

    /// Whether it is starting, and nothing is known to be in its way; or about to be taken by somebody.
    pub fn is_on_its_way(&self) -> bool {
        if self.state() == State::Unowned {
            return !self.waiting().iter().any(Wait::is_noticed);
        }
        self.state() == State::Starting
            && self.source_error.get().is_none()
            && self.sink_error.get().is_none()
            && self.checkpoint_error.get().is_none()
    }

    /// What is waited for now, named by whoever waits or seen by the stall detector, the oldest first.
    pub fn waiting(&self) -> Vec<Wait> {
        let (unacknowledged, unanswered) = (self.unacknowledged.get(), self.unanswered.get());
        let mut waits = self.waits.all();
        // Each question to MongoDB is short, also where none has an answer; but a start asks until it has one.
        let is_starting = self.state() == State::Starting;
        waits.retain(|wait| is_starting || wait.what != Awaited::MongoDb);
        let seen = [
            (Awaited::Acknowledgements, unacknowledged),
            (Awaited::MongoDb, unanswered),
        ];
        for (what, since) in seen {
            let is_named = waits.iter().any(|wait| wait.what == what);
            if let Some(since) = since.filter(|_| !is_named) {
                let why = None;
                waits.push(Wait { what, since, why });
            }
        }
        let mut waits: Vec<Wait> = waits
            .into_iter()
            .map(|wait| wait.counted_from(unacknowledged))
            .collect();
        waits.sort_by_key(|wait| wait.since.at);
        // Told once, from its beginning and with its reason, whoever knows them.
        let mut told: Vec<Wait> = Vec::with_capacity(waits.len());
        for wait in waits {
            match told.iter_mut().find(|earlier| earlier.what == wait.what) {
                Some(earlier) => earlier.why = earlier.why.take().or(wait.why),
                None => told.push(wait),
            }
        }
        told
    }

    /// Events a second: of the last status interval, or since the start before the first one's end.
    pub fn rate(&self) -> f64 {
        let rate = f64::from_bits(self.rate.load(Ordering::Relaxed));
        let rate = match rate.is_nan() {
            true => self.events.get() as f64 / self.uptime().as_secs_f64().max(1.0),
            false => rate,
        };
        (rate * 10.0).round() / 10.0
    }

    /// The last status interval is over.
    fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Records waiting for their acknowledgement.
    pub fn in_flight(&self) -> u64 {
        let resolved = self.acked.get() + self.abandoned.get();
        self.produced.get().saturating_sub(resolved)
    }

    /// Bytes of replies that were read ahead and of records that are not acknowledged.
    pub fn in_flight_bytes(&self) -> u64 {
        let (replies, records) = self
            .metrics
            .with_last(|last| (last.replies.upgrade(), last.records.upgrade()));
        let used = [replies, records].into_iter().flatten();
        used.map(|half| half.used() as u64).sum()
    }

    /// How far the checkpoint is from the oplog's end, where this instance has the stream and could read that.
    pub fn headroom(&self) -> Option<Duration> {
        let headroom = self.metrics.with_last(|last| last.headroom);
        // It is its owner's to tell.
        headroom.filter(|_| !self.state().is_elsewhere())
    }

    /// A producer has ended: nothing of it is on its way any more. What was not acknowledged is read again.
    pub fn abandon_in_flight(&self) {
        self.abandoned.add(self.in_flight());
    }

    pub fn committed(&self) -> Option<Committed> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn set_committed(&self, position: Position) {
        let committed = Committed {
            position,
            at: Instant::now(),
        };
        let mut last = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let moved = |last: &Committed| last.position.token != committed.position.token;
        if last.as_ref().is_some_and(moved) {
            self.waits.moved_on();
        }
        *last = Some(committed);
    }

    /// How far delivery is behind the change's own time; zero at rest. While something is waited for it is
    /// the age of the oldest change that is not delivered, or of the last position known where none is.
    pub fn lag(&self) -> Duration {
        if self.state().is_elsewhere() {
            return Duration::ZERO;
        }
        let in_hand = Some(self.in_hand_millis.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let oldest = [self.metrics.oldest_in_flight_millis(), in_hand];
        if let Some(oldest) = oldest.into_iter().flatten().min() {
            return since(oldest);
        }
        if self.in_flight() > 0 {
            return self.since_last_seen();
        }
        if self
            .waiting()
            .iter()
            .any(|wait| wait.stops_delivery() && wait.is_noticed())
        {
            let idle = self.idle_millis.load(Ordering::Relaxed);
            return since(idle.max(self.last_seen_millis.load(Ordering::Relaxed)));
        }
        if self.caught_up.get() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.late_millis.load(Ordering::Relaxed))
    }

    /// Notes how old the last event of a reply was when it was read.
    pub fn note_lateness(&self) {
        let late = u64::try_from(self.since_last_seen().as_millis()).unwrap_or(u64::MAX);
        self.late_millis.store(late, Ordering::Relaxed);
    }

    /// How long ago the last event that was read happened; zero before the first.
    fn since_last_seen(&self) -> Duration {
        since(self.last_seen_millis.load(Ordering::Relaxed))
    }
}

/// How long ago a time in ms since the Unix epoch was; zero for 0, which is no time.
fn since(millis: i64) -> Duration {
    let then = u64::try_from(millis).unwrap_or(0);
    if then == 0 {
        return Duration::ZERO;
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.saturating_sub(Duration::from_millis(then))
}

#[cfg(test)]
pub(crate) fn board() -> Board {
    Board::new("a:shop", "shop", &Arc::default())
}

#[cfg(test)]
mod tests;
