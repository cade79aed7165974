//! `FORMAT`: what a stream's records look like, and what goes with each format.

use super::connect_schema;
use std::sync::Arc;

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoKafka {
    /// `MONGO_KAFKA_JSON`: `output.json.formatter`.
    pub json: MongoKafkaJson,
    /// `MONGO_KAFKA_FULL_DOCUMENT_ONLY`: `publish.full.document.only`.
    pub full_document_only: bool,
    /// `TOMBSTONES`: `publish.full.document.only.tombstone.on.delete`.
    pub tombstones: bool,
    /// `MONGO_KAFKA_KEY`, `MONGO_KAFKA_KEY_CONVERTER`.
    pub key: Output,
    /// `MONGO_KAFKA_VALUE`, `MONGO_KAFKA_VALUE_CONVERTER`.
    pub value: Output,
}

/// What the connector makes of a key or a value, and what Connect makes of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub form: OutputForm,
    /// The text of its schema, where it is not the connector's own.
    pub given: Option<String>,
    pub converter: Converter,
}

impl Output {
    /// JSON as it is.
    pub const TEXT: Self = Self {
        form: OutputForm::Json,
        given: None,
        converter: Converter::String,
    };

    /// Whether its schema is in the registry.
    pub fn is_avro(&self) -> bool {
        self.converter == Converter::Avro
    }
}

/// `output.format.key`, `output.format.value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputForm {
    /// JSON as a text.
    Json,
    /// By a schema that is inferred from each: `output.schema.infer.value`.
    Infer,
    /// By this schema: `output.schema.key`, `output.schema.value`.
    Schema(Arc<connect_schema::Schema>),
}

/// `key.converter`, `value.converter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Converter {
    /// `StringConverter`: texts as they are.
    String,
    /// `JsonConverter`; with its schema beside each as of `schemas.enable`.
    Json { schemas: bool },
    /// `AvroConverter`.
    Avro,
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
