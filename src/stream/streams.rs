//! The streams of a process: each is an actor with a handle, and the end of one is not the end of another.

use super::actor::{self, Desired};
use super::shared::Shared;
use super::start;
use crate::config::StreamSpec;
use crate::error::{Code, Error};
use crate::panics::caught;
use crate::retry::Retry;
use crate::source::Filter;
use crate::status::health::Health;
use crate::status::{Board, State};
use futures_util::FutureExt;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tracing::Instrument;

/// The pauses before a stream that failed with something transient is started again: from the first on they
/// double up to 30 s.
const RESTART: Retry = Retry {
    first: Duration::from_secs(5),
    most: 0,
};

/// How often an instance that stands by looks whether it could still take a stream.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// A stream that ran for so long has recovered from what ended it the last time.
const RECOVERED: Duration = Duration::from_secs(300);

/// One stream of the process, whoever runs it and however it is.
#[derive(Debug)]
pub struct Handle {
    pub spec: StreamSpec,
    /// What is watched, in words.
    pub filter: String,
    pub board: Arc<Board>,
    desired: watch::Sender<Desired>,
    life: watch::Sender<Life>,
    /// It could run here, as far as is known.
    is_able: AtomicBool,
    /// Wakes the task that looks whether it could run here.
    look_again: Notify,
    /// Told of each change of `life`, and when the checks have passed.
    changed: Arc<Notify>,
}

/// How the streams of the process are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// It is the only stream, and the process ends with it.
    pub is_alone: bool,
    /// Other instances run the streams too: one that is fenced is theirs.
    pub is_shared: bool,
}

/// Where the life of a stream's task is.
#[derive(Debug, Clone, Default)]
enum Life {
    /// No task has been started, or the last one has been stopped.
    #[default]
    Idle,
    Running,
    /// It cannot run, until somebody tells it to try again.
    Failed(Error),
    /// It could not run, as far as was seen.
    Unable(Error),
    /// It was the only one, and the process ends with it.
    Over(Error),
    /// Another instance has claimed it.
    Fenced,
    /// Its last run did not end as it should.
    Ended(Error),
}

impl Handle {
    fn new(spec: StreamSpec, board: Arc<Board>, changed: Arc<Notify>) -> Self {
        Self {
            filter: Filter::of(&spec).identity().summary,
            spec,
            board,
            desired: watch::Sender::new(Desired::Run),
            life: watch::Sender::new(Life::Idle),
            is_able: AtomicBool::new(false),
            look_again: Notify::new(),
            changed,
        }
    }

    /// What is wanted of it now.
    fn desired(&self) -> Desired {
        *self.desired.borrow()
    }

    fn enter(&self, life: Life) {
        self.life.send_replace(life);
        self.changed.notify_one();
    }

    /// Whether a task runs it, or drains it, or waits to try it again.
    fn is_running(&self) -> bool {
        matches!(*self.life.borrow(), Life::Running | Life::Failed(_))
    }

    /// Lets it run or stand still; a failed stream that should run tries again. Whether that is a change.
    pub fn set_paused(&self, is_paused: bool) -> bool {
        let wanted = match is_paused {
            true => Desired::Paused,
            false => Desired::Run,
        };
        let has_failed = matches!(*self.life.borrow(), Life::Failed(_));
        self.desired.send_if_modified(|desired| {
            let is_change = *desired != Desired::Stopped && *desired != wanted;
            if is_change {
                *desired = wanted;
            }
            is_change || (has_failed && wanted == Desired::Run)
        })
    }

    /// Starts the stream, unless it runs. It stands still if it was told to before.
    fn start(self: &Arc<Self>, shared: &Shared, manner: Manner) {
        let is_started = self.life.send_if_modified(|life| {
            let is_idle = matches!(life, Life::Idle);
            if is_idle {
                *life = Life::Running;
            }
            is_idle
        });
        if !is_started {
            return;
        }
        self.desired.send_if_modified(|desired| {
            let is_stopped = *desired == Desired::Stopped;
            if is_stopped {
                *desired = Desired::Run;
            }
            is_stopped
        });
        let span = self.board.span.clone();
        let handle = Arc::clone(self);
        let live = Arc::clone(self).live(shared.clone(), manner);
        let live = async move {
            live.await;
            handle.look_again.notify_one();
        };
        tokio::spawn(live.instrument(span));
    }

    /// Lets it drain, commit and close.
    fn stop(&self) {
        self.desired.send_if_modified(|desired| {
            let is_change = *desired != Desired::Stopped;
            *desired = Desired::Stopped;
            is_change
        });
    }

    /// Looks whether the stream could run here, again and again while it does not; runs nothing.
    async fn look(self: Arc<Self>, shared: Shared) {
        let mut delays = RESTART.delays();
        loop {
            let look = start::look(&self.spec, &shared, &self.board);
            let looked = caught("the look at a stream", look.boxed()).await.flatten();
            let error = looked.err();
            let is_noted = self.note_look(error.as_ref());
            let pause = match &error {
                None => {
                    delays = RESTART.delays();
                    Some(LOOK_AGAIN)
                }
                Some(error) => delays.next().filter(|_| error.code.may_pass()),
            };
            if let Some(error) = error.filter(|_| is_noted) {
                self.say(&error);
            }
            tokio::select! {
                () = self.look_again.notified() => {}
                () = sleep(pause.filter(|_| is_noted)) => {}
            }
        }
    }

    /// Takes note of what a look has found, unless the stream runs by now; whether it was noted.
    fn note_look(&self, error: Option<&Error>) -> bool {
        let is_noted = self.life.send_if_modified(|life| {
            if !matches!(life, Life::Idle | Life::Unable(_)) {
                return false;
            }
            self.is_able.store(error.is_none(), Ordering::Relaxed);
            match error {
                Some(error) => {
                    self.board.fail(error);
                    *life = Life::Unable(error.clone());
                }
                None => {
                    if matches!(self.board.state(), State::Starting | State::Failed) {
                        self.board.enter(State::Unowned);
                    }
                    *life = Life::Idle;
                }
            }
            true
        });
        self.changed.notify_one();
        is_noted
    }

    /// Makes it idle where its task has ended so; whether it had.
    fn forget(&self, is_so: impl Fn(&Life) -> bool) -> bool {
        let is_forgotten = self.life.send_if_modified(|life| {
            let is_so = is_so(life);
            if is_so {
                *life = Life::Idle;
            }
            is_so
        });
        if is_forgotten {
            self.look_again.notify_one();
        }
        is_forgotten
    }

    /// Runs the stream until it is stopped. Where it is not alone, it outlives its faults.
    async fn live(self: Arc<Self>, shared: Shared, manner: Manner) {
        let mut desired = self.desired.subscribe();
        let mut delays = RESTART.delays();
        loop {
            let began = Instant::now();
            let run = actor::run(
                self.spec.clone(),
                shared.clone(),
                Arc::clone(&self.board),
                desired.clone(),
            );
            let ended = caught("the stream", run.boxed()).await.flatten();
            let stopped = self.desired() == Desired::Stopped;
            let error = match ended {
                Ok(()) => {
                    self.enter(Life::Idle);
                    return;
                }
                Err(error) if stopped => {
                    self.say(&error);
                    self.enter(Life::Ended(error));
                    return;
                }
                Err(error) if manner.is_shared && error.code == Code::Fenced => {
                    tracing::warn!(
                        code = error.code.name(),
                        "{error}; it is not run here any more"
                    );
                    self.enter(Life::Fenced);
                    return;
                }
                Err(error) => error,
            };
            if manner.is_alone {
                self.enter(Life::Over(error));
                return;
            }
            self.say(&error);
            self.board.fail(&error);
            if began.elapsed() >= RECOVERED {
                delays = RESTART.delays();
            }
            let pause = delays.next().filter(|_| error.code.may_pass());
            if pause.is_none() {
                self.enter(Life::Failed(error.clone()));
            }
            if *desired.borrow_and_update() != Desired::Stopped {
                tokio::select! {
                    // The sender is in `self`.
                    _ = desired.changed() => {}
                    () = sleep(pause) => tracing::info!("starting the stream again"),
                }
            }
            if self.desired() == Desired::Stopped {
                self.enter(Life::Ended(error));
                return;
            }
            self.enter(Life::Running);
        }
    }

    fn say(&self, error: &Error) {
        let cause = error.source.as_ref().map(ToString::to_string);
        tracing::error!(code = error.code.name(), cause, "{error}");
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// All streams that are configured, in their order.
#[derive(Debug, Default)]
pub struct Streams {
    handles: RwLock<Vec<Arc<Handle>>>,
    changed: Arc<Notify>,
}

impl Streams {
    /// Takes a stream up, without starting it.
    pub fn add(&self, spec: StreamSpec, board: Arc<Board>) {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::clone(&self.changed);
        handles.push(Arc::new(Handle::new(spec, board, changed)));
    }

    pub fn all(&self) -> Vec<Arc<Handle>> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.clone()
    }

    /// Moves all of them to a state.
    pub fn enter(&self, state: State) {
        for handle in self.all() {
            let board = &handle.board;
            board.span.in_scope(|| board.enter(state));
        }
    }

    pub fn boards(&self) -> Vec<Arc<Board>> {
        self.all()
            .iter()
            .map(|handle| Arc::clone(&handle.board))
            .collect()
    }

    /// What the process is doing: of several streams, what those do that come farthest.
    pub fn state(&self) -> State {
        let states: Vec<_> = self.boards().iter().map(|board| board.state()).collect();
        let farthest = [
            State::Running,
            State::Recovering,
            State::Starting,
            State::Draining,
            State::Paused,
            State::Standby,
            State::Unowned,
            State::Failed,
            State::Stopped,
        ];
        let is_there = |state: &State| states.contains(state);
        farthest
            .into_iter()
            .find(is_there)
            .unwrap_or(State::Disabled)
    }

    /// Whether the process does its work: a stream does, and none is still starting without having said what
    /// it waits for.
    pub fn is_ready(&self) -> bool {
        let boards = self.boards();
        boards.iter().any(|board| board.is_ready())
            && !boards.iter().any(|board| board.is_on_its_way())
    }

    /// How the process is. It is unhealthy when no stream does its work: as long as one does, a restart
    /// would only disturb that one.
    pub fn health(&self) -> Health {
        let handles = self.all();
        let told: Vec<_> = handles
            .iter()
            .map(|handle| (handle.spec.name(), handle.board.health()))
            .collect();
        let of = told.len();
        let unhealthy = told
            .iter()
            .filter(|(_, h)| matches!(h, Health::Unhealthy(_)));
        let degraded = told
            .iter()
            .filter(|(_, h)| matches!(h, Health::Degraded(_)));
        let (bad, limping): (Vec<_>, Vec<_>) = (unhealthy.collect(), degraded.collect());
        let (word, those) = match bad.is_empty() {
            false => ("unhealthy", &bad),
            true => ("degraded", &limping),
        };
        let Some((name, health)) = those.first() else {
            return Health::Healthy;
        };
        let reason = health.reason().unwrap_or_default();
        let said = format!("{} of {of} streams {word}; {name}: {reason}", those.len());
        match bad.len() == of {
            true => Health::unhealthy(said),
            false => Health::degraded(said),
        }
    }

    /// The stream with this id or name.
    pub fn get(&self, name: &str) -> Option<Arc<Handle>> {
        self.all()
            .into_iter()
            .find(|handle| handle.spec.is_called(name))
    }

    /// Looks whether the streams could run here, without running one. [`changed`](Self::changed) tells of
    /// each outcome.
    pub fn look_at_all(&self, shared: &Shared) {
        for handle in self.all() {
            let span = handle.board.span.clone();
            tokio::spawn(handle.look(shared.clone()).instrument(span));
        }
    }

    /// The streams that could run here, as far as they have been looked at.
    pub fn able(&self) -> BTreeSet<String> {
        let handles = self.all().into_iter();
        let able = handles.filter(|handle| handle.is_able.load(Ordering::Relaxed));
        able.map(|handle| handle.spec.id.clone()).collect()
    }

    /// Whether it is known of each stream if it could run here.
    pub fn is_each_looked_at(&self) -> bool {
        let is_known = |handle: &Arc<Handle>| {
            handle.is_able.load(Ordering::Relaxed)
                || matches!(*handle.life.borrow(), Life::Unable(_))
        };
        self.all().iter().all(is_known)
    }

    /// Waits for the next change: a stream has ended, has failed, or could run now. One that came before is
    /// not missed, by the one who waits.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Starts and stops streams, until those run that are wanted.
    pub fn reconcile(&self, wanted: &BTreeSet<String>, shared: &Shared, manner: Manner) {
        for handle in self.all() {
            match wanted.contains(&handle.spec.id) {
                true => handle.start(shared, manner),
                false if handle.is_running() => handle.stop(),
                false => {}
            }
        }
    }

    /// The streams that run or still drain.
    pub fn running(&self) -> BTreeSet<String> {
        let handles = self.all().into_iter();
        let running = handles.filter(|handle| handle.is_running());
        running.map(|handle| handle.spec.id.clone()).collect()
    }

    /// Takes note of the streams that were fenced since it was last asked: they can be started again.
    pub fn take_fenced(&self) -> Vec<String> {
        let handles = self.all().into_iter();
        let fenced = handles.filter(|handle| handle.forget(|life| matches!(life, Life::Fenced)));
        fenced.map(|handle| handle.spec.id.clone()).collect()
    }

    /// Lets streams be started again that have ended here, as they should or not: they are another instance's,
    /// and what was not committed was read again by that one. Looks at each whether it could be taken back.
    pub fn forget_ended(&self) {
        for handle in self.all() {
            handle.forget(|life| matches!(life, Life::Ended(_)));
        }
    }

    /// Whether no stream is left that can run.
    pub fn none_can_run(&self) -> bool {
        let failed =
            |life: &Life| matches!(life, Life::Failed(_) | Life::Unable(_) | Life::Over(_));
        self.all()
            .iter()
            .all(|handle| failed(&handle.life.borrow()))
    }

    /// Drains, commits and closes all streams.
    ///
    /// # Errors
    /// How the first of them ended that did not end as it should, or had failed before.
    pub async fn stop_all(&self) -> Result<(), Error> {
        let handles = self.all();
        for handle in &handles {
            handle.stop();
        }
        let mut first = Ok(());
        for handle in handles {
            let mut life = handle.life.subscribe();
            // The sender is in `handle`.
            let _ = life.wait_for(|life| !matches!(life, Life::Running)).await;
            let ended = match &*life.borrow() {
                Life::Failed(error)
                | Life::Unable(error)
                | Life::Over(error)
                | Life::Ended(error) => Some(error.clone()),
                Life::Idle | Life::Running | Life::Fenced => None,
            };
            if let (Ok(()), Some(error)) = (&first, ended) {
                first = Err(error);
            }
        }
        first
    }
}
