//! How the instances come to agree.

use crate::config::{Kafka, LeaseTimes};
use std::fmt;
use std::time::Duration;

/// `COORDINATION`.
#[derive(Debug, Clone)]
pub enum Settings {
    /// This instance runs everything.
    None,
    /// One lease document a stream.
    MongoDb(LeaseSettings),
    /// A consumer group that assigns the streams.
    Kafka(GroupSettings),
}

/// Which cluster and which topics, and how long an instance may be silent.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    pub kafka: Kafka,
    /// `COORDINATION_TOPIC`: the topic in which instances register; the groups and their topics are named after it.
    pub topic: String,
    /// `KAFKA_SESSION_TIMEOUT_MS`: after how long a silence an instance is taken for dead.
    pub session: Duration,
}

/// Where the leases are kept, and their times.
#[derive(Clone)]
pub struct LeaseSettings {
    pub client: ::mongodb::Client,
    /// `LEASE_DATABASE`.
    pub database: String,
    pub times: LeaseTimes,
}

impl fmt::Debug for LeaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client: _,
            database,
            times,
        } = self;
        let mut shown = f.debug_struct("LeaseSettings");
        shown.field("database", database).field("times", times);
        shown.finish_non_exhaustive()
    }
}
