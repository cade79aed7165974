//! The producer of one incarnation of the pipeline: idempotent, never giving up, reporting each
//! delivery to the tracker.
//!
//! A producer that has seen a record fail is *broken*: it is purged and dropped, and the pipeline starts
//! again from the committed position. Going on with it would let later records overtake the failed one.

use super::prompt::{self, Pace, Prompt};
use super::reports::{CHECKPOINT, GAPLESS, Reports, is_fencing};
pub use super::reports::{Faults, Ticket};
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::flow::tracker::Tracker;
use crate::kafka::bootstrap::{self, Known};
use crate::kafka::client::{self, Kind};
use crate::kafka::events::Events;
use crate::kafka::produce::{self, Record};
use crate::status::Board;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _, PurgeConfig};
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
            known: Known::default(),
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
            let brokers = kafka.brokers.clone();
            let span = tracing::Span::current();
            std::thread::Builder::new()
                .name("kafka-events".into())
                .spawn(move || {
                    let _span = span.entered();
                    let events = Events::waking(inner.client(), std::thread::current());
                    while !stop.load(Ordering::Acquire) {
                        if events.is_empty() {
                            std::thread::park();
                        } else {
                            inner.poll(Duration::ZERO);
                            bootstrap::keep(inner.client(), &brokers);
                        }
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

    /// Whether a report has said that this producer must not continue.
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
    ///
    /// Nothing is sent any more when this returns; the client's threads may end a little later.
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
        // A record counts as in flight until its report has been dealt with, by whichever thread.
        if self.inner.in_flight_count() > 0 {
            self.close();
        }
        self.reports().board.abandon_in_flight();
        let faults = self.faults();
        client::end_beside(self);
        faults
    }

    fn close(&mut self) {
        self.prompt = None;
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
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
