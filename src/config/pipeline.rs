//! Settings of the way between source and sink, and of checkpoints.

use crate::flow::batch::Batching;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Pipeline {
    pub json_mode: JsonMode,
    pub batching: Batching,
    /// `COMMIT_INTERVAL_MS`.
    pub commit_interval: Duration,
    pub on_record_error: OnRecordError,
    pub on_missing_topic: OnMissingTopic,
    pub on_history_lost: OnHistoryLost,
}

/// `JSON_MODE`: how BSON types become JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonMode {
    /// What a Node service's `JSON.stringify` gives, made lossless where that loses.
    Simple,
    /// Relaxed Extended JSON v2.
    Relaxed,
    /// Canonical Extended JSON v2.
    Canonical,
}

/// `ON_RECORD_ERROR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRecordError {
    Stop,
    DeadLetter,
    Skip,
}

/// `ON_MISSING_TOPIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissingTopic {
    /// What may still be made or allowed is waited for.
    Wait,
    /// It is treated as what can never be made: by `ON_RECORD_ERROR`.
    RecordError,
}

/// `ON_HISTORY_LOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHistoryLost {
    Stop,
    Earliest,
    Latest,
    /// From now, with a snapshot of what is there.
    Snapshot,
}

/// Where checkpoints live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    pub backend: ResumeBackend,
}

/// The database of the checkpoints of a stream that watches several, unless `RESUME_DATABASE` names another.
/// What Tailwater writes there is never watched.
pub const DEPLOYMENT_DATABASE: &str = "tailwater";

/// `RESUME_STORE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeBackend {
    Kafka {
        /// `RESUME_TOPIC` (`tailwater.checkpoints`).
        topic: String,
    },
    MongoDb {
        /// `RESUME_DATABASE`; else the watched database, or [`DEPLOYMENT_DATABASE`].
        database: String,
        /// `RESUME_COLLECTION` (`changeStreamResumeTokens`).
        collection: String,
        /// `RESUME_TTL_DAYS`: streams not used for longer are cleaned up.
        ttl: Option<Duration>,
    },
    File {
        /// `RESUME_FILE` (`tailwater.checkpoint.json`).
        path: PathBuf,
    },
}
