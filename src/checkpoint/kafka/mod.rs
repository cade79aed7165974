//! Checkpoints in a compacted Kafka topic, keyed by stream id, written in transactions.
//!
//! The transactional producer is what fences: who initialises it last, under the stream's own
//! [`transactional_id`], is the only one whose records count. Two parties use it:
//!
//! - at least once, [`Store`] has a small producer of its own, with one transaction per commit;
//! - exactly once, the sink's producer writes records and checkpoint in one transaction. [`Store`] has
//!   claimed the stream and read its checkpoint by then, and [hands it over](Store::hand_over) to a
//!   [`Leader`], which says when initialising that producer is right.
//!
//! [`Topic`] says where a stream's checkpoint is and what its record looks like, for both.

mod clients;
mod leader;
mod listeners;
mod read;
mod rights;
mod topic;

pub(super) use clients::Clients;
pub use leader::Leader;
pub(super) use rights::check;
pub use topic::{CheckpointRecord, CheckpointRecords, Topic};

use super::{Claim, CommitError, LAST_LOOK, Record, StoreContext};
use crate::change::position::Position;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client;
use crate::kafka::transaction::{Outcome, Prepared, Producer, transactional_id};
use crate::tasks;
use listeners::Stored;
use rdkafka::consumer::Consumer;
use rdkafka::producer::BaseRecord;

use read::{Consumers, OpenTransactions, Reader};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// How long somebody who is fenced waits for the claim of who did it: between initialising its
/// producer and writing its claim, an instance reads the checkpoint.
const SUCCESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a broker may take to introduce itself to a new client.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);

/// How often a claim is tried again when it is fenced and nobody shows up as the one who did it.
const CLAIM_ATTEMPTS: usize = 3;

/// How long after one look whether the checkpoint is gone follows the next, while a write is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The small producer of a stream's checkpoints; it has fenced nobody yet.
fn prepare(kafka: &Kafka, stream: &str) -> Result<Prepared, Error> {
    Prepared::new(kafka, transactional_id(stream), "the checkpoint")
}

/// Writes a checkpoint's records in a transaction of their own.
fn transaction(producer: &Producer, records: &[CheckpointRecord]) -> Outcome {
    producer.transaction(|produce| {
        for record in records {
            let mut sent = BaseRecord::<Vec<u8>, Vec<u8>>::to(&record.topic)
                .partition(record.partition)
                .key(&record.key);
            sent.payload = record.value.as_ref();
            produce(sent)?;
        }
        Ok(())
    })
}

/// Reads the newest record of a stream that is committed, waiting for transactions that could hide a
/// newer one. `None` is a fact: the stream has none.
///
/// # Errors
/// [`Code::SinkUnavailable`] when Kafka cannot say now, [`Code::SinkRefused`] when it will not, and
/// [`Code::CheckpointFailed`] for a record that cannot be decoded.
pub async fn latest(kafka: &Kafka, topic: &Topic, stream: &str) -> Result<Option<Record>, Error> {
    let (kafka, topic, stream) = (kafka.clone(), topic.clone(), stream.to_owned());
    blocking(move || Reader::open(&kafka, &topic)?.latest(&stream, OpenTransactions::Await)).await?
}

/// Who has claimed the stream after `claim`; `None` when nobody did within some seconds: then it was
/// not a newer instance that fenced `claim` but Kafka, which ended a transaction that was open for
/// too long, and initialising again is right.
///
/// # Errors
/// As [`latest`].
pub async fn successor(
    kafka: &Kafka,
    topic: &Topic,
    claim: &Claim,
) -> Result<Option<String>, Error> {
    let (kafka, topic, claim) = (kafka.clone(), topic.clone(), claim.clone());
    blocking(move || {
        let reader = Reader::open(&kafka, &topic)?;
        await_successor(&reader, &claim.stream, |found| supersedes(found, &claim))
    })
    .await?
}

/// Reads a stream's record without claiming the stream. A topic that does not exist holds none.
pub(super) async fn read(
    kafka: &Kafka,
    topic: &str,
    stream: &str,
) -> Result<Option<Record>, Error> {
    let (kafka, topic, stream) = (kafka.clone(), topic.to_owned(), stream.to_owned());
    blocking(move || {
        Reader::find(&kafka, &topic)?.map_or(Ok(None), |reader| {
            reader.latest(&stream, OpenTransactions::Await)
        })
    })
    .await?
}

/// Whether the record of a stream that has one is known to be gone. What Kafka does not say in time is not known.
async fn is_gone(kafka: &Kafka, topic: &str, stream: &str) -> bool {
    let (kafka, topic, stream) = (kafka.clone(), topic.to_owned(), stream.to_owned());
    let (answer, answered) = oneshot::channel();
    tokio::task::spawn_blocking(move || -> Result<(), Error> {
        let consumers = Consumers::new(&kafka)?;
        let found = match Topic::find(consumers.uncommitted.client(), &topic)? {
            // Open transactions hide only what is newer than a record that counts.
            Some(topic) => {
                Reader::with(consumers, &topic).latest(&stream, OpenTransactions::Ignore)?
            }
            None => {
                // Clients take their time to close, and nobody needs to wait for that.
                let _ = answer.send(true);
                return Ok(());
            }
        };
        let _ = answer.send(found.is_none());
        Ok(())
    });
    matches!(
        tokio::time::timeout(LAST_LOOK, answered).await,
        Ok(Ok(true))
    )
}

/// Reads the records of all streams.
pub(super) async fn list(kafka: &Kafka, topic: &str) -> Result<Vec<Record>, Error> {
    let (kafka, topic) = (kafka.clone(), topic.to_owned());
    blocking(move || Reader::find(&kafka, &topic)?.map_or(Ok(Vec::new()), |reader| reader.all()))
        .await?
}

/// One stream, claimed through a transactional producer.
#[derive(Debug)]
pub(super) struct Store {
    kafka: Kafka,
    topic: Topic,
    claim: Claim,
    /// `None` after an error that it did not survive.
    producer: Option<Producer>,
    /// The listeners that are known to be stored; none where that is not known.
    stored: Option<Stored>,
    /// What the checkpoint was read through when the stream was claimed, for whoever claims it in the next moment.
    reader: Option<Reader>,
}

impl Store {
    pub(super) async fn open(
        clients: Clients,
        kafka: &Kafka,
        topic: &str,
        stream: &str,
        context: &StoreContext,
    ) -> Result<(Self, Claim, Option<Record>), Error> {
        let Clients {
            admin,
            consumers,
            prepared,
        } = clients;
        let topic = Topic::prepare_through(admin, kafka, topic).await?;
        let claimed = {
            let (kafka, topic) = (kafka.clone(), topic.clone());
            let (stream, context) = (stream.to_owned(), context.clone());
            blocking(move || {
                let reader = Reader::with(consumers, &topic);
                // Before anyone is fenced; what this look misses can only be newer.
                let found = reader.latest(&stream, OpenTransactions::Ignore)?;
                context.check(found.as_ref())?;
                let mut claimed = claim(prepared, &reader, &topic, &stream, &context)?;
                for _ in 1..CLAIM_ATTEMPTS {
                    if claimed.is_none() {
                        let prepared = prepare(&kafka, &stream)?;
                        prepared.settle(topic.name(), QUERY_PATIENCE);
                        claimed = claim(prepared, &reader, &topic, &stream, &context)?;
                    }
                }
                match claimed {
                    Some(claimed) => Ok((claimed, reader)),
                    None => Err(Error::from(CommitError::Fenced { by: None })),
                }
            })
            .await??
        };
        let ((producer, claim, previous, stored), reader) = claimed;
        let store = Self {
            kafka: kafka.clone(),
            topic,
            claim: claim.clone(),
            producer: Some(producer),
            stored,
            reader: Some(reader),
        };
        Ok((store, claim, previous))
    }

    /// The stream is claimed, and its checkpoints are written here.
    pub(super) fn keep(&mut self) {
        if let Some(reader) = self.reader.take() {
            client::end_beside(reader);
        }
    }

    pub(super) async fn write(&mut self, record: &Record) -> Result<(), CommitError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.lead_again().await?,
        };
        // Dropped while this waits, the store has no producer and confirms who leads before its next
        // write: what became of this one does not matter then.
        let records = self.topic.records(record, self.stored.as_ref());
        let records = records.map_err(CommitError::Failed)?;
        let (producer, outcome, stored) = blocking(move || {
            let outcome = transaction(&producer, &records.all);
            (producer, outcome, records.stored)
        })
        .await
        .map_err(CommitError::Failed)?;
        match outcome {
            Outcome::Committed => {
                self.producer = Some(producer);
                self.stored = stored;
                Ok(())
            }
            // Also where this one could continue: who makes the next one looks whether the topic is still there.
            Outcome::Aborted(error) | Outcome::Broken(error) => {
                client::end_beside(producer);
                Err(transient(error))
            }
            Outcome::Fenced => {
                client::end_beside(producer);
                let by = successor(&self.kafka, &self.topic, &self.claim).await;
                match by.map_err(transient)? {
                    Some(by) => Err(CommitError::Fenced { by: Some(by) }),
                    None => Err(CommitError::Transient(Error::new(
                        Code::SinkUnavailable,
                        "kafka ended the checkpoint's transaction; no other instance claims the stream",
                    ))),
                }
            }
        }
    }

    /// Whether the checkpoint is known to be gone. The producer goes with it: it may know a topic that was
    /// deleted.
    pub(super) async fn is_gone(&mut self) -> bool {
        let is_gone = is_gone(&self.kafka, self.topic.name(), &self.claim.stream).await;
        if is_gone && let Some(producer) = self.producer.take() {
            client::end_beside(producer);
        }
        is_gone
    }

    /// Waits until the checkpoint is known to be gone, and with it what a write waits for. Asks again and again.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + use<> {
        let kafka = self.kafka.clone();
        let (topic, stream) = (self.topic.name().to_owned(), self.claim.stream.clone());
        async move {
            while !is_gone(&kafka, &topic, &stream).await {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    pub(super) fn place(&self) -> String {
        format!("Kafka topic {}", self.topic.name())
    }

    /// A new producer for the claim we hold. Initialising it fences whoever came after us: so it is
    /// made sure before that nobody did, and once more after, for who came in between.
    async fn lead_again(&mut self) -> Result<Producer, CommitError> {
        self.topic = Topic::prepare_again(&self.kafka, self.topic.name())
            .await
            .map_err(transient)?;
        let prepared = prepare(&self.kafka, &self.claim.stream).map_err(transient)?;
        self.confirm().await?;
        let topic = self.topic.name().to_owned();
        let producer = blocking(move || {
            prepared.settle(&topic, QUERY_PATIENCE);
            prepared.take_over()
        })
        .await
        .map_err(CommitError::Failed)?
        .map_err(transient)?;
        let found = self.confirm().await?;
        self.stored = Stored::of(found.as_ref());
        info!(stream = %self.claim.stream, "the checkpoint's producer was made anew");
        Ok(producer)
    }

    async fn confirm(&self) -> Result<Option<Record>, CommitError> {
        let open = OpenTransactions::Await;
        confirmed(&self.kafka, &self.topic, &self.claim, open).await
    }

    /// Ends the producer of checkpoints and gives on the right to write them.
    pub(super) fn hand_over(self, committed: Option<Position>) -> Leader {
        if let Some(producer) = self.producer {
            client::end_beside(producer);
        }
        let Self {
            kafka,
            topic,
            claim,
            stored,
            reader,
            ..
        } = self;
        Leader::new(kafka, topic, claim, committed, stored, reader)
    }

    pub(super) fn close(mut self) {
        self.keep();
        if let Some(producer) = self.producer {
            client::end_beside(producer);
        }
    }
}

/// A claim that was made, what it found, and which listeners are stored since.
type Claimed = (Producer, Claim, Option<Record>, Option<Stored>);

/// One attempt to claim: `None` when it was fenced and nobody shows up who did it, so that trying
/// again is right. The instance started last shall win.
fn claim(
    prepared: Prepared,
    reader: &Reader,
    topic: &Topic,
    stream: &str,
    context: &StoreContext,
) -> Result<Option<Claimed>, Error> {
    let producer = prepared.take_over()?;
    let previous = reader.latest(stream, OpenTransactions::Await)?;
    context.check(previous.as_ref())?;
    let claim = Claim::after(previous.as_ref(), stream, context);
    let stored = Stored::of(previous.as_ref());
    let records = topic.records(&Record::claimed(previous.as_ref(), &claim), stored.as_ref())?;
    match transaction(&producer, &records.all) {
        Outcome::Committed => Ok(Some((producer, claim, previous, records.stored))),
        Outcome::Aborted(error) | Outcome::Broken(error) => Err(error),
        Outcome::Fenced => {
            // Whoever was a moment later read the same predecessor and claims the same epoch.
            let newer = |found: &Record| found.epoch >= claim.epoch;
            match await_successor(reader, stream, newer)? {
                Some(by) => Err(CommitError::Fenced { by: Some(by) }.into()),
                None => Ok(None),
            }
        }
    }
}

/// The stream's newest record, which nobody else has claimed.
async fn confirmed(
    kafka: &Kafka,
    topic: &Topic,
    claim: &Claim,
    open: OpenTransactions,
) -> Result<Option<Record>, CommitError> {
    let reader = Reader::open(kafka, topic).map_err(transient)?;
    let (found, reader) = confirmed_through(reader, claim, open).await?;
    client::end_beside(reader);
    Ok(found)
}

/// As [`confirmed`], through a reader that is there; it is given back.
async fn confirmed_through(
    reader: Reader,
    claim: &Claim,
    open: OpenTransactions,
) -> Result<(Option<Record>, Reader), CommitError> {
    let stream = claim.stream.clone();
    let (found, reader) = blocking(move || (reader.latest(&stream, open), reader))
        .await
        .map_err(CommitError::Failed)?;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            client::end_beside(reader);
            return Err(transient(error));
        }
    };
    let found = match found {
        Some(found) if supersedes(&found, claim) => {
            client::end_beside(reader);
            return Err(CommitError::Fenced {
                by: Some(found.instance),
            });
        }
        Some(found) => Some(found),
        None => {
            warn!(
                stream = %claim.stream, topic = %reader.topic(),
                "the checkpoint was removed by somebody; it is written anew"
            );
            None
        }
    };
    Ok((found, reader))
}

fn supersedes(found: &Record, claim: &Claim) -> bool {
    found.epoch > claim.epoch || (found.epoch == claim.epoch && !found.is_of(claim))
}

fn await_successor(
    reader: &Reader,
    stream: &str,
    newer: impl Fn(&Record) -> bool,
) -> Result<Option<String>, Error> {
    let deadline = Instant::now() + SUCCESSION_TIMEOUT;
    loop {
        let found = reader.latest(stream, OpenTransactions::Ignore)?;
        if let Some(found) = found.filter(|found| newer(found)) {
            return Ok(Some(found.instance));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Of a stream that was claimed: what Kafka refuses now it has allowed before, and may allow again. Descriptors
/// that are used up now were there when it was claimed.
fn transient(error: Error) -> CommitError {
    match error.code {
        Code::SinkUnavailable | Code::SinkRefused | Code::Exhausted => {
            CommitError::Transient(error)
        }
        _ => CommitError::Failed(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tasks::blocking("the checkpoint topic", work).await
}
