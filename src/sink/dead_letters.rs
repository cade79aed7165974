//! Which dead letters are meant, and how they are told: to the command line and to calls alike.

use super::dead_letter_reader::{StoredDeadLetter, StoredJob, Unreadable};
use super::replay::Outcome;
use crate::change::position::Seq;
use crate::config::StreamSpec;
use crate::error::{Code, Error};
use serde::Serialize;

/// Which dead letters; all if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meant {
    /// Only these events, by their `tw-seq`.
    pub seqs: Vec<u64>,
    /// Only these, by their `tw-id`.
    pub ids: Vec<String>,
    /// Only these jobs, by their names.
    pub jobs: Vec<String>,
    /// Only this namespace: `database.collection`.
    pub namespace: Option<String>,
    /// Whether other streams share the topic: then only those of the stream's databases.
    pub is_shared: bool,
}

impl Meant {
    pub fn has(&self, stream: Option<&StreamSpec>, dead_letter: &StoredDeadLetter) -> bool {
        let job = dead_letter.job.as_ref().and_then(|job| job.name());
        self.is_of(stream, Some(&dead_letter.namespace))
            && self.names(Some(dead_letter.seq), Some(&dead_letter.namespace))
            && (self.ids.is_empty() || self.ids.contains(&dead_letter.id))
            && (self.jobs.is_empty() || job.is_some_and(|job| self.jobs.iter().any(|it| it == job)))
    }

    /// As far as is known of it: what does not say which event it is, is meant only with all.
    pub fn has_unreadable(&self, stream: Option<&StreamSpec>, record: &Unreadable) -> bool {
        self.ids.is_empty()
            && self.jobs.is_empty()
            && self.is_of(stream, record.namespace.as_deref())
            && self.names(record.seq, record.namespace.as_deref())
    }

    /// Whether an event of this namespace is one of the stream.
    fn is_of(&self, stream: Option<&StreamSpec>, namespace: Option<&str>) -> bool {
        let Some(stream) = stream.filter(|_| self.is_shared) else {
            return true;
        };
        let database = namespace.and_then(|namespace| namespace.split('.').next());
        database.is_some_and(|database| stream.source.scope.holds(database))
    }

    fn names(&self, seq: Option<Seq>, namespace: Option<&str>) -> bool {
        let only = self.namespace.as_deref();
        (self.seqs.is_empty() || seq.is_some_and(|seq| self.seqs.contains(&seq.0)))
            && only.is_none_or(|only| Some(only) == namespace)
    }
}

/// The topic of a stream's dead letters: the one that is named, or the only one.
///
/// # Errors
/// [`Code::Config`] where that does not say which; `how` is how to name one.
pub fn topic(stream: &StreamSpec, named: Option<&str>, how: &str) -> Result<String, Error> {
    let refused = |what: String| Err(Error::new(Code::Config, what));
    match (named, &stream.sink.topics.dead_letter) {
        (Some(topic), _) => Ok(topic.to_owned()),
        (None, Some(topic)) if !topic.contains('{') => Ok(topic.clone()),
        (None, Some(_)) => refused(format!(
            "KAFKA_DLQ_TOPIC has placeholders: name one topic with {how}"
        )),
        (None, None) => refused(format!(
            "KAFKA_DLQ_TOPIC is not set: set it, or name the topic with {how}"
        )),
    }
}

/// A dead letter as it is told: without its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The event's `tw-seq`.
    pub seq: u64,
    /// The event's `tw-id`: it holds its token.
    pub id: String,
    pub namespace: String,
    pub operation: String,
    pub listener: Option<String>,
    /// A stable name of why it is here.
    pub reason: String,
    /// When it was written.
    pub time: Option<String>,
    pub bytes: usize,
    pub parts: usize,
    pub partition: i32,
    pub offset: i64,
    /// Of a job that a worker gave up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<ToldJob>,
}

/// What is told of a job beside that: without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToldJob {
    pub name: Option<String>,
    /// The topic that it was in.
    pub topic: String,
    /// Why it is here, in a sentence.
    pub detail: Option<String>,
    /// How many attempts were made.
    pub attempts: Option<u32>,
    /// The last answer's status, or the exit code of the program.
    pub status: Option<i32>,
    /// The group of the worker.
    pub group: Option<String>,
}

impl ToldJob {
    fn of(job: &StoredJob) -> Self {
        Self {
            name: job.name().map(str::to_owned),
            topic: job.topic.clone(),
            detail: job.detail.clone(),
            attempts: job.attempts,
            status: job.status,
            group: job.group.clone(),
        }
    }
}

impl Told {
    pub fn of(dead_letter: &StoredDeadLetter) -> Self {
        let time = dead_letter
            .written_millis
            .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        Self {
            seq: dead_letter.seq.0,
            id: dead_letter.id.clone(),
            namespace: dead_letter.namespace.clone(),
            operation: dead_letter.operation.clone(),
            listener: dead_letter.listener.clone(),
            reason: dead_letter.reason.clone(),
            time: time.map(|time| format!("{time:.3}")),
            bytes: dead_letter.body.len(),
            parts: dead_letter.parts,
            partition: dead_letter.partition,
            offset: dead_letter.offset,
            job: dead_letter.job.as_deref().map(ToldJob::of),
        }
    }
}

/// Whether nothing is left to do about it.
pub fn is_done(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Replayed { .. } | Outcome::Nowhere)
}
