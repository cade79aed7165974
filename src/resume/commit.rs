//! What can go wrong when a checkpoint is stored, and the order that every store keeps.

use super::{Checkpoint, Claim};
use crate::error::{Code, Error};
use crate::position::Position;
use std::cmp::Ordering;

/// Why a checkpoint was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another instance has claimed the stream: stop.
    #[error("another instance{} has taken over this stream", named(by.as_deref()))]
    Fenced {
        /// Its name, where it was found.
        by: Option<String>,
    },
    /// It may succeed later: try again, within a bound. Whether it was stored may be unknown.
    #[error(transparent)]
    Transient(Error),
    /// Trying again does not help.
    #[error(transparent)]
    Failed(Error),
}

fn named(by: Option<&str>) -> String {
    by.map_or_else(String::new, |name| format!(" ({name})"))
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced { .. } => Error::new(
                Code::Fenced,
                format!("{error}; give each instance its own STREAM_ID, or run one of them"),
            ),
            CommitError::Transient(error) | CommitError::Failed(error) => error,
        }
    }
}

/// Refuses what must never be written: a checkpoint of another claim, and one behind `committed`.
pub(crate) fn check(
    claim: &Claim,
    committed: Option<&Position>,
    checkpoint: &Checkpoint,
) -> Result<(), CommitError> {
    if checkpoint.stream != claim.stream
        || checkpoint.epoch != claim.epoch
        || checkpoint.instance != claim.instance
    {
        return Err(CommitError::Failed(Error::new(
            Code::Internal,
            "this checkpoint belongs to another claim than the store's",
        )));
    }
    let Some(committed) = committed else {
        return Ok(());
    };
    let next = &checkpoint.position;
    if next.seq < committed.seq {
        return Err(backwards(&format!(
            "its number {} is lower than {}",
            next.seq, committed.seq
        )));
    }
    if next.token.stream_order(&committed.token) == Some(Ordering::Less) {
        return Err(backwards("its token sorts before the committed one"));
    }
    Ok(())
}

fn backwards(why: &str) -> CommitError {
    CommitError::Failed(Error::new(
        Code::CheckpointFailed,
        format!("a checkpoint never moves back: {why}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{ResumeToken, Seq};
    use crate::resume::Filter;

    fn claim() -> Claim {
        Claim {
            stream: "watcher:shop".into(),
            namespace: "shop".into(),
            source: "rs0".into(),
            filter: Filter::default(),
            instance: "one".into(),
            epoch: 4,
        }
    }

    fn at(data: &str, seq: u64) -> Position {
        Position {
            token: ResumeToken::from_data(data),
            seq: Seq(seq),
            time_millis: None,
            cluster_time: None,
        }
    }

    const EARLY: &str = "8265A1B2C3000000012B0229296E04";
    const LATE: &str = "8265A1B2C4000000012B0229296E04";

    #[test]
    fn a_position_behind_the_committed_one_is_refused() {
        let committed = at(LATE, 10);
        let refused = |position| check(&claim(), Some(&committed), &claim().checkpoint(position));
        assert!(matches!(
            refused(at(EARLY, 11)),
            Err(CommitError::Failed(_))
        ));
        assert!(matches!(refused(at(LATE, 9)), Err(CommitError::Failed(_))));
        assert!(matches!(
            refused(at("00FF", 9)),
            Err(CommitError::Failed(_))
        ));
        refused(at(LATE, 10)).unwrap();
        refused(at("00FF", 11)).unwrap();
    }

    #[test]
    fn a_checkpoint_of_another_claim_is_refused() {
        let mut other = claim().checkpoint(at(LATE, 1));
        other.epoch = 5;
        let error = Error::from(check(&claim(), None, &other).unwrap_err());
        assert_eq!(error.code, Code::Internal);
    }

    #[test]
    fn the_fenced_one_says_by_whom() {
        let by = |by: Option<&str>| {
            Error::from(CommitError::Fenced {
                by: by.map(Into::into),
            })
        };
        assert_eq!(by(None).code, Code::Fenced);
        assert!(by(Some("host-7")).detail.contains("(host-7)"));
    }
}
