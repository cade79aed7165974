//! Transactions that hold records and the position behind them: `DELIVERY=exactly_once`.
//!
//! One is open from the first record after the last commit, for about `COMMIT_INTERVAL_MS`; while the stream is
//! behind, for longer where a commit takes long. Whatever
//! goes wrong with one breaks its producer: the next incarnation's producer ends it (Kafka aborts what
//! a predecessor left open) and replays from the position that is really stored. So there is one way
//! of recovery for an abortable error, a fatal one, and a commit whose answer was lost.

use super::producer::{Producer, Transaction};
use super::reports::Reports;
use crate::change::position::Position;
use crate::checkpoint::CommitError;
use crate::checkpoint::kafka::Leader;
use crate::error::{Code, Error};
use crate::flow::watermark::Committable;
use crate::kafka::client;
use crate::kafka::produce::Record;
use crate::tasks;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer as _};
use std::ffi::CString;
use std::time::Duration;
use tokio::time::Instant;

/// A transaction that only moves the position of a quiet stream is worth one in this time.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// How long Kafka keeps a transaction beyond its intended length, before it ends it by itself.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(30);
/// The default of the brokers' `transaction.max.timeout.ms`.
const MAX_TIMEOUT: Duration = Duration::from_secs(900);
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a commit is waited for before it is looked whether the producer has failed.
const COMMIT_POLL: Duration = Duration::from_secs(1);
/// How finely the wait for the last deliveries is cut; librdkafka's own flush looks every 100 ms.
const DELIVERY_POLL: Duration = Duration::from_millis(2);

/// What the producer of a stream's transactions is started with; `interval` is their length.
pub fn settings(leader: &Leader, interval: Duration) -> Transaction {
    Transaction {
        id: leader.transactional_id(),
        timeout: timeout(interval),
    }
}

fn timeout(interval: Duration) -> Duration {
    (interval * 2 + TIMEOUT_MARGIN).min(MAX_TIMEOUT)
}

/// Makes `producer` the only one that may write for the stream. Ends the transaction that another one
/// has left open.
///
/// # Errors
/// [`CommitError::Fenced`] when a newer instance has claimed the stream.
pub async fn take_over(leader: &mut Leader, producer: &Producer) -> Result<(), CommitError> {
    leader.before_init().await?;
    let inner = producer.client();
    let initialised = blocking(move || client::initialise(&*inner, INIT_TIMEOUT)).await;
    if let Err(error) = initialised.map_err(CommitError::Failed)? {
        let mut told = client::error("initialising the transactions", &error);
        if producer.faults().fenced {
            leader.doubt();
        }
        if told.code == Code::SinkRefused {
            told.detail += "; the user needs Write and Describe on the transactional id ";
            told.detail += &leader.transactional_id();
        }
        // Whoever has claimed the stream had this right: it may be given back.
        return Err(match told.code {
            Code::SinkUnavailable | Code::SinkRefused | Code::Exhausted => {
                CommitError::Transient(told)
            }
            _ => CommitError::Failed(told),
        });
    }
    leader.after_init().await
}

/// Waits until all is delivered, the producer is broken, or it is too late. Blocks.
fn await_deliveries(inner: &BaseProducer<Reports>, deadline: Instant) {
    let is_broken = || inner.context().is_broken();
    await_reports(inner, || Instant::now() >= deadline || is_broken());
}

/// Waits until what became of each record is told, or nobody wants to wait any longer. Blocks.
fn await_reports(inner: &BaseProducer<Reports>, is_over: impl Fn() -> bool) {
    while inner.in_flight_count() > 0 && !is_over() {
        inner.poll(DELIVERY_POLL);
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub enum Uncommitted {
    /// The producer must not continue: see its faults.
    Broken,
    /// There is nothing to try again.
    Failed(Error),
}

/// The transactions of one producer, one after the other.
pub struct Transactions<'a> {
    producer: &'a Producer,
    leader: &'a mut Leader,
    /// `COMMIT_INTERVAL_MS`.
    interval: Duration,
    begun: Option<Instant>,
    committed: Instant,
    /// Whether the checkpoint's partitions have had records of this producer: see [`first`](super::first).
    are_known: bool,
}

impl<'a> Transactions<'a> {
    /// `producer` must have [taken over](take_over).
    pub fn new(producer: &'a Producer, leader: &'a mut Leader, interval: Duration) -> Self {
        Self {
            producer,
            leader,
            interval,
            begun: None,
            committed: Instant::now(),
            are_known: false,
        }
    }

    /// Begins a transaction, unless one is open. To be called before each record.
    ///
    /// # Errors
    /// [`Uncommitted::Broken`] when librdkafka does not begin one.
    pub fn begin(&mut self) -> Result<(), Uncommitted> {
        if self.begun.is_none() {
            // Only asks librdkafka's own thread: nothing is sent.
            let begun = self.producer.client().begin_transaction();
            begun.map_err(|error| self.broken(error))?;
            self.begun = Some(Instant::now());
        }
        Ok(())
    }

    /// When the open transaction should be committed; without one, when the new position of a stream
    /// without records should be stored. A transaction lasts for the interval, or for `least` where that is longer.
    pub fn due(&self, token: &[u8], least: Duration) -> Option<Instant> {
        match self.begun {
            Some(begun) => Some(begun + self.interval.max(least)),
            // Until it is written again, a start would find no position.
            None if self.leader.is_removed() => Some(self.committed),
            None if self.has_moved(token) => {
                Some(self.committed + self.interval.max(IDLE_INTERVAL))
            }
            None => None,
        }
    }

    /// Whether there is anything to commit for a stream that stands at `token`.
    pub fn is_worth_committing(&self, token: &[u8]) -> bool {
        self.begun.is_some() || self.has_moved(token)
    }

    fn has_moved(&self, token: &[u8]) -> bool {
        let committed = self.leader.committed();
        self.leader.is_removed()
            || committed.is_none_or(|position| position.token.as_bytes() != token)
    }

    /// Commits everything up to the position, and says which one is stored by it.
    ///
    /// # Errors
    /// [`Uncommitted`]; whether it was committed may be unknown.
    pub async fn commit(&mut self, committable: Committable) -> Result<Position, Uncommitted> {
        self.begin()?;
        let checkpoint = self.leader.prepare(&committable);
        let checkpoint = checkpoint.map_err(Uncommitted::Failed)?;
        // Kafka gives it up then.
        let deadline = self.begun.unwrap_or_else(Instant::now) + timeout(self.interval);
        for stored in &checkpoint.records.all {
            let topic = CString::new(stored.topic.as_str()).map_err(|error| {
                let error =
                    Error::new(Code::Internal, "the checkpoint topic's name").because(error);
                Uncommitted::Failed(error)
            })?;
            let record = Record {
                topic: &topic,
                partition: Some(stored.partition),
                key: &stored.key,
                is_keyless: false,
                value: stored.value.as_deref(),
                timestamp_millis: 0,
                headers: &[],
                more_headers: &[],
            };
            self.producer
                .send_checkpoint(&record)
                .map_err(|code| self.broken(KafkaError::MessageProduction(code)))?;
            if !self.are_known {
                let inner = self.producer.client();
                let waited = blocking(move || await_deliveries(&inner, deadline)).await;
                waited.map_err(Uncommitted::Failed)?;
            }
        }
        self.are_known = true;
        let inner = self.producer.client();
        let committed = blocking(move || {
            await_deliveries(&inner, deadline);
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if inner.context().is_broken() {
                    return Err(KafkaError::Canceled);
                }
                match inner.commit_transaction(left.min(COMMIT_POLL)) {
                    // Asking again continues the same commit.
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && !left.is_zero() => {}
                    other => return other,
                }
            }
        });
        match committed.await.map_err(Uncommitted::Failed)? {
            Ok(()) => {
                self.begun = None;
                self.committed = Instant::now();
                Ok(self.leader.stored(checkpoint).clone())
            }
            // Its reports have said why.
            Err(KafkaError::Canceled) => Err(Uncommitted::Broken),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Ends the open transaction as if it had never been, so that consumers need not wait for Kafka's
    /// own time-out. Kafka ends it by itself where this fails.
    pub async fn abandon(&mut self) {
        if self.begun.take().is_none() {
            return;
        }
        let inner = self.producer.client();
        self.producer.drop_queued();
        let deadline = Instant::now() + ABORT_TIMEOUT;
        let aborted = blocking(move || {
            // Aborting waits for the reports of what was thrown away, and serves none itself.
            await_reports(&inner, || Instant::now() >= deadline);
            inner.abort_transaction(ABORT_TIMEOUT)
        });
        if let Ok(Err(error)) = aborted.await {
            tracing::debug!(error = %client::describe(&error), "kafka will end the transaction");
        }
    }

    fn broken(&self, error: KafkaError) -> Uncommitted {
        self.producer.fail(error);
        Uncommitted::Broken
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tasks::blocking("a transaction", work).await
}
