//! Hands jobs to their handlers, and does what follows from how that ends: done, tried again, or a dead letter.

use super::circuit::{Circuit, Turn};
use super::dead_letters::{self, DeadLetters};
use super::exec;
use super::group::Event;
use super::handler::{Call, Handler, Handlers, LONGEST_BACKOFF};
use super::http::Caller;
use super::job::{Failure, Job, Reason};
use super::queue::Queue;
use crate::encode::headers;
use crate::error::Error;
use crate::kafka::client;
use crate::log::event_id;
use crate::status::worker::{Board, HandlerState};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a service may ask to be left alone at once.
const LONGEST_REST: Duration = LONGEST_BACKOFF;
/// How long a job rests because the service asks for it, all in all, before that counts as failing.
const MOST_REST: Duration = Duration::from_secs(60 * 60);
/// Before a dead letter that Kafka does not take is written again.
const BREATH: Duration = Duration::from_secs(1);
/// How often the counts of what waits are shown.
const SHOW: Duration = Duration::from_millis(500);

/// How an attempt ended.
struct Ended {
    job: Job,
    handler: Arc<Handler>,
    /// None where the partition was given away meanwhile.
    result: Option<Result<(), Failure>>,
}

/// A dead letter that was written, with the handler whose order it holds.
struct Buried {
    job: Job,
    handler: Option<Arc<Handler>>,
    failure: Failure,
}

/// The jobs of one worker.
pub struct Dispatcher {
    handlers: Handlers,
    off: BTreeSet<Arc<str>>,
    circuits: BTreeMap<Arc<str>, Circuit>,
    /// Handlers of which nothing begins, and until when.
    held: BTreeMap<Arc<str>, Instant>,
    queue: Queue,
    /// What is tried again, by when.
    parked: BTreeMap<(Instant, u64), (Job, Arc<Handler>)>,
    seq: u64,
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
        handlers: Handlers,
        concurrency: usize,
        caller: Caller,
        dead_letters: DeadLetters,
        board: Arc<Board>,
    ) -> Self {
        let states = handlers.iter().map(|(job, handler)| {
            let state = HandlerState {
                calls: handler.call.to_string(),
                ..HandlerState::default()
            };
            (job.to_string(), state)
        });
        board.change().handlers = states.collect();
        Self {
            handlers,
            off: BTreeSet::new(),
            circuits: BTreeMap::new(),
            held: BTreeMap::new(),
            queue: Queue::default(),
            parked: BTreeMap::new(),
            seq: 0,
            running: JoinSet::new(),
            burying: JoinSet::new(),
            concurrency,
            caller,
            dead_letters,
            board,
            is_stopping: false,
        }
    }

    /// Carries out what comes, until `stop`; then waits for what runs.
    ///
    /// # Errors
    /// Why this cannot be a worker of the group.
    pub async fn run(
        &mut self,
        heard: &mut mpsc::Receiver<Event>,
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
                    Some(Event::Fetched(job)) => self.fetched(job),
                    Some(Event::Revoked(gone)) => {
                        self.queue.drop_of(&gone);
                        self.parked.retain(|_, (job, _)| job.at.id != gone.id);
                    }
                    Some(Event::Refused(error)) => return Err(error),
                    // Only a panic ends what is heard from, and whoever catches those is told by it.
                    None => return Ok(false),
                },
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                    // A panic has been reported by the panic hook, and ends the process.
                    if let Ok(ended) = ended {
                        self.ended(ended);
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
                _ = shown.tick() => self.show(),
                () = until(next), if next.is_some() => {}
            }
        }
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
            let (job, handler) = entry.remove();
            self.board.change().job(job.name()).parked -= 1;
            self.queue.again(job, handler);
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
            let caller = self.caller.clone();
            self.running.spawn(async move {
                let lost = job.at.lost.clone();
                let result = tokio::select! {
                    () = lost.cancelled() => None,
                    result = attempt(&caller, &handler, &job) => Some(result),
                };
                Ended {
                    job,
                    handler,
                    result,
                }
            });
        }
    }

    fn fetched(&mut self, job: Job) {
        let handler = job.record.job().and_then(|name| self.handlers.get(name));
        match handler {
            None => {
                let detail = match job.record.job() {
                    Some(_) => "there is no handler for this job; give it one in WORKER_HANDLERS",
                    None => "the record names no job: it has no header tw-job",
                };
                self.bury(job, None, Failure::new(Reason::NoHandler, detail));
            }
            Some(handler) if self.off.contains(&handler.job) => {
                self.bury(job, None, switched_off());
            }
            Some(handler) => {
                let handler = Arc::clone(handler);
                self.queue.push(job, handler);
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended {
            mut job,
            handler,
            result,
        } = ended;
        self.queue.ended(&handler);
        {
            let mut view = self.board.change();
            let counts = view.job(job.name());
            counts.active = counts.active.saturating_sub(1);
        }
        let failure = match result {
            // Whoever has the partition now does it again.
            None => return,
            Some(Ok(())) => {
                self.turn(&handler, true);
                self.done(&job, &handler);
                return;
            }
            Some(Err(failure)) => failure,
        };
        if failure.reason == Reason::HandlerOff {
            self.switch_off(&handler);
            self.bury(job, Some(handler), failure);
            return;
        }
        if let Some(rest) = failure.rest.filter(|_| job.rested < MOST_REST) {
            let rest = rest.clamp(Duration::from_millis(1), LONGEST_REST);
            job.rested += rest;
            job.attempts -= 1;
            let sentence = format!(
                "{}, and asks to be left alone for {} s",
                failure.detail,
                rest.as_secs()
            );
            self.hold(&handler.job, Instant::now() + rest, sentence);
            self.park(job, handler, rest);
            return;
        }
        // A job that the service refuses says nothing about the others.
        let is_of_the_job = failure.reason == Reason::Status
            && failure
                .status
                .is_some_and(|status| status < 500 && status != 429);
        if !is_of_the_job {
            self.turn(&handler, false);
        }
        if failure.reason.may_pass() && job.attempts <= handler.retries {
            let wait = backoff(handler.backoff, job.attempts);
            tracing::debug!(
                job = %handler.job, place = job.record.place(), attempts = job.attempts, reason = %failure.reason,
                wait = ?wait, detail = failure.detail, "a job has failed and is tried again"
            );
            self.park(job, handler, wait);
            return;
        }
        self.bury(job, Some(handler), failure);
    }

    fn done(&mut self, job: &Job, handler: &Handler) {
        job.finish();
        self.queue.release(job, handler);
        let changed: Option<i64> = job
            .record
            .header(headers::TIMESTAMP)
            .and_then(|at| at.parse().ok());
        let now = jiff::Timestamp::now().as_millisecond();
        let mut view = self.board.change();
        let counts = view.job(job.name());
        counts.completed += 1;
        if let Some(changed) = changed {
            counts.seconds += (now - changed).max(0) as f64 / 1e3;
        }
    }

    fn park(&mut self, mut job: Job, handler: Arc<Handler>, wait: Duration) {
        job.attempt = None;
        self.board.change().job(job.name()).parked += 1;
        self.seq += 1;
        self.parked
            .insert((Instant::now() + wait, self.seq), (job, handler));
    }

    /// Makes a dead letter of a job. It holds the order of its key until that is written.
    fn bury(&mut self, job: Job, handler: Option<Arc<Handler>>, failure: Failure) {
        let (writer, board) = (self.dead_letters.clone(), Arc::clone(&self.board));
        // In the order in which they failed.
        let mut taken = writer.write(&job, &failure);
        let lost = job.at.lost.clone();
        self.burying.spawn(async move {
            loop {
                let written = tokio::select! {
                    () = lost.cancelled() => return None,
                    written = taken => written,
                };
                match written {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => {
                        let remedy = match dead_letters::may_pass(&error) {
                            true => "",
                            false => "; raise max.message.bytes of the topic",
                        };
                        board.wait(
                            "dead_letters",
                            format!(
                                "the topic {} does not take a job that failed for good: {}{remedy}",
                                dead_letters::TOPIC,
                                client::describe(&error)
                            ),
                        );
                    }
                    Err(_) => return None,
                }
                tokio::time::sleep(BREATH).await;
                taken = writer.write(&job, &failure);
            }
            board.go_on("dead_letters");
            Some(Buried {
                job,
                handler,
                failure,
            })
        });
    }

    fn buried(&mut self, buried: &Buried) {
        let Buried {
            job,
            handler,
            failure,
        } = buried;
        job.finish();
        if let Some(handler) = handler {
            self.queue.release(job, handler);
        }
        self.board.change().job(job.name()).failed += 1;
        tracing::warn!(
            event_id = event_id::JOB_DEAD_LETTERED,
            job = job.name(),
            place = job.record.place(),
            attempts = job.attempts,
            reason = %failure.reason,
            status = failure.status,
            detail = failure.detail,
            "a job has failed for good and is a dead letter"
        );
    }

    /// Takes note of how a handler does.
    fn turn(&mut self, handler: &Handler, is_well: bool) {
        let circuit = self.circuits.entry(Arc::clone(&handler.job)).or_default();
        let was_open = circuit.is_open();
        match circuit.ended(is_well, Instant::now()) {
            Turn::Stays => {}
            Turn::OpensUntil(until) => {
                let sentence = format!(
                    "the last {} attempts have failed; one job at a time is tried",
                    circuit.in_a_row()
                );
                if !was_open {
                    tracing::warn!(event_id = event_id::HANDLER_FAILING, job = %handler.job, "a handler only fails: {sentence}");
                }
                self.queue.bound(&handler.job, Some(1));
                self.hold(&handler.job, until, sentence);
            }
            Turn::Closes => {
                tracing::info!(event_id = event_id::HANDLER_WORKS, job = %handler.job, "a handler works again");
                self.queue.bound(&handler.job, None);
                self.held.remove(&handler.job);
                self.queue.hold(&handler.job, false);
                self.say_held(&handler.job, None);
            }
        }
    }

    /// Lets nothing of a handler begin until then.
    fn hold(&mut self, job: &Arc<str>, until: Instant, sentence: String) {
        let held = self.held.entry(Arc::clone(job)).or_insert(until);
        *held = until.max(*held);
        self.queue.hold(job, true);
        self.say_held(job, Some(sentence));
    }

    fn say_held(&self, job: &str, sentence: Option<String>) {
        if let Some(state) = self.board.change().handlers.get_mut(job) {
            state.held = sentence;
        }
    }

    /// Its jobs become dead letters from now on.
    fn switch_off(&mut self, handler: &Handler) {
        if !self.off.insert(Arc::clone(&handler.job)) {
            return;
        }
        tracing::warn!(
            event_id = event_id::HANDLER_OFF,
            job = %handler.job,
            "the service has answered 410 Gone: its handler is off until this worker is started again, and its jobs \
             become dead letters"
        );
        if let Some(state) = self.board.change().handlers.get_mut(&*handler.job) {
            state.off = true;
            state.held = Some("off: the service has answered 410 Gone".to_owned());
        }
        for job in self.queue.drain(&handler.job) {
            self.bury(job, None, switched_off());
        }
        let parked = std::mem::take(&mut self.parked);
        for (due, (job, of)) in parked {
            match of.job == handler.job {
                true => {
                    self.board.change().job(job.name()).parked -= 1;
                    self.bury(job, None, switched_off());
                }
                false => {
                    self.parked.insert(due, (job, of));
                }
            }
        }
    }

    fn show(&self) {
        let waiting = self.queue.waiting();
        let mut view = self.board.change();
        for counts in view.jobs.values_mut() {
            counts.waiting = 0;
        }
        for (job, count) in waiting {
            view.job(&job).waiting = count;
        }
    }
}

fn switched_off() -> Failure {
    let detail = "its handler is off: the service has answered 410 Gone before";
    Failure::new(Reason::HandlerOff, detail)
}

async fn attempt(caller: &Caller, handler: &Handler, job: &Job) -> Result<(), Failure> {
    match &handler.call {
        Call::Http(service) => caller
            .call(service, &job.record, job.attempts, handler.timeout)
            .await
            .map(drop),
        Call::Exec(command) => exec::run(command, &job.record, job.attempts, handler.timeout).await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The wait before the next attempt, when so many have failed: it doubles, and is a little longer or shorter, so that
/// jobs that failed together do not come together again.
fn backoff(first: Duration, failed: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failed.saturating_sub(1).min(20));
    let random = RandomState::new().hash_one(()) % 1_000;
    doubled
        .min(LONGEST_BACKOFF)
        .mul_f64(0.75 + random as f64 / 2e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_differ_a_little() {
        let first = Duration::from_secs(1);
        for (failed, expected) in [(1, 1), (2, 2), (5, 16), (12, 300), (100, 300)] {
            let wait = backoff(first, failed).as_secs_f64();
            let expected = f64::from(expected);
            assert!(
                wait >= expected * 0.75 && wait < expected * 1.25,
                "{failed}: {wait}"
            );
        }
    }
}
