//! `FORMAT`: what a stream's records look like, and what goes with each format.

/// `FORMAT`, with the settings of the one that is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// That of `docs/formats.md`.
    Tailwater,
    /// Debezium's connector for MongoDB.
    Debezium(Debezium),
    /// MongoDB's own connector.
    MongoKafka(MongoKafka),
    /// The document is the value, and a delete is a tombstone.
    Document,
    CloudEvents(CloudEvents),
}

impl Format {
    /// The value of `FORMAT`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tailwater => "tailwater",
            Self::Debezium(_) => "debezium",
            Self::MongoKafka(_) => "mongo-kafka",
            Self::Document => "document",
            Self::CloudEvents(_) => "cloudevents",
        }
    }

    /// Whether records are those of `docs/formats.md`, which Tailwater's own readers of topics understand.
    pub fn is_own(&self) -> bool {
        *self == Self::Tailwater
    }

    /// Whether records have the headers `tw-*`.
    pub fn has_own_headers(&self) -> bool {
        matches!(self, Self::Tailwater | Self::Document)
    }
}

/// `KEY_FORMAT`: what the key of a record about a document is, with the formats whose keys are Tailwater's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFormat {
    /// Database, collection and `_id`.
    Tailwater,
    /// The `_id` as relaxed Extended JSON.
    Id,
    /// The `_id` as a text.
    IdString,
    /// There is none. The partition is the one that the default key would have.
    None,
}

impl KeyFormat {
    /// The value of `KEY_FORMAT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tailwater => "tailwater",
            Self::Id => "id",
            Self::IdString => "id_string",
            Self::None => "none",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debezium {
    /// `KAFKA_TOPIC_PREFIX`: the connector's `topic.prefix`, which is its name in records, too.
    pub name: String,
    /// `DEBEZIUM_SCHEMAS`: keys and values with their schema, as of `schemas.enable`.
    pub schemas: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MongoKafka {
    /// `MONGO_KAFKA_JSON`: `output.json.formatter`.
    pub json: MongoKafkaJson,
    /// `MONGO_KAFKA_FULL_DOCUMENT_ONLY`: `publish.full.document.only`.
    pub full_document_only: bool,
    /// `TOMBSTONES`: `publish.full.document.only.tombstone.on.delete`.
    pub tombstones: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MongoKafkaJson {
    Default,
    Extended,
    Simplified,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvents {
    /// `CLOUDEVENTS_MODE=binary`: attributes as headers and the value as the data; else both in the value.
    pub is_binary: bool,
    /// `TRACEPARENT_FIELD`: where a document has its trace, as the names on the way there.
    pub traceparent: Vec<String>,
}
