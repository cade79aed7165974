//! What a connector's configuration and offsets become here, and the way back.

pub mod back;
mod connect;
mod connector;
mod debezium;
mod globs;
mod java;
mod mongo_kafka;
pub mod offset;
pub mod offsets;
pub mod plan;
mod registry;
mod uri;

pub use connector::Connector;
pub use plan::{Note, Plan, Verdict};

/// Whose connector it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incumbent {
    /// Debezium's connector for MongoDB.
    Debezium,
    /// MongoDB's own source connector.
    MongoKafka,
}

impl Incumbent {
    /// As `FORMAT` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debezium => "debezium",
            Self::MongoKafka => "mongo-kafka",
        }
    }

    /// What its connector has as `connector.class`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Debezium => "io.debezium.connector.mongodb.MongoDbConnector",
            Self::MongoKafka => "com.mongodb.kafka.connect.MongoSourceConnector",
        }
    }

    /// What becomes of the connector's configuration.
    pub fn plan(self, connector: &Connector) -> Plan {
        let mut reading = plan::Reading::new(connector);
        connect::common(&mut reading, self);
        match self {
            Self::Debezium => debezium::translate(&mut reading),
            Self::MongoKafka => mongo_kafka::translate(&mut reading),
        }
        reading.finish()
    }

    /// The partition under which the connector keeps its offset, in the order of its fields.
    ///
    /// # Errors
    /// Which property is missing for that.
    pub fn partition(self, connector: &Connector) -> Result<serde_json::Value, String> {
        match self {
            Self::Debezium => debezium::partition(connector),
            Self::MongoKafka => mongo_kafka::partition(connector),
        }
    }
}
