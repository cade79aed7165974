//! The producer of one incarnation of the pipeline: idempotent, never giving up, reporting each
//! delivery to the tracker.
//!
//! A producer that has seen a record fail is *broken*: it is purged and dropped, and the pipeline starts
//! again from the committed position. Going on with it would let later records overtake the failed one.

use super::prompt::{self, Pace, Prompt};
use crate::change::position::Seq;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::flow::tracker::Tracker;
use crate::flow::watermark::EntryId;
use crate::kafka::client::{self, Kind};
use crate::kafka::produce::{self, Record};
use crate::status::Board;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, Message, Statistics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// librdkafka's own upper bound of `message.max.bytes`: the topic's limit decides, not the client's.
const MESSAGE_MAX_BYTES: &str = "1000000000";
/// How often librdkafka tells the state of its brokers.
const STATISTICS_MS: &str = "2000";
/// librdkafka's own default of `batch.size`.
const BATCH_BYTES: usize = 1_000_000;
/// How long a topic that was there may be unknown to a broker before it counts as missing. Topics are
/// produced to only when each partition has a leader.
const PROPAGATION_MS: &str = "10000";
/// How long the reports of what is purged may take.
const LAST_REPORTS: Duration = Duration::from_secs(1);
/// How often the events thread looks whether it should end.
const POLL: Duration = Duration::from_millis(20);

/// Which event a record belongs to, packed into the delivery report's opaque: 40 bits of entry, 24 of
/// the event's index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub entry: EntryId,
    pub index: u32,
}

/// The opaque of a checkpoint, which belongs to no event.
const CHECKPOINT: usize = usize::MAX;

/// The property under which a batch that fails for good lets no later one pass.
const GAPLESS: &str = "enable.gapless.guarantee";

impl Ticket {
    fn pack(self) -> usize {
        (self.entry.to_opaque() << 24) | self.index as usize
    }

    fn unpack(opaque: usize) -> Self {
        Self {
            entry: EntryId::from_opaque(opaque >> 24),
            index: opaque as u32 & 0x00ff_ffff,
        }
    }
}

/// What went wrong with a producer, gathered until the pump looks.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Events whose record was refused for what it is.
    pub records: BTreeMap<Seq, RDKafkaErrorCode>,
    /// Whether the broker has said which records of a batch it refuses, and that the others are none of them.
    pub named: bool,
    /// The topics of those records: their limits may be others now.
    pub refusing: BTreeSet<String>,
    /// Topics that are missing or forbidden.
    pub topics: BTreeMap<String, RDKafkaErrorCode>,
    /// Anything else that ended the producer.
    pub fatal: Option<KafkaError>,
    /// librdkafka has dropped records by itself: their transaction has failed.
    pub dropped: bool,
    /// Somebody else, or Kafka itself, has taken the right to write from this producer.
    pub fenced: bool,
}

/// Shared between the pump and the thread of delivery reports.
pub struct Reports {
    tracker: Arc<Tracker>,
    board: Arc<Board>,
    pace: Arc<Pace>,
    broken: AtomicBool,
    is_transactional: bool,
    /// We drop what is left: the reports that say so are no faults.
    is_dropping: AtomicBool,
    /// How many delivery reports have come, of whatever kind.
    reported: AtomicU64,
    faults: Mutex<Faults>,
    broke: Notify,
}

impl Reports {
    /// Whether the producer must not go on.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn acknowledged(&self, ticket: Ticket) {
        self.board.acked.add(1);
        if ticket.index == 0 {
            self.board.metrics.acknowledged(ticket.entry);
        }
        self.tracker.acked(ticket.entry, 1);
    }

    fn break_with(&self, note: impl FnOnce(&mut Faults)) {
        note(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner));
        self.broken.store(true, Ordering::Release);
        self.broke.notify_waiters();
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Chosen knowingly and tested (`tests/delivery`): the warning is nothing to an operator.
        if facility == "CONFWARN" && message.contains(GAPLESS) {
            return;
        }
        client::log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        let up = statistics
            .brokers
            .values()
            .any(|b| b.nodeid >= 0 && b.state == "UP");
        self.board.kafka_connected.set(up);
        self.board.metrics.kafka_client(&statistics);
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
        self.board.sink_error.set(client::describe(&error));
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.pace.reported();
        self.reported.fetch_add(1, Ordering::Relaxed);
        let ticket = (opaque != CHECKPOINT).then(|| Ticket::unpack(opaque));
        if let Ok(message) = result {
            // A transaction that fails takes its records' acknowledgements with it.
            self.board
                .waits
                .acknowledged(message.topic(), !self.is_transactional);
        }
        let (error, message) = match (result, ticket) {
            (Ok(_), Some(ticket)) => return self.acknowledged(ticket),
            // That it is stored is known when its transaction is committed.
            (Ok(_), None) => return,
            (Err((error, message)), _) => (error, message),
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        match (kind_of(code), ticket) {
            // Unresolved, not failed: it will be read again. But nobody would send it again here.
            (Refusal::Unresolved, _) => {
                if !self.is_dropping.load(Ordering::Acquire) {
                    self.break_with(|faults| faults.dropped = true);
                }
            }
            (Refusal::Neighbour, _) => self.break_with(|faults| faults.named = true),
            (Refusal::Record, Some(ticket)) => {
                if let Some(first) = self.tracker.first_of(ticket.entry) {
                    let seq = Seq(first.0 + u64::from(ticket.index));
                    self.break_with(|faults| {
                        faults.records.insert(seq, code);
                        faults.refusing.insert(message.topic().to_owned());
                    });
                }
            }
            (Refusal::Topic, _) => self.break_with(|faults| {
                faults.topics.insert(message.topic().to_owned(), code);
            }),
            (Refusal::Producer, _) | (Refusal::Record, None) => self.break_with(|faults| {
                faults.fatal.get_or_insert(error.clone());
            }),
        }
    }
}

/// What a delivery report's error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unresolved,
    /// Another record of its batch was refused.
    Neighbour,
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
        // What is missing or may not be seen has other codes.
        | E::InvalidTopic
        | E::PolicyViolation => Refusal::Record,
        E::InvalidDifferentRecord => Refusal::Neighbour,
        E::UnknownTopic
        | E::UnknownTopicOrPartition
        | E::UnknownPartition
        | E::UnknownTopicId
        | E::TopicAuthorizationFailed => Refusal::Topic,
        _ => Refusal::Producer,
    }
}

fn is_fencing(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        Some(E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch)
    )
}

/// How much a producer may hold and send.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes of records in flight: the queue holds twice as much, so that the budget decides.
    pub budget: usize,
    /// The smallest `max.message.bytes` of the topics, where one is known: it bounds whole batches,
    /// which would be refused for it with every record in them.
    pub batch: Option<usize>,
}

/// What makes a producer transactional.
#[derive(Debug, Clone)]
pub struct Transaction {
    pub id: String,
    /// After this Kafka ends a transaction by itself.
    pub timeout: Duration,
}

fn configuration(kafka: &Kafka, sizes: Sizes, transaction: Option<Transaction>) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Producer);
    for (name, value) in [
        ("statistics.interval.ms", STATISTICS_MS),
        ("topic.metadata.propagation.max.ms", PROPAGATION_MS),
    ] {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    if !prompt::is_told_to_linger(kafka) {
        // librdkafka wants it shorter than what it gives a transaction's records.
        let most = transaction
            .as_ref()
            .map(|transaction| transaction.timeout / 2);
        let linger = prompt::LONGEST_LINGER.min(most.unwrap_or(Duration::MAX));
        config.set(prompt::LINGER, linger.as_millis().to_string());
    }
    let asked = config.get("batch.size").and_then(|size| size.parse().ok());
    let batch = sizes
        .batch
        .unwrap_or(usize::MAX)
        .min(asked.unwrap_or(BATCH_BYTES));
    let queue_kbytes = (sizes.budget / 512).clamp(64 * 1024, 2_000_000);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("batch.size", batch.to_string())
        .set("message.max.bytes", MESSAGE_MAX_BYTES)
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", queue_kbytes.to_string());
    match transaction {
        // A failed batch fails the transaction. librdkafka gives a record up when Kafka would give
        // up the transaction: no sooner.
        Some(Transaction { id, timeout }) => config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", timeout.as_millis().to_string()),
        // A batch that fails for good must not let later ones pass; and a record is never given up:
        // a time-out would drop it.
        None => config.set(GAPLESS, "true").set("message.timeout.ms", "0"),
    };
    config
}

/// A producer and its thread of events.
pub struct Producer {
    inner: Arc<BaseProducer<Reports>>,
    /// None where `KAFKA_PROP_LINGER_MS` says how long records wait.
    prompt: Option<Prompt>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    is_transactional: bool,
    /// Records go nowhere, and count as acknowledged at once.
    is_dry_run: bool,
}

impl Producer {
    /// Starts a producer.
    ///
    /// # Errors
    /// [`Code::Config`] when librdkafka refuses its configuration.
    pub fn start(
        kafka: &Kafka,
        sizes: Sizes,
        transaction: Option<Transaction>,
        tracker: Arc<Tracker>,
        board: Arc<Board>,
    ) -> Result<Self, Error> {
        let pace = Arc::new(Pace::default());
        let reports = Reports {
            tracker,
            board,
            pace: Arc::clone(&pace),
            broken: AtomicBool::new(false),
            is_transactional: transaction.is_some(),
            is_dropping: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            faults: Mutex::default(),
            broke: Notify::new(),
        };
        let is_transactional = transaction.is_some();
        let inner: BaseProducer<Reports> = configuration(kafka, sizes, transaction)
            .create_with_context(reports)
            .map_err(|error| client::error("starting the kafka producer", &error))?;
        let inner = Arc::new(inner);
        let no_thread =
            |error| Error::new(Code::Exhausted, "no thread for the kafka producer").because(error);
        let prompt = match prompt::is_told_to_linger(kafka) {
            true => None,
            false => Some(Prompt::start(Arc::clone(&inner), pace).map_err(no_thread)?),
        };
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
                .map_err(no_thread)?
        };
        Ok(Self {
            inner,
            prompt,
            stop,
            thread: Some(thread),
            is_transactional,
            is_dry_run: kafka.dry_run,
        })
    }

    /// Queues a record; its acknowledgement goes to the tracker.
    ///
    /// # Errors
    /// librdkafka's code, when nothing was queued.
    pub fn send(&self, record: &Record<'_>, ticket: Ticket) -> Result<(), RDKafkaErrorCode> {
        if self.is_dry_run {
            self.reports().board.produced.add(1);
            self.reports().acknowledged(ticket);
            return Ok(());
        }
        produce::produce(self.inner.client(), record, ticket.pack())?;
        self.reports().pace.queued();
        self.reports().board.produced.add(1);
        Ok(())
    }

    /// A part of the stream is queued. With `is_last`, nothing follows for now: it is sent as soon as
    /// nothing else is on its way. Never blocks.
    pub fn pause(&self, is_last: bool) {
        self.reports().pace.pause(is_last);
    }

    /// Whether a report has said that this producer must not go on.
    pub fn is_broken(&self) -> bool {
        self.reports().is_broken()
    }

    /// How many reports have come, and whether more are to come.
    pub fn progress(&self) -> (u64, bool) {
        let reported = self.reports().reported.load(Ordering::Relaxed);
        (reported, self.inner.in_flight_count() > 0)
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
        let mut faults = self
            .reports()
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let fatal = self.inner.client().fatal_error();
        faults.fenced |= is_fencing(fatal.map(|(code, _)| code));
        faults
    }

    /// Queues a checkpoint into the open transaction, whose fate is also the checkpoint's, and whose last
    /// record it is.
    ///
    /// # Errors
    /// librdkafka's code, when nothing was queued.
    pub fn send_checkpoint(&self, record: &Record<'_>) -> Result<(), RDKafkaErrorCode> {
        produce::produce(self.inner.client(), record, CHECKPOINT)?;
        let pace = &self.reports().pace;
        pace.queued();
        pace.pause(true);
        Ok(())
    }

    /// [Settles](client::settle) its client without anybody waiting for it.
    pub fn settle_beside(&self, topic: String) {
        let inner = self.client();
        tokio::task::spawn_blocking(move || {
            client::settle(inner.client(), &topic, client::SETTLING)
        });
    }

    /// The client itself, for transactions.
    pub fn client(&self) -> Arc<BaseProducer<Reports>> {
        Arc::clone(&self.inner)
    }

    /// Makes this producer broken for a topic that is no longer there.
    pub fn miss(&self, topic: String) {
        self.reports().break_with(|faults| {
            let code = RDKafkaErrorCode::UnknownTopicOrPartition;
            faults.topics.insert(topic, code);
        });
    }

    /// Throws away what is not acknowledged, without a word to whoever waits for it.
    pub fn drop_queued(&self) {
        self.reports().is_dropping.store(true, Ordering::Release);
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }

    /// Why the open transaction cannot be committed: librdkafka tells who asks it for another one.
    fn transaction_error(&self) -> Option<KafkaError> {
        match self.inner.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                Some(KafkaError::Transaction(error))
            }
            _ => None,
        }
    }

    /// Makes this producer broken for an error that came in no report.
    pub fn fail(&self, error: KafkaError) {
        let fenced = is_fencing(error.rdkafka_error_code());
        self.reports().break_with(|faults| {
            faults.fatal.get_or_insert(error);
            faults.fenced |= fenced;
        });
    }

    /// Drops everything that is not acknowledged, ends, and says what had gone wrong: also what was
    /// reported only now. Blocks for a moment: not for async tasks.
    pub fn purge(mut self) -> Faults {
        let is_dropped = self.faults().dropped;
        if is_dropped
            && self.is_transactional
            && let Some(error) = self.transaction_error()
        {
            self.fail(error);
        }
        self.drop_queued();
        let deadline = Instant::now() + LAST_REPORTS;
        while self.inner.in_flight_count() > 0 && Instant::now() < deadline {
            self.inner.poll(Duration::from_millis(2));
        }
        self.close();
        self.reports().board.abandon_in_flight();
        self.faults()
    }

    fn close(&mut self) {
        self.prompt = None;
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
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_the_opaque_pointer() {
        let ticket = Ticket {
            entry: EntryId::from_opaque((1 << 40) - 1),
            // With one more it would be the opaque of a checkpoint.
            index: (1 << 24) - 2,
        };
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
        let ticket = Ticket {
            entry: EntryId::from_opaque(7),
            index: 0,
        };
        assert_eq!(Ticket::unpack(ticket.pack()), ticket);
    }
}
