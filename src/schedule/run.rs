//! Runs the schedules of this instance: takes them over, and then makes a record of each job that is due.

use super::claim::{self, Claim};
use super::clock::Clock;
use super::definition::Kind;
use super::documents::{self, Changes};
use super::due::queue::id_key;
use super::due::source::Source;
use super::plan::{Job, Plan, Progress};
use super::progress::{self, Stored};
use super::record::JobRecord;
use super::set::{self, Set};
use super::{Order, Parts};
use crate::config::Schedules as Config;
use crate::error::{Code, Error};
use crate::kafka::client;
use crate::kafka::transaction::{Outcome, Prepared, Producer};
use crate::log::event_id;
use crate::sink::topics::Topics;
use crate::status::schedules::{Phase, Schedules as Board, State, Told};
use crate::status::waiting::{Awaited, Waiting};
use crate::tasks;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many jobs are in one transaction.
const JOBS: usize = 500;
/// How many documents are in one transaction: each is a record and an entry.
const DOCUMENTS: usize = 200;
/// How much progress is stored in one transaction without jobs.
const STORED: usize = 5_000;
/// How long is slept at most: the clock on the wall may be set, and nobody tells.
const LOOK: Duration = Duration::from_secs(1);
/// How far apart two looks at the clock may be before it is taken for a pause, in which nobody ran: a machine that
/// slept, or a clock that was set.
const PAUSE: i64 = 10_000;
/// How long the documents are left alone after they were read: they are read as a whole.
const REST: Duration = Duration::from_millis(200);
/// How often what cannot be read, or waits for its topic, is looked at again.
const AGAIN: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// How long a broker may take to introduce itself to a new client.
const SETTLING: Duration = Duration::from_secs(10);

/// How a run ended that should not go on.
#[derive(Debug)]
pub(super) enum End {
    Stopped,
    Fenced(Error),
}

/// One run, until it is to stop or another instance has taken over.
pub(super) struct Run {
    parts: Parts,
    clock: Arc<dyn Clock>,
    topics: Topics,
    orders: mpsc::Receiver<Order>,
    /// What this run has claimed.
    claim: Option<Claim>,
    /// What the documents said last.
    set: Option<Set>,
    /// By the name of a schedule: how it is shown.
    keys: BTreeMap<String, String>,
    changes: Arc<Changes>,
    /// Told when documents that may be due have changed.
    changed_documents: Arc<Notify>,
    listening: Option<JoinHandle<()>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }
}

/// What is under way while the producer stays.
struct Incarnation {
    producer: Option<Producer>,
    plan: Plan,
    /// Where documents that are due come from, by the names of their schedules.
    sources: BTreeMap<String, Source>,
    /// For which times documents had their records, of schedules without a source.
    fired: BTreeMap<String, BTreeMap<String, i64>>,
    /// What was due before was missed.
    since: i64,
    looked: i64,
    /// When the documents were read last; none before.
    read: Option<Instant>,
    /// Whether they are to be read.
    is_stale: bool,
}

impl Run {
    pub(super) fn new(parts: Parts, clock: Arc<dyn Clock>, orders: mpsc::Receiver<Order>) -> Self {
        let topics = Topics::through(Arc::clone(&parts.cluster), &parts.kafka);
        let changes = Arc::<Changes>::default();
        let listening = parts.config.at.clone().map(|at| {
            let (client, changes) = (parts.client.clone(), Arc::clone(&changes));
            tasks::spawn(documents::listen(client, at, changes))
        });
        Self {
            parts,
            clock,
            topics,
            orders,
            claim: None,
            set: None,
            keys: BTreeMap::new(),
            changes,
            changed_documents: Arc::default(),
            listening,
        }
    }

    pub(super) async fn until_stopped(mut self, stop: CancellationToken) -> End {
        let board = Arc::clone(&self.parts.board);
        let mut pause = FIRST;
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            board.enter(Phase::Starting);
            let began = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                opened = self.open() => match opened {
                    Ok(incarnation) => {
                        waiting = None;
                        board.enter(Phase::Running);
                        tracing::info!(event_id = event_id::SCHEDULES_RUN, unit = self.parts.config.unit, "schedules are run here");
                        self.run(incarnation, &stop).await
                    }
                    Err(error) => Err(error),
                },
            };
            let Err(error) = ended else {
                return End::Stopped;
            };
            if error.code == Code::Fenced {
                return End::Fenced(error);
            }
            board.failed.add(1);
            if began.elapsed() > LONGEST {
                pause = FIRST;
            }
            let what = awaited(&error);
            tracing::warn!(
                event_id = event_id::SCHEDULES_INTERRUPTED,
                code = error.code.name(),
                "schedules are interrupted, and taken up again: {error}"
            );
            let wait = waiting.get_or_insert_with(|| board.waits.begin(what));
            wait.because(error.detail.clone());
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST),
            }
        }
    }

    /// Takes the schedules over: from here on nobody else can make a record of theirs.
    async fn open(&mut self) -> Result<Incarnation, Error> {
        let config = &self.parts.config;
        let (unit, topic) = (config.unit.clone(), config.progress.clone());
        let kafka = self.parts.kafka.as_ref().clone();
        if let Some(claim) = &self.claim {
            // A producer that is made anew must not fence who came after us.
            let found = claim::successor(&kafka, &topic, &unit, claim, false).await?;
            if let Some(found) = found {
                return Err(claim::fenced(Some(&found)));
            }
        }
        let opened = tasks::blocking("taking the schedules over", move || -> Result<_, Error> {
            progress::prepare(&kafka, &topic)?;
            let id = format!("tailwater-{unit}");
            let prepared = Prepared::new(&kafka, id, "how far schedules are")?;
            prepared.settle(&topic, SETTLING);
            let producer = prepared.take_over()?;
            let stored = progress::read(&kafka, &topic, &unit)?;
            Ok((producer, stored))
        });
        let (producer, stored) = opened.await??;
        let Stored {
            claim,
            progress,
            fired,
        } = stored;
        let now = self.clock.now();
        let mut incarnation = Incarnation {
            producer: Some(producer),
            plan: Plan::new(progress),
            sources: BTreeMap::new(),
            fired,
            since: now,
            looked: now,
            read: None,
            is_stale: true,
        };
        let claim = Claim::after(claim.as_ref(), &self.parts.instance);
        self.claim = Some(claim.clone());
        let claimed = vec![(
            self.parts.config.unit.clone().into_bytes(),
            Some(claim.encode()),
        )];
        self.write(&mut incarnation, Vec::new(), claimed).await?;
        self.read(&mut incarnation).await?;
        self.store_begun(&mut incarnation).await?;
        Ok(incarnation)
    }

    async fn run(&mut self, mut now: Incarnation, stop: &CancellationToken) -> Result<(), Error> {
        let board = Arc::clone(&self.parts.board);
        let mut unread: Option<Waiting<'_>> = None;
        loop {
            if now.is_to_read(self) {
                match self.read(&mut now).await {
                    Ok(()) => unread = None,
                    // What was read last is in force still.
                    Err(error) => {
                        let wait =
                            unread.get_or_insert_with(|| board.waits.begin(Awaited::MongoDb));
                        wait.because(error.detail.clone());
                        now.read = Some(Instant::now());
                    }
                }
                self.store_begun(&mut now).await?;
            }
            while !stop.is_cancelled() && self.step(&mut now).await? {}
            while !stop.is_cancelled() && self.step_documents(&mut now).await? {}
            let of_documents = now
                .sources
                .values()
                .filter_map(|source| source.queue.next());
            let next = now.plan.next().into_iter().chain(of_documents).min();
            let left = next.map_or(i64::MAX, |next| next - self.clock.now());
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(LOOK);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.changes.next() => now.is_stale = true,
                () = self.changed_documents.notified() => {}
                Some(order) = self.orders.recv() => self.obey(&mut now, order).await?,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Reads the documents, and arranges what is due by them.
    async fn read(&mut self, incarnation: &mut Incarnation) -> Result<(), Error> {
        let config = Arc::clone(&self.parts.config);
        let documents = match &config.at {
            Some(at) => documents::all(&self.parts.client, at).await?,
            None => self.parts.documents.as_ref().clone(),
        };
        let now = self.clock.now();
        let mut set = set::read(&documents, &config, now);
        set.admit(&self.topics, &config.unit, self.parts.mode).await;
        incarnation.plan.put(&set.schedules, &set.held, now);
        self.arrange(incarnation, &set);
        self.show(&mut set, &incarnation.plan);
        self.set = Some(set);
        incarnation.is_stale = false;
        incarnation.read = Some(Instant::now());
        Ok(())
    }

    /// Sees to it that each schedule of documents has its source, and no other.
    fn arrange(&self, incarnation: &mut Incarnation, set: &Set) {
        let Incarnation { sources, fired, .. } = incarnation;
        let mut before = std::mem::take(sources);
        for schedule in &set.schedules {
            let Kind::Due(due) = &schedule.kind else {
                continue;
            };
            if !schedule.is_active || set.held.contains(&schedule.name) {
                continue;
            }
            let known = before.remove(&schedule.name).and_then(|mut source| {
                if source.due == **due {
                    source.schedule = Arc::clone(schedule);
                    return Some(source);
                }
                fired.insert(schedule.name.clone(), source.take_fired());
                None
            });
            let source = known.unwrap_or_else(|| {
                let fired = fired.remove(&schedule.name).unwrap_or_default();
                let changes = Arc::clone(&self.changed_documents);
                Source::new(
                    Arc::clone(schedule),
                    (**due).clone(),
                    &self.parts.client,
                    fired,
                    changes,
                )
            });
            sources.insert(schedule.name.clone(), source);
        }
        for (name, mut source) in before {
            fired.insert(name, source.take_fired());
        }
    }

    /// Makes the records of some documents whose time has come; whether there may be more.
    async fn step_documents(&mut self, incarnation: &mut Incarnation) -> Result<bool, Error> {
        let now = self.clock.now();
        let names: Vec<String> = incarnation.sources.keys().cloned().collect();
        let mut is_more = false;
        for name in names {
            let Some(source) = incarnation.sources.get_mut(&name) else {
                continue;
            };
            source.refresh(now).await;
            // What went wrong is kept with the source, and shown.
            let found = source.take(now, DOCUMENTS).await.unwrap_or_default();
            let gone = source.forgotten(now).await;
            let (schedule, due) = (Arc::clone(&source.schedule), source.due.clone());
            let (unit, mode) = (self.parts.config.unit.clone(), self.parts.mode);
            let mut records = Vec::new();
            let mut entries: Vec<Entry> = Vec::new();
            let room = self
                .set
                .as_ref()
                .and_then(|set| set.rooms.get(&schedule.topic))
                .copied();
            for found in &found {
                let record = JobRecord::of_document(&schedule, &due, found, &unit, mode);
                let key = id_key(&found.id);
                if record.size() > room.unwrap_or(usize::MAX) {
                    tracing::warn!(
                        schedule = name,
                        bytes = record.size(),
                        topic = schedule.topic,
                        "a document is too large for the topic of its job, and gets no record for this time; raise max.message.bytes"
                    );
                    self.parts.board.failed.add(1);
                } else {
                    records.push(record);
                }
                let key = progress::document_key(&unit, &name, &key);
                entries.push((key, Some(progress::encode_fired(found.due))));
            }
            entries.extend(
                gone.iter()
                    .map(|key| (progress::document_key(&unit, &name, key), None)),
            );
            let made = records.len() as u64;
            let last = found.iter().map(|found| found.due).max();
            if !entries.is_empty() {
                self.write(incarnation, records, entries).await?;
            }
            is_more |= found.len() >= DOCUMENTS;
            let Some(source) = incarnation.sources.get(&name) else {
                continue;
            };
            if let Some(key) = self.keys.get(&name) {
                let state = source.problem.clone().map_or(State::Active, State::Waiting);
                self.parts.board.set_state(key, state);
                self.parts.board.moved(key, last, source.queue.next(), made);
            }
        }
        Ok(is_more)
    }

    fn show(&mut self, set: &mut Set, plan: &Plan) {
        self.keys.clear();
        for (key, shown) in &mut set.shown {
            if matches!(shown.state, State::Invalid(_)) {
                continue;
            }
            self.keys.insert(shown.name.clone(), key.clone());
            shown.next = plan.next_of(&shown.name);
            // Of an interval it may be the time at which it began.
            let is_once = shown.timing.starts_with("at ");
            let until = plan
                .progress(&shown.name)
                .and_then(|progress| progress.until);
            shown.last = until.filter(|_| is_once);
            if is_once && shown.last.is_some() && shown.state == State::Active {
                shown.state = State::Done;
            }
        }
        self.parts.board.put(set.shown.clone());
    }

    /// Stores how far schedules are that begin: what they miss from now on is known then.
    async fn store_begun(&mut self, incarnation: &mut Incarnation) -> Result<(), Error> {
        incarnation.plan.forget(self.clock.now());
        loop {
            let begun = incarnation.plan.take_unstored(STORED);
            if begun.is_empty() {
                return Ok(());
            }
            let begun = self.entries(begun);
            self.write(incarnation, Vec::new(), begun).await?;
        }
    }

    /// Makes the records of some jobs that are due; whether there may be more.
    async fn step(&mut self, incarnation: &mut Incarnation) -> Result<bool, Error> {
        let now = self.clock.now();
        if now - incarnation.looked > PAUSE {
            tracing::info!(
                seconds = (now - incarnation.looked) / 1_000,
                "the clock went on by itself: what was due meanwhile was missed"
            );
            incarnation.since = now;
        }
        incarnation.looked = now;
        let jobs = incarnation.plan.take(now, incarnation.since, JOBS);
        let progress = incarnation.plan.take_unstored(usize::MAX);
        if jobs.is_empty() && progress.is_empty() {
            return Ok(false);
        }
        let moved: Vec<_> = progress.iter().map(|(name, _)| name.clone()).collect();
        let entries = self.entries(progress);
        self.write(incarnation, self.records(&jobs), entries)
            .await?;
        self.note(&jobs, &moved, &incarnation.plan);
        // What takes long to write is no pause.
        incarnation.looked = self.clock.now();
        Ok(true)
    }

    /// Shows what was done.
    fn note(&self, jobs: &[Job], moved: &[String], plan: &Plan) {
        let board = &self.parts.board;
        let mut made: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
        for job in jobs {
            let entry = made.entry(&job.schedule.name).or_default();
            *entry = (entry.0.max(job.due), entry.1 + 1);
        }
        for name in moved {
            let Some(key) = self.keys.get(name) else {
                continue;
            };
            let made = made.get(name.as_str());
            board.moved(
                key,
                made.map(|made| made.0),
                plan.next_of(name),
                made.map_or(0, |made| made.1),
            );
            let is_once = plan
                .progress(name)
                .is_some_and(|progress| progress.timing.starts_with("at "));
            if is_once && plan.next_of(name).is_none() {
                board.set_state(key, State::Done);
            }
        }
    }

    /// Makes a record at once, because somebody asks for it. What is due stays as it is.
    async fn obey(&mut self, incarnation: &mut Incarnation, order: Order) -> Result<(), Error> {
        let found = self.set.iter().flat_map(|set| &set.schedules);
        let found = found
            .into_iter()
            .find(|schedule| schedule.name == order.name)
            .cloned();
        let Some(schedule) = found else {
            let _ = order.answer.send(Err(format!(
                "there is no schedule {} that is right",
                order.name
            )));
            return Ok(());
        };
        if matches!(schedule.kind, Kind::Due(_)) {
            let sentence =
                "the documents of this schedule say when they are due; there is nothing to run now";
            let _ = order.answer.send(Err(sentence.to_owned()));
            return Ok(());
        }
        let job = Job {
            schedule,
            due: self.clock.now(),
        };
        let record = JobRecord::of(&job, &self.parts.config.unit, self.parts.mode);
        let id = record.id().to_owned();
        let written = self.write(incarnation, vec![record], Vec::new()).await;
        let answer = match &written {
            Ok(()) => Ok(id),
            Err(error) => Err(error.detail.clone()),
        };
        // Whoever asked may have gone.
        let _ = order.answer.send(answer);
        written
    }

    fn records(&self, jobs: &[Job]) -> Vec<JobRecord> {
        let (unit, mode) = (&self.parts.config.unit, self.parts.mode);
        jobs.iter()
            .map(|job| JobRecord::of(job, unit, mode))
            .collect()
    }

    fn entries(&self, progress: Vec<(String, Option<Progress>)>) -> Vec<Entry> {
        let unit = &self.parts.config.unit;
        let entry = |(name, progress): (String, Option<Progress>)| {
            (
                progress::key(unit, &name),
                progress.as_ref().map(progress::encode),
            )
        };
        progress.into_iter().map(entry).collect()
    }

    /// Writes records and progress in one transaction.
    async fn write(
        &self,
        incarnation: &mut Incarnation,
        records: Vec<JobRecord>,
        entries: Vec<Entry>,
    ) -> Result<(), Error> {
        let Some(producer) = incarnation.producer.take() else {
            return Err(Error::new(
                Code::Internal,
                "the producer of schedules is gone",
            ));
        };
        let board = Arc::clone(&self.parts.board);
        let topic = self.parts.config.progress.clone();
        let work = tasks::blocking("the transaction of schedules", move || {
            let outcome = producer.transaction(|produce| {
                for record in &records {
                    produce(record.borrowed())?;
                }
                for (key, value) in &entries {
                    let mut sent = BaseRecord::<Vec<u8>, Vec<u8>>::to(&topic)
                        .partition(progress::PARTITION)
                        .key(key);
                    sent.payload = value.as_ref();
                    produce(sent)?;
                }
                Ok::<_, KafkaError>(())
            });
            (producer, outcome)
        });
        let (producer, outcome) = board.waits.on(Awaited::Transaction, work).await?;
        let error = match outcome {
            Outcome::Committed => {
                incarnation.producer = Some(producer);
                return Ok(());
            }
            Outcome::Aborted(error) | Outcome::Broken(error) => error,
            Outcome::Fenced => self.end_of_fenced().await,
        };
        client::end_beside(producer);
        Err(error)
    }

    async fn end_of_fenced(&self) -> Error {
        let Config { unit, progress, .. } = self.parts.config.as_ref();
        let Some(claim) = &self.claim else {
            return claim::fenced(None);
        };
        match claim::successor(&self.parts.kafka, progress, unit, claim, true).await {
            Ok(Some(found)) => claim::fenced(Some(&found)),
            Ok(None) => Error::new(
                Code::SinkUnavailable,
                "kafka ended the transaction of schedules; no other instance has claimed them",
            ),
            Err(error) => error,
        }
    }
}

impl Incarnation {
    /// Whether the documents are to be read now.
    fn is_to_read(&self, run: &Run) -> bool {
        let Some(read) = self.read.map(|read| read.elapsed()) else {
            return true;
        };
        if run.parts.config.at.is_none() {
            return run.is_waiting() && read >= AGAIN;
        }
        let is_unheard = !run.changes.is_heard() && read >= LOOK;
        let is_again = (self.is_stale || run.is_waiting()) && read >= AGAIN;
        (self.is_stale && read >= REST) || is_unheard || is_again
    }
}

impl Run {
    /// Whether a schedule waits for its topic.
    fn is_waiting(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_waiting)
    }
}

/// A key of the topic of progress, and what it holds from now on: none is a tombstone.
type Entry = (Vec<u8>, Option<Vec<u8>>);

impl JobRecord {
    fn id(&self) -> &str {
        let id = self
            .headers
            .iter()
            .find(|(name, _)| *name == crate::encode::headers::ID);
        id.map_or("", |(_, id)| id)
    }

    fn borrowed(&self) -> BaseRecord<'_, Vec<u8>, Vec<u8>> {
        let mut headers = OwnedHeaders::new_with_capacity(self.headers.len());
        for (key, value) in &self.headers {
            let value = Some(value.as_str());
            headers = headers.insert(Header { key, value });
        }
        BaseRecord::to(&self.topic)
            .key(&self.key)
            .payload(&self.value)
            .timestamp(self.timestamp)
            .headers(headers)
    }
}

/// What is waited for after a failure.
fn awaited(error: &Error) -> Awaited {
    match error.code {
        Code::SourceUnavailable | Code::SourceRefused | Code::SourceMalformed => Awaited::MongoDb,
        _ => Awaited::Producer,
    }
}

/// Tells the documents how their schedules are, while this instance runs them.
pub(super) async fn tell(parts: Parts, board: Arc<Board>) {
    let Some(at) = parts.config.at.clone() else {
        return;
    };
    let mut told = Told::default();
    let mut is_failing = false;
    loop {
        tokio::time::sleep(LOOK).await;
        if board.phase() != Phase::Running {
            continue;
        }
        let changed = board.untold(&mut told, super::status::SELDOM);
        for some in changed.chunks(documents::AT_ONCE) {
            let updates: Vec<_> = some
                .iter()
                .map(|(_, shown)| (shown.id.clone(), super::status::of(shown, &parts.instance)))
                .collect();
            match documents::tell(&parts.client, &at, &updates).await {
                Ok(()) => {
                    is_failing = false;
                    let now = Instant::now();
                    told.extend(
                        some.iter()
                            .map(|(key, shown)| (key.clone(), (shown.clone(), now))),
                    );
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(collection = %at, error, "the status of schedules cannot be written; they are run all the same");
                    }
                    tokio::time::sleep(super::status::SELDOM).await;
                    break;
                }
            }
        }
    }
}
