//! Hands jobs to their handlers, and does what follows from how that ends: done, tried again, or a dead letter.

mod ended;
mod handlers;
#[cfg(test)]
mod tests;

use super::circuit::Circuit;
use super::dead_letters::DeadLetters;
use super::documents::Known;
use super::exec;
use super::group::Event;
use super::handler::{Call, Handler, LONGEST_BACKOFF};
use super::http::Caller;
use super::job::{self, Done, Failure, Job};
use super::journal::Journal;
use super::parking::Parking;
use super::queue::Queue;
use crate::error::Error;
use crate::status::worker::Board;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the counts of what waits are shown.
const SHOW: Duration = Duration::from_millis(500);
/// How much that is there already is taken in one go, before anything else has its turn.
const AT_ONCE: usize = 64;
/// How long a job waits for its next attempt at most: the longest back-off and what is added to it by chance.
const LONGEST_WAIT: Duration = LONGEST_BACKOFF.saturating_mul(2);

/// How an attempt ended.
struct Ended {
    job: Job,
    handler: Arc<Handler>,
    /// None where the partition was given away meanwhile.
    result: Option<Result<Done, Failure>>,
    took: Duration,
    /// Its number among the attempts that are shown.
    shown: u64,
}

/// A dead letter that was written.
struct Buried {
    job: Job,
    failure: Failure,
}

/// The jobs of one worker.
pub struct Dispatcher {
    known: Arc<Known>,
    off: BTreeSet<Arc<str>>,
    circuits: BTreeMap<Arc<str>, Circuit>,
    /// Handlers of which nothing begins, and until when.
    held: BTreeMap<Arc<str>, Instant>,
    queue: Queue,
    /// What is tried again, by when.
    parked: BTreeMap<(Instant, u64), Job>,
    seq: u64,
    /// Jobs of which was said that a priority is none.
    odd: BTreeSet<Arc<str>>,
    /// Where jobs wait that keep no order.
    parking: Arc<Parking>,
    /// Where is written what becomes of jobs.
    journal: Option<Arc<Journal>>,
    running: JoinSet<Ended>,
    burying: JoinSet<Option<Buried>>,
    concurrency: usize,
    caller: Caller,
    dead_letters: DeadLetters,
    board: Arc<Board>,
    is_stopping: bool,
}

impl Dispatcher {
    pub fn new(
        known: Arc<Known>,
        concurrency: usize,
        caller: Caller,
        dead_letters: DeadLetters,
        parking: Arc<Parking>,
        journal: Option<Arc<Journal>>,
        board: Arc<Board>,
    ) -> Self {
        let dispatcher = Self {
            known,
            off: BTreeSet::new(),
            circuits: BTreeMap::new(),
            held: BTreeMap::new(),
            queue: Queue::default(),
            parked: BTreeMap::new(),
            seq: 0,
            odd: BTreeSet::new(),
            parking,
            journal,
            running: JoinSet::new(),
            burying: JoinSet::new(),
            concurrency,
            caller,
            dead_letters,
            board,
            is_stopping: false,
        };
        handlers::show(&dispatcher.known.handlers, &dispatcher);
        dispatcher
    }

    /// Carries out what comes, until `stop`; then waits for what runs.
    ///
    /// # Errors
    /// Why this cannot be a worker of the group.
    pub async fn run(
        &mut self,
        heard: &mut mpsc::Receiver<Event>,
        known: &mut watch::Receiver<Arc<Known>>,
        stop: &CancellationToken,
        grace: Duration,
    ) -> Result<bool, Error> {
        let mut paused = self.board.paused.subscribe();
        let mut shown = tokio::time::interval(SHOW);
        let mut deadline: Option<Instant> = None;
        loop {
            let is_paused = *paused.borrow_and_update();
            self.go_on();
            if !is_paused && !self.is_stopping {
                self.begin();
            }
            if self.is_stopping && self.running.is_empty() && self.burying.is_empty() {
                return Ok(true);
            }
            let next = self.next_time();
            tokio::select! {
                event = heard.recv() => match event {
                    Some(event) => {
                        self.hear(event)?;
                        for event in (0..AT_ONCE).map_while(|_| heard.try_recv().ok()) {
                            self.hear(event)?;
                        }
                    }
                    // Only a panic ends what is heard from, and whoever catches those is told by it.
                    None => return Ok(false),
                },
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    self.joined(ended);
                    for _ in 1..AT_ONCE {
                        let Some(ended) = self.running.try_join_next() else {
                            break;
                        };
                        self.joined(ended);
                    }
                }
                Some(buried) = self.burying.join_next(), if !self.burying.is_empty() => {
                    if let Ok(Some(buried)) = buried {
                        self.buried(&buried);
                    }
                }
                () = stop.cancelled(), if !self.is_stopping => {
                    self.is_stopping = true;
                    deadline = Some(Instant::now() + grace);
                }
                () = until(deadline), if deadline.is_some() => {
                    self.running.abort_all();
                    return Ok(false);
                }
                _ = paused.changed() => {}
                // Where no documents are read nobody tells.
                Ok(()) = known.changed() => {
                    let now = Arc::clone(&known.borrow_and_update());
                    self.adopt(now);
                }
                _ = shown.tick() => self.show(),
                () = until(next), if next.is_some() => {}
            }
        }
    }

    fn joined(&mut self, ended: Result<Ended, JoinError>) {
        // A panic has been reported by the panic hook, and ends the process.
        if let Ok(ended) = ended {
            self.ended(ended);
        }
    }

    fn hear(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Fetched(job) => self.fetched(job),
            Event::Revoked(gone) => {
                self.queue.drop_of(&gone);
                self.parked.retain(|_, job| job.at.id != gone.id);
            }
            Event::Refused(error) => return Err(error),
        }
        Ok(())
    }

    /// When something is due that nobody tells.
    fn next_time(&self) -> Option<Instant> {
        let parked = self.parked.keys().next().map(|(due, _)| *due);
        let held = self.held.values().min().copied();
        parked.into_iter().chain(held).min()
    }

    /// What was held and is no more, and what is due to be tried again.
    fn go_on(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.parked.first_entry()
            && entry.key().0 <= now
        {
            let job = entry.remove();
            self.take_up(job);
        }
        let due = self.held.iter().filter(|(_, until)| **until <= now);
        let due: Vec<_> = due.map(|(job, _)| Arc::clone(job)).collect();
        for job in due {
            self.held.remove(&job);
            self.queue.hold(&job, false);
            let is_open = self.circuits.get(&job).is_some_and(Circuit::is_open);
            if !is_open {
                self.say_held(&job, None);
            }
        }
    }

    fn begin(&mut self) {
        while self.running.len() < self.concurrency {
            let Some((mut job, handler)) = self.queue.next() else {
                return;
            };
            job.attempt = job.at.begin();
            if job.attempt.is_none() {
                // It is about to be another's.
                self.queue.ended(&handler);
                continue;
            }
            job.attempts += 1;
            {
                let mut view = self.board.change();
                let counts = view.job(job.name());
                counts.active += 1;
                counts.retried += u64::from(job.attempts > 1);
            }
            let shown = self.board.attempts().begin(job.which(), job.attempts);
            if let Some(journal) = &self.journal {
                journal.processing(&job);
            }
            let caller = self.caller.clone();
            self.running.spawn(async move {
                let (lost, began) = (job.at.lost.clone(), Instant::now());
                let result = tokio::select! {
                    () = lost.cancelled() => None,
                    result = attempt(&caller, &handler, &job) => Some(result),
                };
                Ended {
                    job,
                    handler,
                    result,
                    took: began.elapsed(),
                    shown,
                }
            });
        }
    }

    fn fetched(&mut self, job: Job) {
        if let Some(journal) = &self.journal {
            journal.pending(&job, None);
        }
        let left = job.due.map_or(0, |due| due - job::now_millis());
        match u64::try_from(left).map(Duration::from_millis) {
            // Another machine's clock may be wrong.
            Ok(left) if !left.is_zero() => self.wait_here(job, left.min(LONGEST_WAIT)),
            _ => self.take_up(job),
        }
    }

    /// Keeps a job until it is due.
    fn wait_here(&mut self, job: Job, wait: Duration) {
        self.seq += 1;
        self.parked.insert((Instant::now() + wait, self.seq), job);
    }

    /// A job that is due waits for its turn.
    fn take_up(&mut self, job: Job) {
        let name = job.record.job();
        let handler = name.and_then(|name| self.known.handlers.get(name));
        match handler {
            None => {
                let failure = self.missing(&job);
                self.bury(job, failure);
            }
            Some(handler) if self.off.contains(&handler.job) => {
                self.bury(job, ended::switched_off());
            }
            Some(handler) => {
                let handler = Arc::clone(handler);
                if job.record.has_odd_priority() && self.odd.insert(Arc::clone(&handler.job)) {
                    tracing::warn!(
                        job = %handler.job,
                        place = job.record.place(),
                        "the header tw-priority of a job is no number from 1 to 10: the nearest one counts, and the \
                         handler's where it is no number; give its listener or schedule such a priority"
                    );
                }
                match job.seq {
                    0 => self.queue.push(job, handler),
                    _ => self.queue.again(job, handler),
                }
            }
        }
    }

    fn show(&self) {
        let waiting = self.queue.waiting();
        let mut view = self.board.change();
        for counts in view.jobs.values_mut() {
            (counts.waiting, counts.parked) = (0, 0);
        }
        for job in self.parked.values() {
            view.job(job.name()).parked += 1;
        }
        for (job, count) in self.parking.counts() {
            view.job(&job).parked += count;
        }
        for (job, count) in waiting {
            view.job(&job).waiting = count;
        }
    }
}

async fn attempt(caller: &Caller, handler: &Handler, job: &Job) -> Result<Done, Failure> {
    match &handler.call {
        Call::Http(service) => {
            caller
                .call(service, &job.record, job.attempts, handler.timeout)
                .await
        }
        Call::Exec(command) => exec::run(command, &job.record, job.attempts, handler.timeout)
            .await
            .map(|()| Done::default()),
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
