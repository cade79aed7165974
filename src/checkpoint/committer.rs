//! Stores the watermark's position every `COMMIT_INTERVAL_MS`, when rows of a snapshot wait for it, and at the end.
//!
//! At least once, a [`Committer`] does that beside the pump; exactly once, the position is part of the
//! records' own transactions (`sink::transaction`). A [`Checkpoints`] is what either of them writes to.

use crate::change::position::Position;
use crate::checkpoint::kafka::Leader;
use crate::checkpoint::{CommitError, LAST_PAUSE, LAST_TRIES, RESUMES, Store};
use crate::config::Delivery;
use crate::error::{Code, Error, Policy};
use crate::flow::tracker::Tracker;
use crate::flow::watermark::Committable;
use crate::status::Board;
use crate::status::waiting::Awaited;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long checkpoints may fail before the process gives up. Until then events are delivered on, and
/// the instance is unhealthy; a crash would repeat what was delivered since the last good checkpoint.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How long it may take to write a checkpoint again that is gone.
const SECURING: Duration = Duration::from_secs(5);

/// How long a checkpoint that is being written when a stop begins may still take.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The end of a stop whose last checkpoint takes too long. Whether it will have been stored or not, the
/// next start resumes from what is.
pub fn not_in_time() -> Error {
    Error::new(
        Code::CheckpointFailed,
        format!("the last checkpoint could not be stored within SHUTDOWN_TIMEOUT_MS; {RESUMES}"),
    )
}

/// Where the positions of a claimed stream are stored.
#[derive(Debug)]
pub enum Checkpoints {
    /// At least once: in a store, behind the records.
    Store(Store),
    /// Exactly once: in Kafka, together with the records.
    Transactions(Leader),
}

impl Checkpoints {
    /// The checkpoints of a stream that `store` has claimed.
    ///
    /// # Errors
    /// [`Code::Internal`] for exactly once without checkpoints in Kafka, which the configuration
    /// does not allow.
    pub fn new(delivery: Delivery, store: Store) -> Result<Self, Error> {
        let mut store = store;
        Ok(match delivery {
            Delivery::AtLeastOnce => {
                store.keep();
                Self::Store(store)
            }
            Delivery::ExactlyOnce => Self::Transactions(store.hand_over()?),
        })
    }

    /// The position that is known to be stored, where this can tell.
    pub fn committed(&self) -> Option<&Position> {
        match self {
            Self::Store(_) => None,
            Self::Transactions(leader) => leader.committed(),
        }
    }

    /// Where it is stored, for people.
    fn place(&self) -> String {
        match self {
            Self::Store(store) => store.place(),
            Self::Transactions(leader) => format!("Kafka topic {}", leader.topic()),
        }
    }

    /// Makes sure at an end that the next start finds the newest position: whoever deletes the checkpoint of a
    /// stream at rest is noticed by nothing else. `is_in_doubt` where what kept records back may have taken
    /// the checkpoint as well.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] when the checkpoint is gone, or is not known to be there although it is in
    /// doubt; [`Code::Fenced`] when another instance has the stream.
    pub async fn secure(&mut self, is_in_doubt: bool) -> Result<(), Error> {
        let is_gone = match self {
            Self::Store(store) => store.is_gone().await,
            Self::Transactions(leader) => leader.is_gone().await,
        };
        let securing = async {
            match self {
                Self::Store(store) if is_gone => store.restore().await,
                Self::Store(_) => Ok(()),
                Self::Transactions(leader) if is_gone || is_in_doubt || leader.is_removed() => {
                    leader.secure().await
                }
                Self::Transactions(_) => Ok(()),
            }
        };
        let problem = match tokio::time::timeout(SECURING, securing).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error @ CommitError::Fenced { .. })) => return Err(error.into()),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {} s", SECURING.as_secs()),
        };
        let place = self.place();
        let sentence = match is_gone {
            true => format!(
                "the checkpoint is no longer in {place} and could not be written again: {problem}; without it \
                 the next start is a first start: `tailwater token set` or START_AT says from where to read"
            ),
            false => format!(
                "it is not known whether the checkpoint is still in {place}: {problem}; before the next start \
                 see with `tailwater token show` that it is there"
            ),
        };
        Err(Error::new(Code::CheckpointFailed, sentence))
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
    /// What is being stored.
    pub in_hand: Option<Committable>,
    pub failing_since: Option<Instant>,
    /// Until then an overloaded store is left alone.
    pub rests_until: Option<Instant>,
}

impl Committer {
    /// Commits until `halt`, then once more: again for a moment where that fails.
    pub async fn run(mut self, halt: CancellationToken) -> (Self, Result<(), Error>) {
        let mut is_slow = false;
        // Once it is known, no attempt is given up any more.
        let mut hopeless = std::pin::pin!(self.store.hopeless());
        loop {
            // Looked at before the commit: more may be acknowledged while one is being written.
            let is_last = tokio::select! {
                () = halt.cancelled() => true,
                () = tokio::time::sleep(self.interval) => false,
                () = self.tracker.hurried() => false,
            };
            let began = Instant::now();
            let is_tried_first = is_last && !is_slow && self.store.was_there();
            if is_last {
                self.rests_until = None;
            }
            if is_last && !is_tried_first {
                // A write to a topic that is gone would wait for it: known to be gone, it is made again.
                self.store.is_gone().await;
            }
            // Whoever writes to a topic that was deleted waits for it longer than a stop may take. One that is only
            // slow is waited for: without its producer the next attempt would be slower still.
            let overdue = async {
                halt.cancelled().await;
                tokio::time::sleep(UNDER_WAY).await;
                hopeless.as_mut().await;
            };
            let committed = tokio::select! {
                result = self.commit() => Some(result),
                () = overdue, if !is_last || is_tried_first => None,
            };
            let Some(mut result) = committed else {
                is_slow = true;
                // Trying the same again is safe, whatever became of this attempt.
                if let Some(committable) = self.in_hand.take() {
                    self.tracker.put_back(committable);
                }
                continue;
            };
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
        let commit = self.store.commit(self.in_hand.insert(committable));
        let stored = self.board.waits.on(Awaited::Checkpoint, commit).await;
        self.board
            .metrics
            .checkpoint(stored.is_ok(), began.elapsed());
        let in_hand = self.in_hand.take();
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
                if let Some(committable) = in_hand {
                    self.tracker.put_back(committable);
                }
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
