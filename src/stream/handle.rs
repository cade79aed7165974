//! One stream of the process: an actor's handle, and what becomes of the actor.

use super::actor::{self, Desired};
use super::shared::Shared;
use super::start;
use crate::config::StreamSpec;
use crate::error::{Code, Error};
use crate::panics::caught;
use crate::retry::Retry;
use crate::snapshot::desk::Desk;
use crate::source::Filter;
use crate::status::{Board, State};
use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// What is watched, as a checkpoint remembers it.
    pub filter: String,
    /// What is watched, in words.
    pub watches: String,
    pub board: Arc<Board>,
    /// Where its snapshots are asked for.
    pub desk: Arc<Desk>,
    desired: watch::Sender<Desired>,
    pub(super) life: watch::Sender<Life>,
    /// It could run here, as far as is known.
    pub(super) is_able: AtomicBool,
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
pub(super) enum Life {
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
    /// It has ended by itself, and has nothing more to do.
    Done,
    /// Another instance has claimed it.
    Fenced,
    /// Its last run did not end as it should.
    Ended(Error),
}

impl Handle {
    pub(super) fn new(spec: StreamSpec, board: Arc<Board>, changed: Arc<Notify>) -> Self {
        let filter = Filter::of(&spec);
        Self {
            filter: filter.identity().summary,
            watches: filter.in_words(),
            spec,
            board,
            desk: Arc::default(),
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
    pub(super) fn is_running(&self) -> bool {
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
    pub(super) fn start(self: &Arc<Self>, shared: &Shared, manner: Manner) {
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
    pub(super) fn stop(&self) {
        self.desired.send_if_modified(|desired| {
            let is_change = *desired != Desired::Stopped;
            *desired = Desired::Stopped;
            is_change
        });
    }

    /// Looks whether the stream could run here, again and again while it does not; runs nothing.
    pub(super) async fn look(self: Arc<Self>, shared: Shared) {
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
    pub(super) fn forget(&self, is_so: impl Fn(&Life) -> bool) -> bool {
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
                Arc::clone(&self.desk),
                desired.clone(),
            );
            let ended = caught("the stream", run.boxed()).await.flatten();
            let stopped = self.desired() == Desired::Stopped;
            let error = match ended {
                Ok(()) => {
                    self.enter(if stopped { Life::Idle } else { Life::Done });
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
