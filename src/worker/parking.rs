//! Jobs that failed and keep no order wait in a topic of their own: the record there and the offset of the one that was
//! read are committed in one transaction. A crash before it repeats the attempt, and one after it nothing.
//!
//! All of it is done by the group's thread, so that the partitions are still this worker's when it commits.

use super::assigned::Assigned;
use super::job::{Job, now_millis};
use super::retry::{self, Progress};
use crate::config::Kafka;
use crate::config::worker::retries_of;
use crate::error::{Code, Error};
use crate::kafka::transaction::{Outcome, Prepared, Producer, transactional_id};
use crate::status::worker::Board;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How many jobs go into one transaction.
const AT_ONCE: usize = 500;
/// Before a transaction that did not come about is tried again.
const BREATH: Duration = Duration::from_secs(1);
/// How long after it is due a job that could not be written is left to wait, in milliseconds.
const GRACE_MILLIS: i64 = 2_000;
/// How long a broker may take to introduce itself to a new client.
const SETTLING: Duration = Duration::from_secs(5);

/// What the transactional ids of a group's workers begin with; each start of a worker has its own.
pub fn ids_of(group: &str) -> String {
    transactional_id(&format!("worker-{group}"))
}

/// What waits to be written.
#[derive(Debug)]
pub struct Parking {
    pub topic: String,
    kafka: Kafka,
    id: String,
    board: Arc<Board>,
    is_needed: AtomicBool,
    is_required: AtomicBool,
    jobs: Mutex<Vec<Job>>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    producer: Making,
    /// How many producers were made: each has an id of its own, since nobody has to fence the one before.
    made: u64,
    /// Records of so many bytes are refused.
    refused_from: usize,
    /// Not before this, after a transaction did not come about.
    rests_until: Option<Instant>,
    /// Whether each has its own transaction, to learn which one it is that Kafka refuses.
    is_one_by_one: bool,
}

#[derive(Debug)]
enum Making {
    Not,
    Now(mpsc::Receiver<Result<Producer, Error>>),
    Made(Producer),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parking {
    pub fn new(kafka: &Kafka, group: &str, board: Arc<Board>) -> Self {
        Self {
            topic: retries_of(group),
            kafka: kafka.clone(),
            id: format!("{}-{}", ids_of(group), board.instance),
            board,
            is_needed: AtomicBool::new(false),
            is_required: AtomicBool::new(false),
            jobs: Mutex::default(),
            writer: Mutex::new(Writer {
                producer: Making::Not,
                made: 0,
                refused_from: usize::MAX,
                rests_until: None,
                is_one_by_one: false,
            }),
        }
    }

    /// Whether any handler keeps no order, so that there has to be such a topic.
    pub fn is_needed(&self) -> bool {
        self.is_needed.load(Ordering::Relaxed)
    }

    /// From now on there has to be one.
    pub fn need(&self) {
        self.is_needed.store(true, Ordering::Relaxed);
    }

    /// There has to be one from the start: a worker that may not use it ends.
    pub fn need_at_start(&self) {
        self.is_required.store(true, Ordering::Relaxed);
        self.need();
    }

    /// Takes out what is due and could not be written: it is tried again from memory.
    pub fn overdue(&self) -> Vec<Job> {
        let past = now_millis() - GRACE_MILLIS;
        let mut jobs = lock(&self.jobs);
        let is_due = |job: &mut Job| job.due.is_some_and(|due| due < past);
        jobs.extract_if(.., is_due).collect()
    }

    /// Takes a job that is to be tried again when it is due.
    pub fn put(&self, job: Job) {
        lock(&self.jobs).push(job);
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.jobs).is_empty()
    }

    /// How many wait to be written, by job.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for job in lock(&self.jobs).iter() {
            *counts.entry(job.name().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Whether there is something to be written, and to write it with. The first time a producer is made meanwhile.
    ///
    /// # Errors
    /// [`Code::SinkRefused`] where Kafka will never take it.
    pub fn is_due(&self) -> Result<bool, Error> {
        let mut writer = lock(&self.writer);
        if self.is_empty() && !self.is_needed() {
            return Ok(false);
        }
        if writer
            .rests_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Ok(false);
        }
        writer.rests_until = None;
        match &writer.producer {
            Making::Not => {
                writer.made += 1;
                writer.producer = self.make(writer.made);
            }
            Making::Made(_) => return Ok(!self.is_empty()),
            Making::Now(made) => match made.try_recv() {
                Ok(Ok(producer)) => writer.producer = Making::Made(producer),
                Ok(Err(error))
                    if error.code == Code::SinkRefused
                        && self.is_required.load(Ordering::Relaxed) =>
                {
                    return Err(error);
                }
                Ok(Err(error)) => {
                    writer.producer = Making::Not;
                    self.rest(&mut writer, &error);
                }
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => writer.producer = Making::Not,
            },
        }
        Ok(false)
    }

    /// Initialising transactions takes a while, in which the group must be heard.
    fn make(&self, nth: u64) -> Making {
        let (tell, told) = mpsc::sync_channel(1);
        let (kafka, topic) = (self.kafka.clone(), self.topic.clone());
        let id = format!("{}-{nth}", self.id);
        let span = tracing::Span::current();
        let thread = std::thread::Builder::new().name("worker-retries".to_owned());
        let spawned = thread.spawn(move || {
            span.in_scope(|| {
                let made = Prepared::new(&kafka, id, "jobs that are tried again");
                let made = made.and_then(|prepared| {
                    prepared.settle(&topic, SETTLING);
                    prepared.take_over()
                });
                // The worker may have ended.
                let _ = tell.send(made);
            });
        });
        match spawned {
            Ok(_) => Making::Now(told),
            // No thread is left: it is tried again.
            Err(_) => Making::Not,
        }
    }

    fn rest(&self, writer: &mut Writer, error: &Error) {
        writer.rests_until = Some(Instant::now() + BREATH);
        tracing::warn!(
            topic = self.topic,
            code = error.code.name(),
            "jobs are not parked yet: {error}"
        );
        let sentence = format!(
            "jobs that failed cannot be written to {}, where they are to wait for their next attempt: {error}",
            self.topic
        );
        self.board.wait("retries", sentence);
    }

    /// Writes what waits in one transaction with how far its partitions are. Blocks. The jobs that Kafka does not take
    /// are handed back: they have to wait elsewhere.
    pub fn write(&self, group: Option<&ConsumerGroupMetadata>) -> Vec<Job> {
        let mut writer = lock(&self.writer);
        let Making::Made(producer) = &writer.producer else {
            return Vec::new();
        };
        let Some(group) = group else {
            // No member at present; those that are another's by then are dropped.
            return Vec::new();
        };
        let most = if writer.is_one_by_one { 1 } else { AT_ONCE };
        let jobs = {
            let mut jobs = lock(&self.jobs);
            // Whoever has the partition now repeats the attempt.
            jobs.retain(|job| !job.at.lost.is_cancelled());
            let count = jobs.len().min(most);
            jobs.drain(..count).collect::<Vec<_>>()
        };
        // One of that size was refused before.
        let (back, jobs): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| job.record.bytes() >= writer.refused_from);
        if jobs.is_empty() {
            return back;
        }
        let (offsets, nexts) = offsets(&jobs);
        let outcome = producer.transaction_with(
            |produce| {
                for job in &jobs {
                    produce(self.record(job))?;
                }
                Ok(())
            },
            &offsets,
            group,
        );
        let error = match outcome {
            Outcome::Committed => {
                self.committed(&mut writer, &jobs, &nexts);
                return back;
            }
            Outcome::Aborted(error) | Outcome::Broken(error) => error,
            Outcome::Fenced => Error::new(Code::SinkUnavailable, "kafka ended the transaction"),
        };
        // A record that is refused leaves a gap in the numbers of those behind it, which an abort does not close.
        writer.producer = Making::Not;
        match (is_too_large(&error), jobs.as_slice()) {
            (true, [job]) => {
                tracing::warn!(
                    topic = self.topic,
                    place = job.record.place(),
                    "a job is too large for the topic of retries, and waits in memory, as all of its size do until this \
                     worker is started again; raise max.message.bytes of the topic"
                );
                writer.refused_from = job.record.bytes();
            }
            (true, _) => writer.is_one_by_one = true,
            (false, _) => self.rest(&mut writer, &error),
        }
        lock(&self.jobs).splice(0..0, jobs);
        back
    }

    fn committed(&self, writer: &mut Writer, jobs: &[Job], nexts: &[(Arc<Assigned>, i64)]) {
        for job in jobs {
            job.finish();
        }
        for (at, next) in nexts {
            at.committed(*next);
        }
        writer.is_one_by_one &= !self.is_empty();
        self.board.go_on("retries");
    }

    fn record<'a>(&'a self, job: &'a Job) -> BaseRecord<'a, Vec<u8>, Vec<u8>> {
        let mut headers = OwnedHeaders::new_with_capacity(job.record.headers.len() + 4);
        for (key, value) in &job.record.headers {
            let value = value.as_deref();
            headers = headers.insert(Header { key, value });
        }
        let progress = Progress {
            due: job.due.unwrap_or_default(),
            attempts: job.attempts,
            rested: job.rested,
        };
        for (key, value) in &retry::headers(&job.record, &progress) {
            let value = Some(value);
            headers = headers.insert(Header { key, value });
        }
        let mut record = BaseRecord::to(&self.topic).headers(headers);
        record.key = job.record.key.as_ref();
        record.payload = job.record.value.as_ref();
        record
    }
}

/// How far the jobs' partitions are once these wait elsewhere.
fn offsets(jobs: &[Job]) -> (TopicPartitionList, Vec<(Arc<Assigned>, i64)>) {
    let mut parked: BTreeMap<u64, (&Arc<Assigned>, BTreeSet<i64>)> = BTreeMap::new();
    for job in jobs {
        let (_, offsets) = parked
            .entry(job.at.id)
            .or_insert_with(|| (&job.at, BTreeSet::new()));
        offsets.insert(job.offset);
    }
    let (mut list, mut nexts) = (TopicPartitionList::new(), Vec::new());
    for (at, offsets) in parked.into_values() {
        if let Some(next) = at.next_with(&offsets) {
            // Offsets come from Kafka itself, and are valid.
            let _ = list.add_partition_offset(&at.topic, at.partition, Offset::Offset(next));
            nexts.push((Arc::clone(at), next));
        }
    }
    (list, nexts)
}

/// Whether it is the size of a record that Kafka refuses.
fn is_too_large(error: &Error) -> bool {
    let source = error.source.as_deref();
    let source = source.and_then(|source| source.downcast_ref::<KafkaError>());
    let code = source.and_then(KafkaError::rdkafka_error_code);
    code == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}
