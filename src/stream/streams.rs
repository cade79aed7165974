//! The streams of a process: each is an actor with a handle, and the end of one is not the end of another.

pub use super::handle::{Handle, Manner};

use super::handle::Life;
use super::shared::Shared;
use crate::config::StreamSpec;
use crate::error::Error;
use crate::status::health::Health;
use crate::status::{Board, State};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;
use tracing::Instrument;

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
        let failed = |life: &Life| {
            matches!(
                life,
                Life::Failed(_) | Life::Unable(_) | Life::Over(_) | Life::Done
            )
        };
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
                Life::Idle | Life::Running | Life::Fenced | Life::Done => None,
            };
            if let (Ok(()), Some(error)) = (&first, ended) {
                first = Err(error);
            }
        }
        first
    }
}
