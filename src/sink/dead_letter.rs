//! Events that can have no record, and what is said of them. [`parts`](super::parts) keeps them in the
//! dead-letter topic.

use crate::change::event::Event;
use crate::change::position::Seq;
use crate::error::{Code, Error};
use crate::mongo::errors::SourceFault;
use crate::route::{AFTER, BEFORE, ListenerTag, OutOfTime};
use rdkafka::error::RDKafkaErrorCode;

/// Why an event can have no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The broker, or librdkafka, refuses the record.
    Broker(RDKafkaErrorCode),
    /// The record is over the topic's `max.message.bytes`.
    TooLarge { bytes: usize, limit: usize },
    /// Its time is further from now than its topic allows.
    OutOfTime(OutOfTime),
    /// No topic can be named for it, or none takes it.
    Topic(String),
    /// It cannot be written as JSON.
    Encoding(String),
    /// Its fields cannot be what `FIELDS_*` say.
    Fields(String),
    /// No schema that it fits can be had.
    Schema(String),
    /// Its operation is not known here: what it does to the document is not guessed at.
    Unknown,
    /// The server cannot send it whole; what is known of it is its key.
    Unreadable(SourceFault),
}

impl Reason {
    /// The name of [`Self::Fields`].
    pub const FIELDS: &str = "fields";

    /// A stable name, for headers and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Broker(RDKafkaErrorCode::MessageSizeTooLarge) | Self::TooLarge { .. } => {
                "too_large"
            }
            Self::Broker(RDKafkaErrorCode::InvalidTimestamp) | Self::OutOfTime(_) => "out_of_time",
            Self::Topic(_) | Self::Broker(RDKafkaErrorCode::InvalidTopic) => "no_topic",
            Self::Broker(_) => "refused_by_broker",
            Self::Encoding(_) => "not_encodable",
            Self::Fields(_) => Self::FIELDS,
            Self::Schema(_) => "schema",
            Self::Unknown => "unknown_operation",
            Self::Unreadable(SourceFault::ImageMissing) => "image_missing",
            Self::Unreadable(_) => "too_large_to_read",
        }
    }

    pub fn sentence(&self) -> String {
        match self {
            Self::Broker(RDKafkaErrorCode::MessageSizeTooLarge) => {
                format!("the broker refuses it as too large; {LARGER}")
            }
            Self::TooLarge { bytes, limit } => {
                format!(
                    "its record of {bytes} bytes is over the topic's max.message.bytes of {limit}; {LARGER}"
                )
            }
            Self::Broker(RDKafkaErrorCode::InvalidTimestamp) => {
                format!("the broker refuses its timestamp; {IN_TIME} {BEFORE} or {AFTER}")
            }
            Self::OutOfTime(OutOfTime {
                setting,
                limit,
                distance,
            }) => format!(
                "its timestamp is {distance} ms from now, and the topic's {setting} is {limit}; {IN_TIME} \
                 {setting}"
            ),
            Self::Broker(code) => format!("the broker refuses it: {code}"),
            Self::Topic(problem) => problem.clone(),
            Self::Unknown => {
                "its operation is not known here: a newer Tailwater may know it".into()
            }
            Self::Fields(problem) => problem.clone(),
            Self::Schema(problem) => format!("its schema: {problem}"),
            Self::Encoding(problem) => format!("it cannot be written as JSON: {problem}"),
            Self::Unreadable(fault) => format!("mongodb cannot send it{}", fault.remedy()),
        }
    }
}

const IN_TIME: &str = "set RECORD_TIMESTAMP=now, or raise the topic's";
const LARGER: &str = "raise max.message.bytes of the topic (KAFKA_TOPIC_CONFIG for new ones), or set \
                      KAFKA_PROP_COMPRESSION_TYPE=zstd";

/// An event and why it can have no record, or none for a listener.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    pub event: &'a Event<'a>,
    pub seq: Seq,
    /// None for a record of the configuration's own topics.
    pub listener: Option<&'a ListenerTag>,
    pub reason: &'a Reason,
    /// By which rules `FIELDS_*` were applied to the event; none where there are none for its collection.
    pub rules: Option<&'a str>,
}

impl Refused<'_> {
    /// The error that stops the process under `ON_RECORD_ERROR=stop`.
    pub fn error(&self) -> Error {
        let to = self.listener.map_or_else(String::new, |listener| {
            format!(" to the listener {} (job {})", listener.id, listener.job)
        });
        Error::new(
            Code::RecordRefused,
            format!(
                "an event of {}.{} ({}, tw-seq {}) cannot be delivered{to}: {}; or choose ON_RECORD_ERROR=dlq or skip",
                self.event.database,
                self.event.collection,
                self.event.operation_name,
                self.seq,
                self.reason.sentence()
            ),
        )
    }

    /// One line that says what became of it.
    pub fn log(&self, event_id: &'static str, what: &'static str) {
        tracing::warn!(
            event_id,
            database = self.event.database,
            collection = self.event.collection,
            operation = self.event.operation_name,
            seq = self.seq.0,
            listener = self.listener.map(|listener| &listener.id),
            reason = self.reason.name(),
            bytes = self.event.raw.len(),
            detail = self.reason.sentence(),
            "{what}"
        );
    }
}
