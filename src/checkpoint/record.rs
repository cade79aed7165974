//! What a store holds under a stream's id.

use super::Claim;
use crate::change::position::Position;

/// What is stored for one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The stream id.
    pub stream: String,
    /// The database, or `*`.
    pub namespace: String,
    /// The replica set's or cluster's identity: a token of another source is refused.
    pub source: String,
    /// Fingerprint of the server-side filter and, readable, what it watches.
    pub filter: Filter,
    /// Which instance wrote it.
    pub instance: String,
    /// Counts the instances that have claimed the stream; a lower one is fenced.
    pub epoch: u64,
    /// From where to continue.
    pub position: Position,
    /// When it was written, in milliseconds since the Unix epoch.
    pub updated_at_millis: i64,
}

/// The filter a checkpoint was made under.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// A short hash: equal filters have equal fingerprints.
    pub fingerprint: String,
    /// The filter in words, for the warning that names what is new.
    pub summary: String,
}

/// A checkpoint, or a claim on a stream that has none yet (then `position` is `None`).
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub stream: String,
    pub namespace: String,
    pub source: String,
    pub filter: Filter,
    pub instance: String,
    pub epoch: u64,
    pub position: Option<Position>,
    pub updated_at_millis: i64,
}

impl Record {
    /// What is written at once when a stream is claimed, so that the instance it was taken from can
    /// say by whom. The position stays, and so does what it was made under: only who leads is new.
    pub fn claimed(previous: Option<&Record>, claim: &Claim) -> Self {
        match previous {
            Some(previous) => Self {
                instance: claim.instance.clone(),
                epoch: claim.epoch,
                updated_at_millis: now_millis(),
                ..previous.clone()
            },
            None => Self::without_position(claim),
        }
    }

    /// A claim and nothing else.
    pub fn without_position(claim: &Claim) -> Self {
        Self {
            stream: claim.stream.clone(),
            namespace: claim.namespace.clone(),
            source: claim.source.clone(),
            filter: claim.filter.clone(),
            instance: claim.instance.clone(),
            epoch: claim.epoch,
            position: None,
            updated_at_millis: now_millis(),
        }
    }

    /// The checkpoint, where there is a position.
    pub fn into_checkpoint(self) -> Option<Checkpoint> {
        Some(Checkpoint {
            position: self.position?,
            stream: self.stream,
            namespace: self.namespace,
            source: self.source,
            filter: self.filter,
            instance: self.instance,
            epoch: self.epoch,
            updated_at_millis: self.updated_at_millis,
        })
    }

    /// Whether this record was written under `claim`.
    pub fn is_of(&self, claim: &Claim) -> bool {
        self.epoch == claim.epoch && self.instance == claim.instance
    }
}

impl From<Checkpoint> for Record {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            stream: checkpoint.stream,
            namespace: checkpoint.namespace,
            source: checkpoint.source,
            filter: checkpoint.filter,
            instance: checkpoint.instance,
            epoch: checkpoint.epoch,
            position: Some(checkpoint.position),
            updated_at_millis: checkpoint.updated_at_millis,
        }
    }
}

pub(super) fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
