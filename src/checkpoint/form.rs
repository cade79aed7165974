//! The forms of a stored checkpoint, alike in every store.

use super::Record;
use crate::error::{Code, Error};

/// What a release must know to read a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// A token and a number.
    First,
    /// Beside them what is [extra](crate::change::extra::Extra).
    Second,
}

impl Form {
    const NEWEST: Self = Self::Second;

    /// The oldest form that holds all of a record.
    pub(super) fn of(record: &Record) -> Self {
        match &record.position {
            Some(position) if !position.extra.is_empty() => Self::Second,
            _ => Self::First,
        }
    }

    pub(super) fn version(self) -> u32 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }

    /// The form of a stored version. `what` names the checkpoint, for the sentence.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] for a form of a later release.
    pub(super) fn from_version(version: u64, what: &str) -> Result<Self, Error> {
        match version {
            0 | 1 => Ok(Self::First),
            2 => Ok(Self::Second),
            newer => Err(Error::new(
                Code::CheckpointFailed,
                format!(
                    "{what} has form {newer}, and this Tailwater knows forms up to {}: run the release that \
                     wrote it, or a newer one; to go back to this one, `tailwater token export` and \
                     `tailwater token reset` with that release, then `tailwater token import` with this one",
                    Self::NEWEST.version()
                ),
            )),
        }
    }
}
