//! What can go wrong when a checkpoint is stored, and the order that every store keeps.

use crate::change::position::Position;
use crate::error::{Code, Error};
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

/// What is to be written for `next`: never a position behind `committed`.
///
/// A token that sorts before the committed one is no place to resume from: servers send post-batch tokens
/// that go back. The committed one is kept, with the number of the next.
///
/// # Errors
/// [`CommitError::Failed`] for a number below the committed one.
pub(crate) fn admit(
    committed: Option<&Position>,
    next: &Position,
) -> Result<Position, CommitError> {
    let Some(committed) = committed else {
        return Ok(next.clone());
    };
    if next.seq < committed.seq {
        let detail = format!(
            "a checkpoint never moves back: its number {} is lower than {}",
            next.seq, committed.seq
        );
        return Err(CommitError::Failed(Error::new(
            Code::CheckpointFailed,
            detail,
        )));
    }
    if next.token.stream_order(&committed.token) != Some(Ordering::Less) {
        return Ok(next.clone());
    }
    tracing::debug!("a token that sorts before the committed one is not stored");
    Ok(Position {
        token: committed.token.clone(),
        cluster_time: committed.cluster_time,
        ..next.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::extra::Extra;
    use crate::change::position::{ResumeToken, Seq};

    fn at(data: &str, seq: u64) -> Position {
        Position {
            token: ResumeToken::from_data(data),
            seq: Seq(seq),
            time_millis: None,
            cluster_time: None,
            extra: Extra::default(),
        }
    }

    const EARLY: &str = "8265A1B2C3000000012B0229296E04";
    const LATE: &str = "8265A1B2C4000000012B0229296E04";

    #[test]
    fn a_position_behind_the_committed_one_is_never_written() {
        let committed = at(LATE, 10);
        let admitted = |position| admit(Some(&committed), &position);
        for number_behind in [at(LATE, 9), at("00FF", 9), at(EARLY, 9)] {
            assert!(matches!(
                admitted(number_behind),
                Err(CommitError::Failed(_))
            ));
        }
        assert_eq!(admitted(at(EARLY, 10)).unwrap(), committed);
        assert_eq!(admitted(at(EARLY, 11)).unwrap(), at(LATE, 11));
        for next in [at(LATE, 10), at("00FF", 11)] {
            assert_eq!(admitted(next.clone()).unwrap(), next);
        }
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
