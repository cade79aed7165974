//! The consumer group: what is read, committed and given away. One thread does all of it, so that a partition is never
//! given away between the moment when it is looked how far it is and the moment when that is committed.

mod anew;
mod commits;
mod context;
mod lag;
mod lost;

use super::assigned::Assigned;
use super::job::{Job, Record};
use super::members;
use super::parking::Parking;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::bootstrap;
use crate::kafka::client::{self, Kind};
use crate::status::worker::Board;
use context::Context;
use rdkafka::TopicPartitionList;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long one poll waits at most: what is done is committed after that.
const POLL: Duration = client::poll_wait(100);
/// How often what is done is committed, at most.
const COMMIT: Duration = Duration::from_millis(200);
/// How often is looked which partitions are full, and which can be read on: before those that ran low are empty.
const TURN: Duration = Duration::from_millis(20);
/// After so long without a sign of life the others take over.
const SESSION_MS: &str = "10000";
/// How long what runs of a partition may take to end when it is given away: what does not is repeated elsewhere.
const FAREWELL: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);
/// What all partitions together may hold, in bytes; each has its share.
const MOST_BYTES: usize = 64 << 20;
/// How many records a partition holds at most, from the first that is not done on.
const MOST_RECORDS: usize = 4000;
/// What librdkafka reads ahead, in KiB.
const READ_AHEAD_KIB: &str = "16384";
/// How many events may wait for the dispatcher.
const EVENTS: usize = 256;

/// What is heard of the group.
#[derive(Debug)]
pub enum Event {
    Fetched(Job),
    /// What still waits of it is another's.
    Revoked(Arc<Assigned>),
    /// It cannot be a member.
    Refused(Error),
}

/// A member of the group.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and others have in common.
#[derive(Debug)]
struct Shared {
    board: Arc<Board>,
    group: String,
    /// By topic and partition.
    assigned: Mutex<BTreeMap<(String, i32), Arc<Assigned>>>,
    /// The topics that are to be read, where that has changed.
    wanted: Mutex<Option<BTreeSet<String>>>,
    /// Topics that were found to be deleted.
    gone: Mutex<BTreeSet<String>>,
    /// Topics that were found to be others of the same names, and since when that may be so.
    others: Mutex<BTreeMap<String, Instant>>,
    /// What was given away lately.
    left: Mutex<Vec<lost::Left>>,
    events: mpsc::Sender<Event>,
    most_records: usize,
    parking: Arc<Parking>,
    /// Commits of which it is not yet known what became of them. A transaction must not overtake one.
    committing: AtomicUsize,
    done: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    /// Joins the group. Nothing is read before it is said of which topics.
    ///
    /// # Errors
    /// When librdkafka does not take the properties, or the system has no thread left.
    pub fn join(
        kafka: &Kafka,
        group: &str,
        concurrency: usize,
        parking: Arc<Parking>,
        board: Arc<Board>,
    ) -> Result<(Self, mpsc::Receiver<Event>), Error> {
        let (events, heard) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared {
            board,
            group: group.to_owned(),
            assigned: Mutex::default(),
            wanted: Mutex::default(),
            gone: Mutex::default(),
            others: Mutex::default(),
            left: Mutex::default(),
            events,
            most_records: MOST_RECORDS.max(concurrency * 4),
            parking,
            committing: AtomicUsize::new(0),
            done: CancellationToken::new(),
        });
        let context = Context::new(Arc::clone(&shared));
        let mut config = config(kafka, group);
        let (instance, http) = (&shared.board.instance, shared.board.http.get());
        config.set("client.id", members::name(&kafka.client_id, instance, http));
        let consumer = BaseConsumer::from_config_and_context(&config, context)
            .map_err(|error| client::error("creating a consumer for the workers' group", &error))?;
        let (ours, brokers) = (Arc::clone(&shared), kafka.brokers.clone());
        let span = tracing::Span::current();
        let thread = std::thread::Builder::new().name("worker-group".to_owned());
        let thread = thread
            .spawn(move || span.in_scope(|| ours.follow(consumer, &brokers)))
            .map_err(|error| {
                Error::new(Code::Exhausted, "no thread for the workers' group").because(error)
            })?;
        let member = Self {
            shared,
            thread: Some(thread),
        };
        Ok((member, heard))
    }

    /// Reads these topics from now on.
    pub fn read(&self, topics: BTreeSet<String>) {
        *lock(&self.shared.wanted) = Some(topics);
    }

    /// Says what is lost with topics that were deleted.
    pub fn forget(&self, deleted: BTreeSet<String>) {
        lock(&self.shared.gone).extend(deleted);
    }

    /// Reads topics from their beginnings that are others since then, of the same names.
    pub fn read_anew(&self, others: BTreeMap<String, Instant>) {
        lock(&self.shared.others).extend(others);
    }

    /// Commits what is done and leaves the group, so that the others need not wait for the end of the session. Blocks,
    /// while what it says last has to be heard.
    pub fn leave(mut self) {
        self.shared.done.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// So that the thread ends however this one does.
impl Drop for Member {
    fn drop(&mut self) {
        self.shared.done.cancel();
    }
}

fn config(kafka: &Kafka, group: &str) -> ClientConfig {
    let mut config = client::client_config(kafka, Kind::Consumer);
    for name in [
        "auto.commit.enable",
        "group.instance.id",
        "group.remote.assignor",
        "statistics.interval.ms",
    ] {
        config.remove(name);
    }
    bootstrap::watch(&mut config);
    config
        .set("group.id", group)
        .set("group.protocol", "classic")
        // A partition that stays is read on while others come and go.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION_MS)
        .set("heartbeat.interval.ms", "1000")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("queued.max.messages.kbytes", READ_AHEAD_KIB)
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

impl Shared {
    fn follow(&self, consumer: BaseConsumer<Context>, brokers: &str) {
        let (mut committed, mut turned) = (Instant::now(), Instant::now());
        let mut names: BTreeMap<String, Arc<str>> = BTreeMap::new();
        while !self.done.is_cancelled() {
            let gone = std::mem::take(&mut *lock(&self.gone));
            if !gone.is_empty() {
                self.tell_gone(&gone);
            }
            let others = std::mem::take(&mut *lock(&self.others));
            for (topic, since) in others {
                self.read_anew(&consumer, &topic, since);
            }
            let wanted = lock(&self.wanted).take();
            if let Some(topics) = wanted {
                self.subscribe(&consumer, &topics);
            }
            // What failed is written where it waits soon: until then a crash repeats it.
            let patience = match self.parking.is_empty() {
                true => POLL,
                false => LOOK,
            };
            match consumer.poll(patience) {
                Some(Ok(message)) => {
                    let topic = names
                        .entry(message.topic().to_owned())
                        .or_insert_with_key(|name| name.as_str().into());
                    let record = Record::read(&message, topic);
                    self.fetched(record);
                }
                Some(Err(error)) => self.failed(&error),
                None => {}
            }
            bootstrap::keep(consumer.client(), brokers);
            // Before the next commit: it would have to wait for that one.
            self.park(&consumer);
            if committed.elapsed() >= COMMIT && self.committing.load(Ordering::Relaxed) == 0 {
                committed = Instant::now();
                self.commit(&consumer, CommitMode::Async);
            }
            if turned.elapsed() >= TURN {
                turned = Instant::now();
                self.turn(&consumer);
            }
        }
        let end = Instant::now() + FAREWELL;
        while !self.parking.is_empty() && Instant::now() < end {
            // Reports of commits are served by it, and what is read is another's work by now.
            drop(consumer.poll(LOOK));
            self.park(&consumer);
        }
        self.commit(&consumer, CommitMode::Sync);
        // Closing it gives all partitions away.
        drop(consumer);
    }

    /// Writes jobs that failed to where they wait.
    fn park(&self, consumer: &BaseConsumer<Context>) {
        for job in self.parking.overdue() {
            let _ = self.events.blocking_send(Event::Fetched(job));
        }
        match self.parking.is_due() {
            Ok(true) if self.committing.load(Ordering::Relaxed) == 0 => {
                self.write_parked(consumer);
            }
            Ok(_) => {}
            Err(error) => {
                let _ = self.events.blocking_send(Event::Refused(error));
            }
        }
    }

    fn write_parked(&self, consumer: &BaseConsumer<Context>) {
        for job in self.parking.write(consumer.group_metadata().as_ref()) {
            let _ = self.events.blocking_send(Event::Fetched(job));
        }
    }

    fn subscribe(&self, consumer: &BaseConsumer<Context>, topics: &BTreeSet<String>) {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if names.is_empty() {
            consumer.unsubscribe();
            return;
        }
        if let Err(error) = consumer.subscribe(&names) {
            client::log_error(&error, "subscribing to the topics of jobs");
            // It is tried again.
            lock(&self.wanted).get_or_insert_with(|| topics.clone());
        }
    }

    fn fetched(&self, record: Record) {
        let place = (record.topic.to_string(), record.partition);
        // Otherwise it was given away meanwhile.
        let Some(mut assigned) = lock(&self.assigned).get(&place).cloned() else {
            return;
        };
        if !assigned.take(record.offset, record.bytes()) {
            assigned = self.begin_anew(&assigned);
            assigned.take(record.offset, record.bytes());
        }
        let job = match assigned.topic == self.parking.topic {
            true => Job::parked(record, assigned),
            false => Job::new(record, assigned),
        };
        let _ = self.events.blocking_send(Event::Fetched(job));
    }

    fn failed(&self, error: &KafkaError) {
        use RDKafkaErrorCode as E;
        let remedy = match error.rdkafka_error_code() {
            Some(E::GroupAuthorizationFailed) => "the user needs Read on the group",
            Some(E::InconsistentGroupProtocol) => {
                "another program is in the group, with another way to assign partitions; give WORKER_GROUP a name \
                 of its own"
            }
            Some(E::InvalidSessionTimeout) => {
                "the brokers do not allow a session of 10 s (group.min.session.timeout.ms)"
            }
            Some(E::TopicAuthorizationFailed) => {
                let sentence =
                    "a topic of jobs cannot be read: the user needs Describe and Read on it";
                self.board.wait("topic", sentence);
                return;
            }
            _ => {
                client::log_error(error, "reading jobs");
                return;
            }
        };
        let told = client::error(format!("being a member of the group {}", self.group), error);
        let refused = Error::new(Code::SinkRefused, format!("{}; {remedy}", told.detail));
        let _ = self.events.blocking_send(Event::Refused(refused));
    }

    fn all(&self) -> Vec<Arc<Assigned>> {
        lock(&self.assigned).values().cloned().collect()
    }

    /// Pauses partitions that hold as much as they may, and resumes them.
    fn turn(&self, consumer: &BaseConsumer<Context>) {
        let all = self.all();
        let most = (self.most_records, MOST_BYTES / all.len().max(1));
        let mut full = 0;
        for assigned in &all {
            if let Some(is_paused) = assigned.turn(most) {
                let mut list = TopicPartitionList::new();
                list.add_partition(&assigned.topic, assigned.partition);
                let turned = match is_paused {
                    true => consumer.pause(&list),
                    false => consumer.resume(&list),
                };
                if let Err(error) = turned {
                    client::log_error(&error, "pausing or resuming a partition");
                }
            }
            full += usize::from(assigned.is_paused());
        }
        match full {
            0 => {
                self.board.go_on("full");
            }
            _ => self.board.wait(
                "full",
                format!(
                    "{full} partitions hold as many jobs as they may, and are read on when the first of these are done"
                ),
            ),
        }
    }

    fn assigned(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let committed = Self::committed(consumer, list);
        {
            let mut assigned = lock(&self.assigned);
            for element in &list.elements() {
                let place = (element.topic().to_owned(), element.partition());
                let new = Arc::new(Assigned::new(&place.0, place.1));
                let committed = committed.as_ref().map(|known| known.get(&place).copied());
                if let Some(committed) = committed {
                    self.come_back(&new, committed);
                    // Nobody else reads the topic of retries, which was made for this group.
                    let of_retries = (place.0 == self.parking.topic).then_some(0);
                    if let Some(next) = committed.or(of_retries) {
                        new.begin_at(next);
                    }
                }
                assigned.insert(place, new);
            }
        }
        let done = consumer.incremental_assign(list);
        // One that was paused when it was given away would stay so.
        let done = done.and_then(|()| match list.count() {
            0 => Ok(()),
            _ => consumer.resume(list),
        });
        if let Err(error) = done {
            client::log_error(&error, "taking what the group assigns");
        }
        self.board.ready.set(true);
        self.show();
    }

    fn revoked(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let elements = list.elements();
        let places = elements
            .iter()
            .map(|it| (it.topic().to_owned(), it.partition()));
        let gone: Vec<_> = {
            let assigned = lock(&self.assigned);
            places
                .filter_map(|place| assigned.get(&place).cloned())
                .collect()
        };
        for assigned in &gone {
            assigned.close();
        }
        // What is another's already can be committed no more, and what runs of it is repeated there.
        if !consumer.assignment_lost() {
            let end = Instant::now() + FAREWELL;
            while gone.iter().any(|it| it.running() > 0) && Instant::now() < end {
                std::thread::sleep(LOOK);
            }
            self.commit_these(consumer, &gone, CommitMode::Sync);
            self.write_parked(consumer);
        }
        for assigned in gone {
            assigned.lost.cancel();
            lock(&self.assigned).remove(&(assigned.topic.clone(), assigned.partition));
            self.note_left(&assigned);
            let _ = self.events.blocking_send(Event::Revoked(assigned));
        }
        if let Err(error) = consumer.incremental_unassign(list) {
            client::log_error(&error, "giving away what the group takes back");
        }
        self.show();
    }

    fn show(&self) {
        let all = lock(&self.assigned);
        let of_jobs = all.keys().filter(|(topic, _)| *topic != self.parking.topic);
        let partitions = of_jobs.count();
        drop(all);
        self.board.change().partitions = partitions;
        tracing::info!(
            group = self.group,
            partitions,
            "the group has assigned partitions"
        );
    }
}
