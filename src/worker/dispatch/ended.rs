//! What follows from how an attempt ended: the job is done, tried again, or a dead letter; and its handler rests.

use super::{Buried, Dispatcher, Ended};
use crate::config::worker::DEAD_LETTERS;
use crate::kafka::client;
use crate::log::event_id;
use crate::status::worker::attempts::{Attempt, Running};
use crate::worker::circuit::Turn;
use crate::worker::dead_letters;
use crate::worker::handler::{Handler, LONGEST_BACKOFF, Order};
use crate::worker::job::{self, Done, Failure, Job, Reason};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a service may ask to be left alone at once.
const LONGEST_REST: Duration = LONGEST_BACKOFF;
/// How long a job rests because the service asks for it, all in all, before that counts as failing.
const MOST_REST: Duration = Duration::from_secs(60 * 60);
/// Before a dead letter that Kafka does not take is written again.
const BREATH: Duration = Duration::from_secs(1);

impl Dispatcher {
    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended {
            mut job,
            handler,
            result,
            took,
            shown,
        } = ended;
        self.queue.ended(&handler);
        let began = self.board.attempts().end(shown);
        {
            let mut view = self.board.change();
            let counts = view.job(job.name());
            counts.active = counts.active.saturating_sub(1);
        }
        let failure = match result {
            // Whoever has the partition now does it again.
            None => return,
            Some(Ok(done)) => {
                self.turn(&handler, true);
                let attempt = attempt(&job, began.as_ref(), took, Ok(&done));
                self.board.attempts().completed(&job.record.id(), attempt);
                if let Some(journal) = &self.journal {
                    journal.completed(&job, &done, took);
                }
                self.done(&job);
                return;
            }
            Some(Err(failure)) => failure,
        };
        let attempt = attempt(&job, began.as_ref(), took, Err(&failure));
        self.board.attempts().failed(job.which(), attempt);
        if failure.reason == Reason::HandlerOff && !self.is_in_force(&handler) {
            // That was another one.
            job.attempt = None;
            self.take_up(job);
            return;
        }
        if failure.reason == Reason::HandlerOff {
            self.switch_off(&handler);
            self.bury(job, failure);
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
            self.park(job, &handler, rest);
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
            if let Some(journal) = &self.journal {
                journal.pending(&job, Some(&failure));
            }
            self.park(job, &handler, wait);
            return;
        }
        self.bury(job, failure);
    }

    fn done(&mut self, job: &Job) {
        job.finish();
        self.queue.release(job);
        let after = job.changed_millis().map(|changed| {
            let millis = job::now_millis() - changed;
            // Another machine's clock may be wrong.
            Duration::from_millis(u64::try_from(millis).unwrap_or_default())
        });
        self.board.change().completed(job.name(), after);
    }

    /// Has a job wait for its next attempt: elsewhere, where it keeps nobody's order.
    fn park(&mut self, mut job: Job, handler: &Handler, wait: Duration) {
        let attempt = job.attempt.take();
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        let due = job::now_millis().saturating_add(millis);
        self.board.attempts().waits(&job.record.id(), due);
        if handler.order == Order::Key || job.lane.is_some() {
            self.wait_here(job, wait);
            return;
        }
        job.due = Some(due);
        self.parking.put(job);
        // Whoever gives the partition away waits for it, and then writes what is to wait.
        drop(attempt);
    }

    /// Makes a dead letter of a job. It holds the order of its key until that is written.
    pub(super) fn bury(&mut self, job: Job, failure: Failure) {
        let (writer, board) = (self.dead_letters.clone(), Arc::clone(&self.board));
        let journal = self.journal.clone();
        // In the order in which they failed.
        let mut taken = writer.write(&job, &failure);
        let lost = job.at.lost.clone();
        self.burying.spawn(async move {
            let mut alone = None;
            loop {
                let written = tokio::select! {
                    () = lost.cancelled() => return None,
                    written = taken => written,
                };
                let was_alone = alone.take().is_some();
                let is_too_large = match written {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => {
                        let may_pass = dead_letters::may_pass(&error);
                        let remedy = match may_pass {
                            true => "",
                            false => "; raise max.message.bytes of the topic",
                        };
                        board.wait(
                            "dead_letters",
                            format!(
                                "the topic {} does not take a job that failed for good: {}{remedy}",
                                DEAD_LETTERS,
                                client::describe(&error)
                            ),
                        );
                        !may_pass
                    }
                    Err(_) => return None,
                };
                tokio::time::sleep(BREATH).await;
                if is_too_large || was_alone {
                    alone = tokio::select! {
                        () = lost.cancelled() => return None,
                        guard = writer.alone() => Some(guard),
                    };
                }
                taken = writer.write(&job, &failure);
            }
            board.go_on("dead_letters");
            if let Some(journal) = journal {
                tokio::select! {
                    () = lost.cancelled() => return None,
                    () = journal.dead_letter(&job, &failure) => {}
                }
                journal.failed(&job, &failure);
            }
            Some(Buried { job, failure })
        });
    }

    pub(super) fn buried(&mut self, buried: &Buried) {
        let Buried { job, failure } = buried;
        job.finish();
        self.queue.release(job);
        self.board.change().job(job.name()).failed += 1;
        self.board.attempts().gave_up(job.which());
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

    pub(super) fn say_held(&self, job: &str, sentence: Option<String>) {
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
            self.bury(job, switched_off());
        }
        let parked = std::mem::take(&mut self.parked);
        for (due, job) in parked {
            match job.record.job() == Some(&handler.job) {
                true => self.bury(job, switched_off()),
                false => {
                    self.parked.insert(due, job);
                }
            }
        }
    }
}

/// An attempt as it is told.
fn attempt(
    job: &Job,
    began: Option<&Running>,
    took: Duration,
    result: Result<&Done, &Failure>,
) -> Attempt {
    let (reason, status, detail) = match result {
        Ok(done) => (None, Some(done.status), None),
        Err(failure) => (
            Some(failure.reason.name()),
            failure.status,
            Some(failure.detail.clone()),
        ),
    };
    Attempt {
        number: job.attempts,
        at: began.map_or_else(job::now_millis, |began| began.since),
        took,
        reason,
        status,
        detail,
    }
}

pub(super) fn switched_off() -> Failure {
    let detail = "its handler is off: the service has answered 410 Gone before";
    Failure::new(Reason::HandlerOff, detail)
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
