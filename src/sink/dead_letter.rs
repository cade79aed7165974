//! Events that can have no record: what is said of them, and how they are kept in the dead-letter topic.

use super::produce::Record;
use crate::config::JsonMode;
use crate::encode::{headers, json, key};
use crate::error::{Code, Error};
use crate::event::Event;
use crate::pipeline::encoder::HeaderList;
use crate::position::Seq;
use crate::route::{AFTER, BEFORE, OutOfTime};
use crate::source::errors::SourceFault;
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::CStr;

/// [`Reason::name`].
pub const REASON: &str = "tw-dlq-reason";
/// The reason as a sentence.
pub const DETAIL: &str = "tw-dlq-detail";
/// Which part of the letter the record is, and of how many: `1/3`.
pub const PART: &str = "tw-dlq-part";

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
    /// The server cannot send it whole; what is known of it is its key.
    Unreadable(SourceFault),
}

impl Reason {
    /// All names, for metrics.
    pub const NAMES: [&'static str; 7] = [
        "too_large",
        "out_of_time",
        "refused_by_broker",
        "no_topic",
        "not_encodable",
        "image_missing",
        "too_large_to_read",
    ];

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
            Self::Unreadable(SourceFault::ImageMissing) => "image_missing",
            Self::Unreadable(_) => "too_large_to_read",
        }
    }

    fn sentence(&self) -> String {
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
            Self::Encoding(problem) => format!("it cannot be written as JSON: {problem}"),
            Self::Unreadable(fault) => format!("mongodb cannot send it{}", fault.remedy()),
        }
    }
}

const IN_TIME: &str = "set RECORD_TIMESTAMP=now, or raise the topic's";
const LARGER: &str = "raise max.message.bytes of the topic (KAFKA_TOPIC_CONFIG for new ones), or set \
                      KAFKA_PROP_COMPRESSION_TYPE=zstd";

/// An event and why it can have no record.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    pub event: &'a Event<'a>,
    pub seq: Seq,
    pub reason: &'a Reason,
}

impl Refused<'_> {
    /// The error that stops the process under `ON_RECORD_ERROR=stop`.
    pub fn error(&self) -> Error {
        Error::new(
            Code::RecordRefused,
            format!(
                "an event of {}.{} ({}, tw-seq {}) cannot be delivered: {}; or choose ON_RECORD_ERROR=dlq or skip",
                self.event.database,
                self.event.collection,
                self.event.operation_name,
                self.seq,
                self.reason.sentence()
            ),
        )
    }

    /// One line that says what became of it.
    pub fn log(&self, what: &'static str) {
        tracing::warn!(
            database = self.event.database,
            collection = self.event.collection,
            operation = self.event.operation_name,
            seq = self.seq.0,
            reason = self.reason.name(),
            bytes = self.event.raw.len(),
            detail = self.reason.sentence(),
            "{what}"
        );
    }

    /// The event whole, as canonical Extended JSON, in as many parts as the topic's limit asks for.
    pub fn letters(&self, limit: Option<usize>) -> Vec<Letter> {
        let mut body = Vec::with_capacity(self.event.raw.len() * 2);
        if json::write_document(&mut body, JsonMode::Canonical, self.event.raw).is_err() {
            // Not even that: the bytes as they are, which nothing can refuse.
            body.clear();
            body.extend_from_slice(self.event.raw);
        }
        let mut key = Vec::new();
        if key::write(
            &mut key,
            self.event.database,
            self.event.collection,
            self.event.document_id(),
        )
        .is_err()
        {
            key.clear();
        }
        let namespace = format!("{}.{}", self.event.database, self.event.collection);
        let room = limit
            .unwrap_or(1_000_000)
            .saturating_sub(key.len() + 4096)
            .max(1024);
        let of = body.chunks(room).len();
        body.chunks(room)
            .enumerate()
            .map(|(index, part)| Letter {
                key: key.clone(),
                value: part.to_vec(),
                headers: vec![
                    (
                        headers::ID,
                        self.event.token_data().unwrap_or_default().to_owned(),
                    ),
                    (headers::SEQ, self.seq.to_string()),
                    (headers::OPERATION, self.event.operation_name.to_owned()),
                    (headers::NAMESPACE, namespace.clone()),
                    (REASON, self.reason.name().to_owned()),
                    (DETAIL, self.reason.sentence()),
                    (PART, format!("{}/{of}", index + 1)),
                ],
            })
            .collect()
    }
}

/// One record of the dead-letter topic.
#[derive(Debug)]
pub struct Letter {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl Letter {
    pub fn headers(&self) -> HeaderList<'_> {
        HeaderList::collect(
            self.headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes())),
        )
    }

    pub fn record<'r>(&'r self, topic: &'r CStr, headers: &'r HeaderList<'r>) -> Record<'r> {
        Record {
            topic,
            partition: None,
            key: &self.key,
            value: Some(&self.value),
            timestamp_millis: 0,
            headers: headers.as_slice(),
        }
    }
}
