//! Where the stream stands after an incarnation: what is stored, and what may be written from there on.

use super::panicked;
use super::tasks::Committed;
use crate::change::position::Position;
use crate::checkpoint::committer::{self, Checkpoints};
use crate::checkpoint::kafka::Leader;
use crate::error::Error;
use crate::sink::producer::Faults;

/// Where the stream stands after its producer and its committer have ended.
pub(super) struct Settled {
    pub(super) checkpoints: Checkpoints,
    pub(super) position: Position,
    pub(super) is_stored: bool,
    /// Why checkpoints can no longer be written.
    pub(super) failed: Option<Error>,
}

impl Settled {
    pub(super) fn of(
        leader: Option<Leader>,
        committed: Option<Committed>,
        faults: &Faults,
        stored_before: Option<Position>,
        position: Position,
    ) -> Result<Self, Error> {
        match (leader, committed) {
            (Some(mut leader), _) => {
                if faults.fenced {
                    leader.doubt();
                }
                let checkpoints = Checkpoints::Transactions(leader);
                let stored = stored_since(&checkpoints, stored_before.as_ref());
                Ok(Self {
                    position: stored.unwrap_or(position),
                    checkpoints,
                    is_stored: true,
                    failed: None,
                })
            }
            (None, Some(ended)) => {
                let (committer, stored) = ended.map_err(|error| panicked("commit", error))?;
                Ok(Self {
                    is_stored: committer.failing_since.is_none(),
                    checkpoints: Checkpoints::Store(committer.store),
                    position: committer.newest,
                    failed: stored.err(),
                })
            }
            (None, None) => Err(committer::not_in_time()),
        }
    }
}

/// The position that a transaction has stored, if it is not the one known `before`.
pub(super) fn stored_since(
    checkpoints: &Checkpoints,
    before: Option<&Position>,
) -> Option<Position> {
    let committed = checkpoints.committed();
    committed.filter(|now| Some(*now) != before).cloned()
}
