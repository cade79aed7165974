//! What the streams of a process share.

use super::grace::Grace;
use crate::config::{Kafka, Mongo};
use crate::flow::budget::Memory;
use crate::sink::topics::Cluster;
use mongodb::Client;
use std::sync::Arc;

/// Connections, settings and memory that are the process's, not one stream's.
#[derive(Clone)]
pub struct Shared {
    pub kafka: Arc<Kafka>,
    pub mongo: Arc<Mongo>,
    /// The one client of MongoDB.
    pub client: Client,
    /// The clients that topics are asked about and made through.
    pub cluster: Arc<Cluster>,
    /// `MAX_IN_FLIGHT_BYTES`, for all streams.
    pub memory: Arc<Memory>,
    /// How long a graceful stop may take.
    pub grace: Grace,
    /// A name for this process, which the one that takes over its streams is told of.
    pub instance: String,
}
