//! A producer and its transactions, which do what a test says.

use crate::change::position::{Position, Seq};
use crate::encode::headers;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::Committable;
use crate::kafka::produce::Record;
use crate::sink::producer::Ticket;
use crate::sink::transaction::Uncommitted;
use crate::stream::produce::{Produce, Transact};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A record that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stream) struct Sent {
    pub(in crate::stream) ticket: Ticket,
    pub(in crate::stream) topic: String,
    pub(in crate::stream) key: Vec<u8>,
    /// Empty for a tombstone.
    pub(in crate::stream) value: Vec<u8>,
    /// By its header.
    pub(in crate::stream) seq: Seq,
    /// What happened; `tombstone` for a record without a value.
    pub(in crate::stream) operation: String,
    /// Whom it is for; empty for the configuration's own topics.
    pub(in crate::stream) listener: String,
    /// Names and values, all of them.
    pub(in crate::stream) headers: Vec<(String, String)>,
}

impl Sent {
    /// The value of a header.
    pub(in crate::stream) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What the pump asks of the producer, in order.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::stream) enum Step {
    Send(Sent),
    /// Nothing follows for now, with `true`.
    Pause(bool),
    Begin,
    Commit(Position),
    Abandon,
}

/// Takes every record unless it is told otherwise, and acknowledges none by itself.
pub(in crate::stream) struct ScriptedProducer {
    tracker: Arc<Tracker>,
    broken: AtomicBool,
    broke: Notify,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    /// Of what was sent, how much is acknowledged.
    acknowledged: usize,
    /// What it says to the next records.
    answers: VecDeque<Result<(), RDKafkaErrorCode>>,
}

impl ScriptedProducer {
    pub(in crate::stream) fn new(tracker: Arc<Tracker>) -> Self {
        Self {
            tracker,
            broken: AtomicBool::new(false),
            broke: Notify::new(),
            script: Mutex::default(),
        }
    }

    /// Refuses the record after the next `taken` ones.
    pub(in crate::stream) fn refuse(&self, taken: usize, code: RDKafkaErrorCode) {
        let mut script = self.script();
        script.answers.extend(std::iter::repeat_n(Ok(()), taken));
        script.answers.push_back(Err(code));
    }

    pub(in crate::stream) fn break_down(&self) {
        self.broken.store(true, Ordering::Release);
        self.broke.notify_waiters();
    }

    pub(in crate::stream) fn steps(&self) -> Vec<Step> {
        self.script().steps.clone()
    }

    pub(in crate::stream) fn sent(&self) -> Vec<Sent> {
        self.sent_since(0)
    }

    /// What was sent behind the first `count` records.
    pub(in crate::stream) fn sent_since(&self, count: usize) -> Vec<Sent> {
        let script = self.script();
        let sent = script.steps.iter().filter_map(|step| match step {
            Step::Send(sent) => Some(sent),
            _ => None,
        });
        sent.skip(count).cloned().collect()
    }

    /// What was sent, as `operation seq`, and for a listener `operation seq for listener`.
    pub(in crate::stream) fn told(&self) -> Vec<String> {
        let tell = |sent: Sent| {
            let told = format!("{} {}", sent.operation, sent.seq.0);
            match sent.listener.as_str() {
                "" => told,
                listener => format!("{told} for {listener}"),
            }
        };
        self.sent().into_iter().map(tell).collect()
    }

    /// Acknowledges so many of the records that are on their way, the oldest first.
    pub(in crate::stream) fn acknowledge(&self, count: usize) {
        let sent = self.sent();
        let first = self.script().acknowledged;
        for sent in &sent[first..first + count] {
            self.tracker.acked(sent.ticket.entry, 1);
        }
        self.script().acknowledged += count;
    }

    pub(in crate::stream) fn acknowledge_all(&self) {
        let left = self.sent().len() - self.script().acknowledged;
        self.acknowledge(left);
    }

    pub(in crate::stream) fn transactions(&self, interval: Duration) -> ScriptedTransactions<'_> {
        ScriptedTransactions {
            producer: self,
            interval,
            begun: None,
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panics with it")
    }

    fn step(&self, step: Step) {
        self.script().steps.push(step);
    }
}

impl Produce for ScriptedProducer {
    type Transactions<'a> = ScriptedTransactions<'a>;

    fn send(&self, record: &Record<'_>, ticket: Ticket) -> Result<(), RDKafkaErrorCode> {
        self.script().answers.pop_front().unwrap_or(Ok(()))?;
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("it is text");
        let all = record.headers.iter();
        let all: Vec<_> = all
            .map(|(name, value)| ((*name).to_owned(), text(value)))
            .collect();
        let header = |name: &str| {
            let found = all.iter().find(|(known, _)| known == name);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        self.step(Step::Send(Sent {
            ticket,
            topic: record.topic.to_str().expect("it is ASCII").to_owned(),
            key: record.key.to_vec(),
            value: record.value.unwrap_or_default().to_vec(),
            seq: Seq(header(headers::SEQ).parse().expect("it is a number")),
            operation: match record.value {
                Some(_) => header(headers::OPERATION),
                None => "tombstone".to_owned(),
            },
            listener: header(headers::LISTENER),
            headers: all,
        }));
        Ok(())
    }

    fn pause(&self, is_last: bool) {
        self.step(Step::Pause(is_last));
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    async fn broken(&self) {
        while !self.is_broken() {
            self.broke.notified().await;
        }
    }
}

/// As long as it is told, and always committed.
pub(in crate::stream) struct ScriptedTransactions<'a> {
    producer: &'a ScriptedProducer,
    interval: Duration,
    begun: Option<Instant>,
}

impl Transact for ScriptedTransactions<'_> {
    fn begin(&mut self) -> Result<(), Uncommitted> {
        if self.begun.is_none() {
            self.producer.step(Step::Begin);
            self.begun = Some(Instant::now());
        }
        Ok(())
    }

    fn due(&self, _token: &[u8], least: Duration) -> Option<Instant> {
        self.begun.map(|begun| begun + self.interval.max(least))
    }

    fn is_worth_committing(&self, _token: &[u8]) -> bool {
        self.begun.is_some()
    }

    async fn commit(&mut self, committable: Committable) -> Result<Position, Uncommitted> {
        if self.producer.is_broken() {
            return Err(Uncommitted::Broken);
        }
        let position = committable.position().clone();
        self.producer.step(Step::Commit(position.clone()));
        self.begun = None;
        Ok(position)
    }

    async fn abandon(&mut self) {
        if self.begun.take().is_some() {
            self.producer.step(Step::Abandon);
        }
    }
}
