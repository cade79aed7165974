//! Checkpoints: where a stream goes on after a stop.

use crate::position::Position;

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
    /// From where to go on.
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
