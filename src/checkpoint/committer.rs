//! Stores the watermark's position at most every `COMMIT_INTERVAL_MS`, and at the end.
//!
//! At least once, a [`Committer`] does that beside the pump; exactly once, the position is part of the
//! records' own transactions (`sink::transaction`). A [`Ledger`] is what either of them writes to.

use crate::change::position::Position;
use crate::checkpoint::kafka::Leader;
use crate::checkpoint::{CommitError, LAST_PAUSE, LAST_TRIES, Store};
use crate::config::Delivery;
use crate::error::{Code, Error, Policy};
use crate::flow::tracker::Tracker;
use crate::status::Board;
use crate::status::waiting::Awaited;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long checkpoints may fail before the process gives up. Until then events are delivered on, and
/// the instance is unhealthy; a crash would repeat what was delivered since the last good checkpoint.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The end of a stop whose last checkpoint takes too long. Whether it will have been stored or not, the
/// next start goes on from what is.
pub fn not_in_time() -> Error {
    Error::new(
        Code::CheckpointFailed,
        "the last checkpoint could not be stored within SHUTDOWN_TIMEOUT_MS; nothing is lost: what was \
         delivered since the one before comes again at the next start",
    )
}

/// Where the positions of a claimed stream are stored.
#[derive(Debug)]
pub enum Ledger {
    /// At least once: in a store, behind the records.
    Store(Store),
    /// Exactly once: in Kafka, together with the records.
    Transactions(Leader),
}

impl Ledger {
    /// The ledger of a stream that `store` has claimed.
    ///
    /// # Errors
    /// [`Code::Internal`] for exactly once without checkpoints in Kafka, which the configuration
    /// does not allow.
    pub async fn new(delivery: Delivery, store: Store) -> Result<Self, Error> {
        Ok(match delivery {
            Delivery::AtLeastOnce => Self::Store(store),
            Delivery::ExactlyOnce => Self::Transactions(store.hand_over().await?),
        })
    }

    /// The position that is known to be stored, where this can tell.
    pub fn committed(&self) -> Option<&Position> {
        match self {
            Self::Store(_) => None,
            Self::Transactions(leader) => leader.committed(),
        }
    }

    /// Lets go of the stream after a graceful stop.
    ///
    /// # Errors
    /// When a position that was held back cannot be stored.
    pub async fn close(self) -> Result<(), Error> {
        match self {
            Self::Store(store) => Ok(store.close().await?),
            // The last transaction is committed, and nothing else was held.
            Self::Transactions(_) => Ok(()),
        }
    }
}

/// Commits for one incarnation of the pipeline, and hands the store on to the next.
pub struct Committer {
    pub store: Store,
    pub tracker: Arc<Tracker>,
    pub board: Arc<Board>,
    pub interval: Duration,
    /// The newest position behind which all is acknowledged, stored or not.
    pub newest: Position,
    pub failing_since: Option<Instant>,
    /// Until then an overloaded store is left alone.
    pub rests_until: Option<Instant>,
}

impl Committer {
    /// Commits until `halt`, then once more: again for a moment where that fails.
    pub async fn run(mut self, halt: CancellationToken) -> (Self, Result<(), Error>) {
        loop {
            // Looked at before the commit: more may be acknowledged while one is being written.
            let is_last = tokio::select! {
                () = halt.cancelled() => true,
                () = tokio::time::sleep(self.interval) => false,
            };
            let began = Instant::now();
            if is_last {
                self.rests_until = None;
            }
            let mut result = self.commit().await;
            let goes_on = |failing: bool| failing && is_last && began.elapsed() < LAST_TRIES;
            while result.is_ok() && goes_on(self.failing_since.is_some()) {
                tokio::time::sleep(LAST_PAUSE).await;
                result = self.commit().await;
            }
            if is_last || result.is_err() {
                return (self, result);
            }
        }
    }

    /// Stores the newest position, if there is one that is not stored yet.
    ///
    /// # Errors
    /// [`Code::Fenced`] when another instance has the stream; [`Code::CheckpointFailed`] when the store
    /// refuses for good or has failed for longer than [`PATIENCE`].
    pub async fn commit(&mut self) -> Result<(), Error> {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let Some(committable) = self.tracker.take_committable() else {
            return Ok(());
        };
        let position = committable.position().clone();
        self.newest = position.clone();
        let began = Instant::now();
        let checkpoint = self.store.checkpoint(position.clone());
        let commit = self.store.commit(&checkpoint);
        let stored = self.board.waits.on(Awaited::Checkpoint, commit).await;
        self.board
            .metrics
            .checkpoint(stored.is_ok(), began.elapsed());
        match stored {
            Ok(()) => {
                if let Some(since) = self.failing_since.take() {
                    tracing::info!(after = ?since.elapsed(), "checkpoints are stored again");
                }
                self.board.checkpoint_failing.set(false);
                self.board.set_committed(position);
                Ok(())
            }
            Err(CommitError::Transient(error)) => {
                self.tracker.put_back(committable);
                self.rests_until = match error.policy {
                    Policy::RetrySlowly(rest) => Some(Instant::now() + rest),
                    _ => None,
                };
                let since = *self.failing_since.get_or_insert_with(|| {
                    tracing::warn!(%error, "the checkpoint cannot be stored; trying again");
                    Instant::now()
                });
                self.board.checkpoint_failing.set(true);
                self.board.checkpoint_error.set(error.to_string());
                if since.elapsed() < PATIENCE {
                    return Ok(());
                }
                Err(Error::new(
                    Code::CheckpointFailed,
                    format!(
                        "no checkpoint could be stored for {} s: {error}",
                        PATIENCE.as_secs()
                    ),
                ))
            }
            Err(error) => Err(error.into()),
        }
    }
}
