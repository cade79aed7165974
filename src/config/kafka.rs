//! The sink's settings: how Kafka is reached, and what a stream writes to it.

use super::{Envelope, Fields, Format, KeyFormat, NamespaceMap, Secret, Serialization};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The cluster, for all streams of the process.
#[derive(Clone)]
pub struct Kafka {
    /// `KAFKA_BROKERS`: `host:port,…`.
    pub brokers: String,
    /// `KAFKA_CLIENT_ID`.
    pub client_id: String,
    pub creation: TopicCreation,
    pub security_protocol: SecurityProtocol,
    pub sasl: Option<Sasl>,
    /// `KAFKA_SSL_CA_LOCATION`; without it the system's store is probed.
    pub ssl_ca_location: Option<PathBuf>,
    /// `KAFKA_PROP_*`: librdkafka's own properties, dotted, already checked.
    pub properties: Vec<(String, String)>,
    /// `run --dry-run`: Kafka is asked, and nothing is written to it.
    pub dry_run: bool,
}

/// Properties may hold secrets, so of those only the names are shown.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            brokers,
            client_id,
            creation,
            security_protocol,
            sasl,
            ssl_ca_location,
            properties,
            dry_run,
        } = self;
        let properties: Vec<_> = properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Kafka")
            .field("brokers", brokers)
            .field("client_id", client_id)
            .field("creation", creation)
            .field("security_protocol", security_protocol)
            .field("sasl", sasl)
            .field("ssl_ca_location", ssl_ca_location)
            .field("properties", &properties)
            .field("dry_run", dry_run)
            .finish()
    }
}

/// What one stream writes.
#[derive(Debug, Clone)]
pub struct Sink {
    pub topics: Topics,
    /// `FORMAT`.
    pub format: Format,
    /// `SERIALIZATION`.
    pub serialization: Serialization,
    pub delivery: Delivery,
    pub record_timestamp: RecordTimestamp,
    /// `KEY_FORMAT`, or the default where the format has keys of its own.
    pub key_format: KeyFormat,
    /// `TOMBSTONES`: a null value after each delete.
    pub tombstones: bool,
    /// `TRANSACTION_METADATA`: where an event stands in its transaction.
    pub transactions: bool,
    /// `KAFKA_TOPIC_NAMESPACE_MAP`, with the topics of MongoDB's connector.
    pub namespaces: Option<Arc<NamespaceMap>>,
    /// `ENVELOPE_*`; none where the envelope is as it is.
    pub envelope: Option<Arc<Envelope>>,
    /// `EXTRA_HEADERS`: names and values, on each record of the configuration's topics.
    pub headers: Arc<Vec<(String, String)>>,
    /// `FIELDS_*`: what is done to fields of documents; none where nothing is.
    pub fields: Option<Arc<Fields>>,
}

impl Sink {
    /// Whether values are the JSON of Tailwater's own format, which its own readers of topics understand.
    pub fn is_own(&self) -> bool {
        self.format.is_own() && self.serialization.schemas().is_none() && !self.is_renamed()
    }

    /// Whether records are in every way as those of listeners are.
    pub fn is_usual(&self) -> bool {
        self.is_own()
            && self.key_format == KeyFormat::Tailwater
            && self.envelope.is_none()
            && self.headers.is_empty()
    }

    /// Whether fields of the envelope have other names.
    pub fn is_renamed(&self) -> bool {
        let envelope = self.envelope.as_ref();
        envelope.is_some_and(|envelope| !envelope.names.is_empty())
    }
}

/// Topic names; each may hold `{database}`, `{collection}`, `{operation}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `KAFKA_DB_CHANGES_TOPIC` (then all four are the same) or the four `KAFKA_TOPIC_*`.
    pub insert: String,
    pub update: String,
    pub replace: String,
    pub delete: String,
    /// `KAFKA_TOPIC_DDL`.
    pub ddl: Option<String>,
    /// `SNAPSHOT_TOPIC`; otherwise rows go where inserts go.
    pub rows: Option<String>,
    /// `KAFKA_DLQ_TOPIC`.
    pub dead_letter: Option<String>,
    /// `DEBEZIUM_TRANSACTION_TOPIC` with its prefix, where `TRANSACTION_METADATA` asks for it.
    pub bounds: Option<String>,
}

impl Topics {
    /// Those that records of changes and rows go to, dead letters apart; one may come several times.
    pub fn of_records(&self) -> impl Iterator<Item = &String> {
        let always = [&self.insert, &self.update, &self.replace, &self.delete];
        always.into_iter().chain(&self.ddl).chain(&self.rows)
    }
}

/// `KAFKA_CREATE_TOPICS` and what new topics look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCreation {
    pub enabled: bool,
    /// `KAFKA_TOPIC_PARTITIONS`; none takes the broker's default.
    pub partitions: Option<i32>,
    /// `KAFKA_TOPIC_REPLICATION`; none takes the broker's default.
    pub replication: Option<i32>,
    /// `KAFKA_TOPIC_CONFIG`: `retention.ms=…,max.message.bytes=…`.
    pub config: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    pub mechanism: String,
    pub username: String,
    pub password: Secret,
}

/// `DELIVERY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    AtLeastOnce,
    ExactlyOnce,
}

/// `RECORD_TIMESTAMP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordTimestamp {
    /// The change's own time.
    Change,
    /// The time of producing.
    Now,
}
