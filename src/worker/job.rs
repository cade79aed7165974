//! A job: a record, which job it is, and what was tried.

use super::assigned::{Assigned, Attempt};
use super::handler::HIGHEST;
use super::queue::Lane;
use super::retry;
use crate::encode::headers;
use crate::status::worker::attempts::Which;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What librdkafka and the lists here need beside the parts of a record, about, in bytes.
const OVERHEAD: usize = 512;

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A record as it was read.
#[derive(Debug)]
pub struct Record {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    pub fn read(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Self {
        let headers = message.headers().into_iter().flat_map(|all| all.iter());
        Self {
            topic: Arc::clone(topic),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    /// The value of a header that is text; of several the last.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().rev();
        let (_, value) = all.find(|(own, _)| own == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// Those headers that Tailwater has given it: what a handler gets of them.
    pub fn own_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let own = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("tw-"));
        own.map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()))
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + len(value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>() + OVERHEAD
    }

    /// Which job it is: the header tw-job.
    pub fn job(&self) -> Option<&str> {
        self.header(headers::JOB)
    }

    /// What receivers tell repeats by: tw-id, and its place where it has none or an empty one.
    pub fn id(&self) -> String {
        match self.header(headers::ID).filter(|id| !id.trim().is_empty()) {
            Some(id) => id.to_owned(),
            None => self.place(),
        }
    }

    /// Where it is, for logs.
    pub fn place(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// From 1 to [`HIGHEST`], where it says so.
    pub fn priority(&self) -> Option<u8> {
        let priority: f64 = self.header(headers::PRIORITY)?.trim().parse().ok()?;
        // Any number is one; what is beyond is the nearest.
        let nearest = priority.clamp(1.0, f64::from(HIGHEST)) as u8;
        (!priority.is_nan()).then_some(nearest)
    }

    /// Whether it has a priority that is none from 1 to [`HIGHEST`].
    pub fn has_odd_priority(&self) -> bool {
        let is_one = |text: &str| {
            let read = text.trim().parse();
            read.is_ok_and(|number: f64| (1.0..=f64::from(HIGHEST)).contains(&number))
        };
        self.header(headers::PRIORITY)
            .is_some_and(|text| !is_one(text))
    }
}

/// A record on its way through this worker.
#[derive(Debug)]
pub struct Job {
    pub record: Record,
    pub at: Arc<Assigned>,
    /// Where it was read in `at`. In the topic of retries that is another place than its own record's.
    pub offset: i64,
    /// Not to be begun before this, in milliseconds since 1970.
    pub due: Option<i64>,
    /// When it came, in the order of all; 0 before it waits for the first time.
    pub seq: u64,
    /// Attempts that were made.
    pub attempts: u32,
    /// While one runs.
    pub attempt: Option<Attempt>,
    /// How long it has rested because the service asked for it, all in all.
    pub rested: Duration,
    /// What it holds the order of, while it is on its way.
    pub lane: Option<Lane>,
}

impl Job {
    pub fn new(record: Record, at: Arc<Assigned>) -> Self {
        Self {
            offset: record.offset,
            record,
            at,
            due: None,
            seq: 0,
            attempts: 0,
            attempt: None,
            rested: Duration::ZERO,
            lane: None,
        }
    }

    /// That of a record of the topic of retries.
    pub fn parked(record: Record, at: Arc<Assigned>) -> Self {
        let mut job = Self::new(record, at);
        let progress = retry::restore(&mut job.record);
        (job.due, job.attempts, job.rested) =
            (Some(progress.due), progress.attempts, progress.rested);
        job
    }

    /// When the change happened that it is about, in milliseconds since 1970.
    pub fn changed_millis(&self) -> Option<i64> {
        self.record.header(headers::TIMESTAMP)?.parse().ok()
    }

    /// Its name, for status and metrics.
    pub fn name(&self) -> &str {
        self.record.job().unwrap_or("")
    }

    /// Which one it is, for people.
    pub fn which(&self) -> Which {
        Which {
            id: self.record.id(),
            job: self.name().to_owned(),
            place: self.record.place(),
        }
    }

    /// Nothing is left to do about it.
    pub fn finish(&self) {
        self.at.finish(self.offset);
    }
}

/// How an attempt ended that did its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Of the answer, or of the program.
    pub status: i32,
    /// The first of what the service answered, where it is text.
    pub body: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// In words, without anything of a document or a secret.
    pub detail: String,
    /// Of the answer, or of the program.
    pub status: Option<i32>,
    /// How long the service asks to be left alone.
    pub rest: Option<Duration>,
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            status: None,
            rest: None,
        }
    }
}

/// A stable name of it: the header tw-dlq-reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The service answered, and not with 2xx.
    Status,
    /// It did not answer in time.
    Timeout,
    /// It could not be reached, or its answer not be read.
    Unreachable,
    /// Its address may not be called.
    AddressRefused,
    /// The program ended otherwise than with 0, or could not be started.
    Program,
    /// There is no handler for the job.
    NoHandler,
    /// The service has answered 410 before.
    HandlerOff,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::AddressRefused => "address_refused",
            Self::Program => "program",
            Self::NoHandler => "no_handler",
            Self::HandlerOff => "handler_off",
        }
    }

    /// Whether another attempt could end otherwise.
    pub fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::AddressRefused | Self::NoHandler | Self::HandlerOff
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, value: &str) -> Record {
        Record {
            topic: "jobs.a".into(),
            partition: 3,
            offset: 7,
            key: None,
            value: None,
            headers: vec![(name.to_owned(), Some(value.into()))],
        }
    }

    #[test]
    fn a_record_without_an_id_has_its_place_for_one() {
        for (id, expected) in [("a", "a"), ("", "jobs.a/3/7"), (" ", "jobs.a/3/7")] {
            assert_eq!(record("tw-id", id).id(), expected);
        }
        assert_eq!(record("other", "a").id(), "jobs.a/3/7");
    }

    #[test]
    fn a_priority_is_the_nearest_from_1_to_10_and_the_others_are_odd() {
        for (text, priority, is_odd) in [
            ("1", Some(1), false),
            ("10", Some(10), false),
            (" 2.5 ", Some(2), false),
            ("0", Some(1), true),
            ("-7", Some(1), true),
            ("11", Some(10), true),
            ("1e300", Some(10), true),
            ("inf", Some(10), true),
            ("nan", None, true),
            ("high", None, true),
            ("", None, true),
        ] {
            let record = record("tw-priority", text);
            let told = (record.priority(), record.has_odd_priority());
            assert_eq!(told, (priority, is_odd), "{text}");
        }
        let without = record("other", "1");
        assert_eq!(
            (without.priority(), without.has_odd_priority()),
            (None, false)
        );
    }
}
