//! Snapshots: what was there before the stream.

use super::patterns::covers;
use crate::change::namespace::Namespace;
use bson::Document;
use std::collections::BTreeMap;

/// `SNAPSHOT` and what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub mode: SnapshotMode,
    /// `SNAPSHOT_COLLECTIONS`: patterns of the watched collections that it is of; empty for all.
    pub collections: Vec<String>,
    /// `SNAPSHOT_FILTER`: by collection, the query that its rows match.
    pub filters: BTreeMap<String, Document>,
    /// Whether the two name collections as `database.collection`.
    pub is_qualified: bool,
    /// `SNAPSHOT_PARALLELISM`: how many queries run at a time; half as many while the stream has changes.
    pub parallelism: usize,
    /// `SNAPSHOT_CHUNK_BYTES`: about how many bytes of documents one query reads.
    pub chunk_bytes: usize,
    pub rate: SnapshotRate,
    /// `SNAPSHOT_READ_PREFERENCE`: the mode, as a URI has it; none for that of the URI.
    pub read_preference: Option<&'static str>,
    pub operation: RowOperation,
}

/// `SNAPSHOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Only on request.
    Never,
    /// When a stream first begins.
    Initial,
    /// Also when history was lost.
    WhenNeeded,
    /// When a stream first begins, and the stream ends with it.
    Only,
}

/// `SNAPSHOT_RATE_LIMIT`; none where it is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotRate {
    /// Bytes of documents a second.
    pub bytes: Option<u64>,
    /// Documents a second.
    pub documents: Option<u64>,
}

/// `SNAPSHOT_OPERATION`: the `operationType` of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOperation {
    Read,
    Insert,
}

impl RowOperation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
        }
    }
}

impl SnapshotMode {
    /// Whether a stream that first begins takes one.
    pub fn is_at_begin(self) -> bool {
        self != Self::Never
    }
}

impl Snapshot {
    fn name_of(&self, namespace: &Namespace) -> String {
        match self.is_qualified {
            true => namespace.to_string(),
            false => namespace.collection.clone(),
        }
    }

    /// Whether a watched collection is among those that are copied.
    pub fn takes(&self, namespace: &Namespace) -> bool {
        let name = self.name_of(namespace);
        self.collections.is_empty() || self.collections.iter().any(|p| covers(p, &name))
    }

    /// The names and patterns that none of these collections has, each with its variable.
    pub fn unused<'a>(
        &self,
        found: impl Iterator<Item = &'a Namespace>,
    ) -> Vec<(&'static str, &str)> {
        let names: Vec<_> = found.map(|namespace| self.name_of(namespace)).collect();
        let patterns = self.collections.iter();
        let patterns = patterns.filter(|pattern| !names.iter().any(|name| covers(pattern, name)));
        let filters = self.filters.keys().filter(|name| !names.contains(name));
        patterns
            .map(|name| ("SNAPSHOT_COLLECTIONS", name.as_str()))
            .chain(filters.map(|name| ("SNAPSHOT_FILTER", name.as_str())))
            .collect()
    }

    /// The query that a collection's rows match, where there is one.
    pub fn filter_of(&self, namespace: &Namespace) -> Option<&Document> {
        self.filters.get(&self.name_of(namespace))
    }
}
