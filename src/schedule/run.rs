//! Runs the schedules of this instance: takes them over, and then makes a record of each job that is due.

mod changed;
mod documents;
mod timed;
mod write;

use super::claim::{self, Claim};
use super::clock::Clock;
use super::due::source::Source;
use super::plan::Plan;
use super::progress::{self, Stored};
use super::refused::Refused;
use super::set::{self, Set};
use super::{Order, Parts};
use crate::error::{Code, Error};
use crate::kafka::transaction::{Prepared, Producer, transactional_id};
use crate::log::event_id;
use crate::mongo::heard::Changes;
use crate::sink::topics::Topics;
use crate::status::schedules::{Phase, State};
use crate::status::waiting::{Awaited, Waiting};
use crate::tasks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long is slept at most: the clock on the wall may be set, and nobody tells.
const LOOK: Duration = Duration::from_secs(1);
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
    /// Those that may not be written.
    refused: Refused,
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
        let changes = Arc::new(Changes::beside(&["status"]));
        let listening = parts.config.at.clone().map(|at| {
            let (client, changes) = (parts.client.clone(), Arc::clone(&changes));
            tasks::spawn(super::documents::listen(client, at, changes))
        });
        Self {
            parts,
            clock,
            topics,
            refused: Refused::default(),
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
            let prepared = Prepared::new(&kafka, transactional_id(&unit), "how far schedules are")?;
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
            let began = Instant::now();
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
            now.waited(began);
            let mut is_more = true;
            while is_more && !stop.is_cancelled() {
                // What is due by the clock does not wait for all documents that are due.
                while !stop.is_cancelled() && self.step(&mut now).await? {}
                let began = Instant::now();
                is_more = self.step_documents(&mut now).await?;
                now.waited(began);
            }
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
            Some(at) => super::documents::all(&self.parts.client, at).await?,
            None => self.parts.documents.as_ref().clone(),
        };
        let now = self.clock.now();
        let mut set = set::read(&documents, &config, now);
        self.refused.look(&self.parts.kafka).await;
        set.admit((&self.topics, &self.refused), &config.unit, self.parts.mode)
            .await;
        incarnation.plan.put(&set.schedules, &set.held, now);
        self.arrange(incarnation, &set);
        self.show(&mut set, &incarnation.plan);
        let at = config.at.as_ref().map(ToString::to_string);
        changed::tell(self.set.as_ref(), &set, at.as_deref().unwrap_or("the file"));
        self.set = Some(set);
        incarnation.is_stale = false;
        incarnation.read = Some(Instant::now());
        Ok(())
    }

    fn show(&mut self, set: &mut Set, plan: &Plan) {
        self.keys.clear();
        let once = set.schedules.iter().filter(|schedule| schedule.is_once());
        let once: BTreeSet<_> = once.map(|schedule| schedule.name.as_str()).collect();
        for (key, shown) in &mut set.shown {
            if matches!(shown.state, State::Invalid(_)) {
                continue;
            }
            self.keys.insert(shown.name.clone(), key.clone());
            shown.next = plan.next_of(&shown.name);
            // Of an interval it may be the time at which it began.
            let is_once = once.contains(shown.name.as_str());
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
}

impl Incarnation {
    /// Answers were waited for since then: that is no pause in which nobody ran. A machine that slept meanwhile does not
    /// count it.
    fn waited(&mut self, since: Instant) {
        let millis = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
        self.looked = self.looked.saturating_add(millis);
    }

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

/// What is waited for after a failure.
fn awaited(error: &Error) -> Awaited {
    match error.code {
        Code::SourceUnavailable | Code::SourceRefused | Code::SourceMalformed => Awaited::MongoDb,
        _ => Awaited::Producer,
    }
}
