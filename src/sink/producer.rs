//! The producer of one incarnation of the pipeline: idempotent, never giving up, reporting each
//! delivery to the tracker.
//!
//! A producer that has seen a record fail is *broken*: it is purged and dropped, and the pipeline starts
//! again from the committed position. Going on with it would let later records overtake the failed one.

use super::client::{self, Kind};
use super::produce::{self, Record};
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::pipeline::tracker::Tracker;
use crate::position::Seq;
use crate::status::Board;
use crate::watermark::EntryId;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, Message, Statistics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long librdkafka gathers records before it sends, in milliseconds.
const LINGER_MS: &str = "1";
/// librdkafka's own upper bound of `message.max.bytes`: the topic's limit decides, not the client's.
const MESSAGE_MAX_BYTES: &str = "1000000000";
/// How often librdkafka tells the state of its brokers.
const STATISTICS_MS: &str = "2000";
/// How often the events thread looks whether it should end.
const POLL: Duration = Duration::from_millis(100);

/// Which event a record belongs to, packed into the delivery report's opaque: 40 bits of entry, 24 of
/// the event's index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub entry: EntryId,
    pub index: u32,
}

/// Most events that one entry may hold.
pub const MAX_INDEX: u32 = (1 << 24) - 1;

impl Ticket {
    fn pack(self) -> usize {
        (self.entry.to_opaque() << 24) | self.index as usize
    }

    fn unpack(opaque: usize) -> Self {
        Self {
            entry: EntryId::from_opaque(opaque >> 24),
            index: opaque as u32 & MAX_INDEX,
        }
    }
}

/// What went wrong with a producer, gathered until the pump looks.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Events whose record was refused for what it is.
    pub records: BTreeMap<Seq, RDKafkaErrorCode>,
    /// Topics that are missing or forbidden.
    pub topics: BTreeSet<String>,
    /// Anything else that ended the producer.
    pub fatal: Option<KafkaError>,
}

/// Shared between the pump and the thread of delivery reports.
pub struct Reports {
    tracker: Arc<Tracker>,
    board: Arc<Board>,
    broken: AtomicBool,
    faults: Mutex<Faults>,
    broke: Notify,
}

impl Reports {
    fn break_with(&self, note: impl FnOnce(&mut Faults)) {
        note(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner));
        self.broken.store(true, Ordering::Release);
        self.broke.notify_waiters();
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let up = statistics
            .brokers
            .values()
            .any(|b| b.nodeid >= 0 && b.state == "UP");
        self.board.kafka_connected.set(up);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.board.kafka_connected.set(false),
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::warn!(reason, "the kafka producer cannot go on");
                self.break_with(|faults| faults.fatal = Some(error));
                return;
            }
            _ => {}
        }
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let ticket = Ticket::unpack(opaque);
        let (error, message) = match result {
            Ok(_) => {
                self.board.acked.add(1);
                self.tracker.acked(ticket.entry, 1);
                return;
            }
            Err((error, message)) => (error, message),
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        match kind_of(code) {
            // Unresolved, not failed: it will be read again.
            Refusal::Unresolved => {}
            Refusal::Record => {
                if let Some(first) = self.tracker.first_of(ticket.entry) {
                    let seq = Seq(first.0 + u64::from(ticket.index));
                    self.break_with(|faults| {
                        faults.records.insert(seq, code);
                    });
                }
            }
            Refusal::Topic => self.break_with(|faults| {
                faults.topics.insert(message.topic().to_owned());
            }),
            Refusal::Producer => self.break_with(|faults| {
                faults.fatal.get_or_insert(error.clone());
            }),
        }
    }
}

/// What a delivery report's error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unresolved,
    Record,
    Topic,
    Producer,
}

fn kind_of(code: RDKafkaErrorCode) -> Refusal {
    use RDKafkaErrorCode as E;
    match code {
        E::PurgeQueue | E::PurgeInflight => Refusal::Unresolved,
        E::MessageSizeTooLarge
        | E::InvalidMessage
        | E::InvalidMessageSize
        | E::InvalidRecord
        | E::InvalidTimestamp
        | E::PolicyViolation => Refusal::Record,
        E::UnknownTopic
        | E::UnknownTopicOrPartition
        | E::UnknownPartition
        | E::UnknownTopicId
        | E::InvalidTopic
        | E::TopicAuthorizationFailed => Refusal::Topic,
        _ => Refusal::Producer,
    }
}

/// A producer and its thread of events.
pub struct Producer {
    inner: Arc<BaseProducer<Reports>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Producer {
    /// Starts a producer whose queue holds twice `budget_bytes`, so that the budget decides and not the
    /// queue. `transactional_id` makes it transactional.
    ///
    /// # Errors
    /// [`Code::Config`] when librdkafka refuses its configuration.
    pub fn start(
        kafka: &Kafka,
        budget_bytes: usize,
        transactional_id: Option<&str>,
        tracker: Arc<Tracker>,
        board: Arc<Board>,
    ) -> Result<Self, Error> {
        let reports = Reports {
            tracker,
            board,
            broken: AtomicBool::new(false),
            faults: Mutex::default(),
            broke: Notify::new(),
        };
        let mut config = client::client_config(kafka, Kind::Producer);
        let queue_kbytes = (budget_bytes / 512).clamp(64 * 1024, 2_000_000);
        for (name, value) in [
            ("linger.ms", LINGER_MS),
            ("statistics.interval.ms", STATISTICS_MS),
        ] {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A batch that fails for good must not let later ones pass.
            .set(
                "enable.gapless.guarantee",
                if transactional_id.is_none() {
                    "true"
                } else {
                    "false"
                },
            )
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", queue_kbytes.to_string());
        match transactional_id {
            // librdkafka bounds the time-out by the transaction's own then.
            Some(id) => config.set("transactional.id", id),
            // A record is never given up: a time-out would drop it.
            None => config.set("message.timeout.ms", "0"),
        };
        let inner: BaseProducer<Reports> = config
            .create_with_context(reports)
            .map_err(|error| client::error("starting the kafka producer", &error))?;
        let inner = Arc::new(inner);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (inner, stop) = (Arc::clone(&inner), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("kafka-events".into())
                .spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        inner.poll(POLL);
                    }
                })
                .map_err(|error| {
                    Error::new(Code::Internal, "no thread for delivery reports").because(error)
                })?
        };
        Ok(Self {
            inner,
            stop,
            thread: Some(thread),
        })
    }

    /// Queues a record; its acknowledgement goes to the tracker.
    ///
    /// # Errors
    /// librdkafka's code, when nothing was queued.
    pub fn send(&self, record: &Record<'_>, ticket: Ticket) -> Result<(), RDKafkaErrorCode> {
        produce::produce(self.inner.client(), record, ticket.pack())?;
        self.reports().board.produced.add(1);
        Ok(())
    }

    /// Whether a report has said that this producer must not go on.
    pub fn is_broken(&self) -> bool {
        self.reports().broken.load(Ordering::Acquire)
    }

    /// Waits until [`is_broken`](Self::is_broken).
    pub async fn broken(&self) {
        loop {
            let broke = self.reports().broke.notified();
            tokio::pin!(broke);
            broke.as_mut().enable();
            if self.is_broken() {
                return;
            }
            broke.await;
        }
    }

    /// What has gone wrong so far.
    pub fn faults(&self) -> Faults {
        self.reports()
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The client itself, for transactions.
    pub fn client(&self) -> &BaseProducer<Reports> {
        &self.inner
    }

    /// Drops everything that is not acknowledged, and ends. Blocks for a moment: not for async tasks.
    pub fn purge(mut self) {
        self.close();
    }

    fn close(&mut self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The thread only polls; a panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    }

    fn reports(&self) -> &Reports {
        self.inner.client().context()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_the_opaque_pointer() {
        let ticket = Ticket {
            entry: EntryId::from_opaque((1 << 40) - 1),
            index: MAX_INDEX,
        };
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
        let ticket = Ticket {
            entry: EntryId::from_opaque(7),
            index: 0,
        };
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
    }
}
