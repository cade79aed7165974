//! The source's settings: where the deployment is, and what a stream of it watches.

use super::{Listeners, Secret};
use crate::change::namespace::Namespace;
use crate::change::position::ResumeToken;
use crate::retry::Retry;

/// The deployment, for all streams of the process.
#[derive(Debug, Clone)]
pub struct Mongo {
    /// `MONGODB_URI`, with credentials.
    pub uri: Secret,
    /// `RECONNECT_DELAY_MS`, `RECONNECT_MAX_RETRIES`.
    pub retry: Retry,
}

impl Mongo {
    /// `MONGODB_URI` as it may be shown.
    pub fn redacted_uri(&self) -> String {
        super::uri::redact(self.uri.expose())
    }
}

/// What one stream reads.
#[derive(Debug, Clone)]
pub struct Source {
    /// One database or the deployment.
    pub scope: Scope,
    /// `WATCH_COLLECTIONS`: names or `*` globs; empty watches all. With a deployment-wide scope the
    /// patterns are `db.collection`.
    pub watch: Vec<String>,
    /// `EXCLUDE_COLLECTIONS`: names or `*` globs; beats `watch`.
    pub exclude: Vec<String>,
    /// `LEASE_DATABASE`, where leases are kept: nothing of it is carried.
    pub lease_database: Option<String>,
    /// `SCHEDULES_COLLECTION`, which is not carried: their status is written into it.
    pub schedules: Option<Namespace>,
    /// `FAILED_EVENTS_COLLECTION` and `WORKER_STATUS_COLLECTION`, into which workers write: not carried.
    pub of_workers: Vec<Namespace>,
    /// `WATCH_OPERATIONS`: insert, update, replace, delete; empty means all.
    pub operations: Vec<String>,
    pub full_document: FullDocument,
    pub pre_images: PreImages,
    /// `CHANGE_STREAM_PIPELINE`: the user's own stages, after the filter.
    pub user_pipeline: Vec<bson::Document>,
    /// `SHOW_EXPANDED_EVENTS` (server 6.0+).
    pub show_expanded_events: bool,
    pub start_at: StartAt,
    /// `LISTENERS_COLLECTION`: routes that change while the stream runs.
    pub listeners: Option<Listeners>,
    /// `SOURCE_BATCH_BYTES`: about how many bytes one reply should hold.
    pub batch_bytes: usize,
}

impl Source {
    /// What the stream is opened on: the watched database or databases, with that of the listeners.
    pub fn opened(&self) -> Scope {
        match (self.only(), &self.listeners) {
            (Some(only), Some(listeners)) => Scope::Deployment {
                databases: vec![only.to_owned(), listeners.at.database.clone()],
            },
            _ => self.scope.clone(),
        }
    }

    /// The one database that is watched, where listeners are in another: such a stream is one of the deployment,
    /// and sees of it no more than the two.
    pub fn only(&self) -> Option<&str> {
        match (&self.scope, &self.listeners) {
            (Scope::Database(watched), Some(listeners)) if listeners.at.database != *watched => {
                Some(watched)
            }
            _ => None,
        }
    }
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One database: the URI's path or `MONGODB_DATABASE`.
    Database(String),
    /// All databases that match these patterns (`WATCH_DATABASES`).
    Deployment { databases: Vec<String> },
}

impl Scope {
    /// The name of all databases.
    pub const DEPLOYMENT: &'static str = "*";

    /// Whether a database of this name is in it.
    pub fn holds(&self, database: &str) -> bool {
        match self {
            Self::Database(name) => name == database,
            Self::Deployment { databases } => databases
                .iter()
                .any(|pattern| super::patterns::covers(pattern, database)),
        }
    }

    /// The database's name, or [`DEPLOYMENT`](Self::DEPLOYMENT).
    pub fn name(&self) -> &str {
        match self {
            Self::Database(name) => name,
            Self::Deployment { .. } => Self::DEPLOYMENT,
        }
    }
}

/// `FULL_DOCUMENT`, as in the change stream's option `fullDocument`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullDocument {
    Default,
    UpdateLookup,
    WhenAvailable,
    Required,
}

/// `FULL_DOCUMENT_BEFORE_CHANGE`, as in the option `fullDocumentBeforeChange`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreImages {
    Off,
    WhenAvailable,
    Required,
}

/// `START_AT`: where a stream without a checkpoint begins.
#[derive(Debug, Clone, PartialEq)]
pub enum StartAt {
    Now,
    /// The oldest entry of the oplog.
    Earliest,
    /// A time, in seconds since the Unix epoch.
    Time(u32),
    Token(ResumeToken),
}
