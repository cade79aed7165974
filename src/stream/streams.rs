//! The streams of a process: each is an actor with a handle, and the end of one is not the end of another.

use super::actor::{self, Desired};
use super::shared::Shared;
use crate::config::StreamSpec;
use crate::error::Error;
use crate::panics::caught;
use crate::retry::Retry;
use crate::source::Filter;
use crate::status::health::Health;
use crate::status::{Board, State};
use futures_util::FutureExt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::Instrument;

/// The pauses before a stream that failed with something transient is started again: from the first on they
/// double up to 30 s.
const RESTART: Retry = Retry {
    first: Duration::from_secs(5),
    most: 0,
};

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
    /// Its last run did not end as it should.
    Ended(Error),
}

impl Handle {
    fn new(spec: StreamSpec, board: Arc<Board>) -> Self {
        Self {
            filter: Filter::of(&spec).identity().summary,
            spec,
            board,
            desired: watch::Sender::new(Desired::Run),
            life: watch::Sender::new(Life::Idle),
        }
    }

    /// What is wanted of it now.
    fn desired(&self) -> Desired {
        *self.desired.borrow()
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

    /// Runs the stream until it is stopped. Where it is not `alone`, it outlives its faults.
    async fn live(self: Arc<Self>, shared: Shared, alone: bool) {
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
                    self.life.send_replace(Life::Idle);
                    return;
                }
                Err(error) if stopped => {
                    self.say(&error);
                    self.life.send_replace(Life::Ended(error));
                    return;
                }
                Err(error) => error,
            };
            if alone {
                self.life.send_replace(Life::Failed(error));
                return;
            }
            self.say(&error);
            self.board.fail(&error);
            if began.elapsed() >= RECOVERED {
                delays = RESTART.delays();
            }
            let pause = delays.next().filter(|_| error.code.may_pass());
            if pause.is_none() {
                self.life.send_replace(Life::Failed(error.clone()));
            }
            if *desired.borrow_and_update() != Desired::Stopped {
                tokio::select! {
                    // The sender is in `self`.
                    _ = desired.changed() => {}
                    () = sleep(pause) => tracing::info!("starting the stream again"),
                }
            }
            if self.desired() == Desired::Stopped {
                self.life.send_replace(Life::Ended(error));
                return;
            }
            self.life.send_replace(Life::Running);
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
}

impl Streams {
    /// Takes a stream up, without starting it.
    pub fn add(&self, spec: StreamSpec, board: Arc<Board>) {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        handles.push(Arc::new(Handle::new(spec, board)));
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

    /// Starts every stream.
    pub fn start_all(&self, shared: &Shared) {
        let handles = self.all();
        let alone = handles.len() == 1;
        for handle in handles {
            handle.life.send_replace(Life::Running);
            let span = handle.board.span.clone();
            tokio::spawn(handle.live(shared.clone(), alone).instrument(span));
        }
    }

    /// Waits until no stream is left that can run.
    pub async fn none_can_run(&self) {
        let mut lives: Vec<_> = self.all().iter().map(|h| h.life.subscribe()).collect();
        let has_failed =
            |life: &mut watch::Receiver<Life>| matches!(*life.borrow_and_update(), Life::Failed(_));
        // All of them at one time: one that had failed may run again.
        while !lives.iter_mut().all(has_failed) {
            let changes = lives.iter_mut().map(|life| Box::pin(life.changed()));
            futures_util::future::select_all(changes).await.0.ok();
        }
    }

    /// Drains, commits and closes all streams.
    ///
    /// # Errors
    /// How the first of them ended that did not end as it should, or had failed before.
    pub async fn stop_all(&self) -> Result<(), Error> {
        let handles = self.all();
        for handle in &handles {
            handle.desired.send_replace(Desired::Stopped);
        }
        let mut first = Ok(());
        for handle in handles {
            let mut life = handle.life.subscribe();
            // The sender is in `handle`.
            let _ = life.wait_for(|life| !matches!(life, Life::Running)).await;
            let ended = match &*life.borrow() {
                Life::Failed(error) | Life::Ended(error) => Some(error.clone()),
                Life::Idle | Life::Running => None,
            };
            if let (Ok(()), Some(error)) = (&first, ended) {
                first = Err(error);
            }
        }
        first
    }
}
