//! Workers: which jobs a process carries out, and how many at a time.

use crate::change::namespace::Namespace;
use std::path::PathBuf;
use std::time::Duration;

/// The topic of jobs that failed for good.
pub const DEAD_LETTERS: &str = "jobs.dlq";

/// What the topics begin with that jobs wait in before they are tried again.
const RETRIES: &str = "jobs.retry";

/// The topic in which the jobs of a group wait before they are tried again.
pub fn retries_of(group: &str) -> String {
    format!("{RETRIES}.{group}")
}

/// Whether a topic is one of the workers' own, where no job begins: otherwise a dead letter would become a job.
pub fn is_reserved(topic: &str) -> bool {
    topic == DEAD_LETTERS || topic.starts_with(RETRIES)
}

/// `WORKER_TOPICS` and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// `WORKER_TOPICS`: patterns of the topics of jobs.
    pub topics: Vec<String>,
    /// `WORKER_GROUP`: the consumer group.
    pub group: String,
    /// `WORKER_CONCURRENCY`: how many jobs run at a time.
    pub concurrency: usize,
    /// `WORKER_HANDLERS`: what is done about each job.
    pub handlers: Option<HandlersFile>,
    /// `WORKER_ALLOW_PRIVATE`: whether services at private addresses are called.
    pub allows_private: bool,
    /// `WORKER_TLS_CA_FILE`: authorities beside the public ones.
    pub tls_ca: Option<AuthoritiesFile>,
    /// `FAILED_EVENTS_COLLECTION`.
    pub failed_events: Option<Namespace>,
    /// `WORKER_STATUS_COLLECTION`.
    pub status: Option<Namespace>,
    /// `WORKER_STATUS_DAYS`.
    pub status_kept: Duration,
}

/// A file with certificates of authorities, as it was at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritiesFile {
    pub path: PathBuf,
    pub pem: Vec<u8>,
}

/// A file with handlers, as it was at the start. It may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlersFile {
    pub path: PathBuf,
    pub text: String,
}

impl std::fmt::Debug for HandlersFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}
