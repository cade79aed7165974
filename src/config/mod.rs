//! The typed configuration: environment variables, read once, validated all together.

mod kafka;
mod mongo;
mod pipeline;
mod secret;

pub use kafka::{Delivery, Kafka, RecordTimestamp, Sasl, SecurityProtocol, TopicCreation, Topics};
pub use mongo::{FullDocument, Mongo, PreImages, Scope, StartAt};
pub use pipeline::{Batching, OnHistoryLost, OnRecordError, Pipeline, Resume, ResumeBackend};
pub use secret::Secret;

pub use crate::encode::json::JsonMode;
use std::time::Duration;

/// Everything a run needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub mongo: Mongo,
    pub kafka: Kafka,
    pub pipeline: Pipeline,
    pub resume: Resume,
    /// `STREAM_ID`, else `<KAFKA_CLIENT_ID>:<database or *>`.
    pub stream_id: String,
    /// `ENABLE_CHANGE_STREAMS`: when false the process idles and says so.
    pub enabled: bool,
    pub http: Http,
    pub log: Log,
    /// `STATUS_INTERVAL_SECONDS`.
    pub status_interval: Duration,
    /// `SHUTDOWN_TIMEOUT_MS`: how long a graceful stop may take.
    pub shutdown_timeout: Duration,
}

/// Where the HTTP server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http {
    /// `HTTP_ADDR=off`.
    Off,
    /// An address that was asked for: failing to bind is an error.
    Asked(std::net::SocketAddr),
    /// The default address: when taken, done without and warned of.
    Default(std::net::SocketAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `LOG_LEVEL`: error, warn, info, debug or trace. `DEBUG=true` means debug.
    pub level: tracing::Level,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
