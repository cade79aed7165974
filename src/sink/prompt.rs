//! Sends what is queued when nothing more is coming and nothing is on its way, instead of when
//! `linger.ms` is over.
//!
//! A short linger costs under load: librdkafka 2.12 has one round of requests of a partition in flight,
//! and its broker thread asks again and again without pause while records that have waited long enough
//! cannot go (measured: half of Tailwater's CPU time). A long one costs at rest, where each record waits
//! for it. The pump knows when the source has nothing more ready, and the delivery reports say when the
//! last round is over: then there is nothing to linger for. So records gather for as long as a round
//! takes, and no longer: Nagle's rule. While the stream works off what has waited long anyway, the pump
//! does not say so: then records gather for the whole linger.

use super::produce;
use crate::config::Kafka;
use rdkafka::client::ClientContext;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// librdkafka's property, and how long records wait for others at most, in milliseconds: while the source
/// always has more ready, or should a broker thread have slept through it when it was told to send.
pub const LINGER: &str = "linger.ms";
pub const LINGER_MS: &str = "100";
/// Its other name.
const LINGER_ALIAS: &str = "queue.buffering.max.ms";

/// How long librdkafka's mark stays set at most: long enough for a broker thread to see it, and no longer,
/// since meanwhile each record is sent as soon as it is queued.
const MARK: Duration = Duration::from_millis(2);
/// After this the mark is set again, should a broker thread not have seen it; then after twice as long,
/// up to `SELDOM`: Kafka may be away.
const AGAIN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_secs(1);

/// Whether the user has said how long records wait: then they do.
pub fn is_told_to_linger(kafka: &Kafka) -> bool {
    let mut names = kafka.properties.iter().map(|(name, _)| name.as_str());
    names.any(|name| name == LINGER || name == LINGER_ALIAS)
}

/// What the pump, the delivery reports and the thread know of the records between them.
#[derive(Debug, Default)]
pub struct Pace {
    queued: AtomicU64,
    reported: AtomicU64,
    /// The pump has nothing more for now.
    is_resting: AtomicBool,
    is_wanted: AtomicBool,
    is_over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Pace {
    /// A record was queued.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.is_resting.load(Ordering::Relaxed) {
            self.is_resting.store(false, Ordering::Relaxed);
        }
    }

    /// Nothing follows what was queued.
    pub fn rest(&self) {
        self.is_resting.store(true, Ordering::Release);
        self.wake();
    }

    /// A record's report came.
    pub fn reported(&self) {
        self.reported.fetch_add(1, Ordering::Relaxed);
        if self.is_resting.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.is_wanted.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// What was sent when the mark was last set.
#[derive(Debug)]
struct Round {
    /// Records queued by then.
    queued: u64,
    /// Reports that had come by then.
    reported: u64,
    at: Instant,
    patience: Duration,
}

impl Round {
    /// Whether records that may not be sent yet should be: nothing is on its way, a round is over, or it
    /// looks as if the mark was not seen.
    fn is_over(&self, reported: u64, now: Instant) -> bool {
        reported >= self.queued || reported > self.reported || now - self.at >= self.patience
    }

    /// The round that follows.
    fn next(&self, queued: u64, reported: u64, now: Instant) -> Self {
        let patience = match reported > self.reported {
            true => AGAIN,
            false => (self.patience * 2).min(SELDOM),
        };
        Self {
            queued,
            reported,
            at: now,
            patience,
        }
    }
}

/// The thread that sets librdkafka's mark: the call for it blocks.
#[derive(Debug)]
pub struct Prompt {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

impl Prompt {
    /// Starts the thread for `producer`, whose records `pace` is told of.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<C>(producer: Arc<BaseProducer<C>>, pace: Arc<Pace>) -> std::io::Result<Self>
    where
        C: ClientContext + ProducerContext + 'static,
    {
        let of_thread = Arc::clone(&pace);
        let thread = thread::Builder::new()
            .name("kafka-prompt".into())
            .spawn(move || keep(&producer, &of_thread))?;
        let _ = pace.thread.set(thread.thread().clone());
        Ok(Self {
            pace,
            thread: Some(thread),
        })
    }
}

fn keep<C: ClientContext + ProducerContext>(producer: &BaseProducer<C>, pace: &Pace) {
    let mut round = Round {
        queued: 0,
        reported: 0,
        at: Instant::now(),
        patience: AGAIN,
    };
    while !pace.is_over.load(Ordering::Acquire) {
        pace.is_wanted.store(false, Ordering::Release);
        let reported = pace.reported.load(Ordering::Acquire);
        let queued = pace.queued.load(Ordering::Acquire);
        if !pace.is_resting.load(Ordering::Acquire) || queued <= reported {
            thread::park();
            continue;
        }
        let now = Instant::now();
        if round.is_over(reported, now) {
            round = round.next(queued, reported, now);
            produce::send_now(producer.client(), MARK);
        } else {
            thread::park_timeout(round.patience - (now - round.at));
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        self.pace.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only waits; a panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_gather_while_a_round_is_on_its_way() {
        let now = Instant::now();
        let round = Round {
            queued: 10,
            reported: 4,
            at: now,
            patience: AGAIN,
        };
        assert!(!round.is_over(4, now), "nothing has come back");
        assert!(round.is_over(5, now), "a round of one partition is over");
        assert!(round.is_over(4, now + AGAIN), "perhaps nothing was sent");
        let resting = Round {
            queued: 4,
            reported: 4,
            at: now,
            patience: AGAIN,
        };
        assert!(resting.is_over(4, now), "nothing is on its way");
        let away = round.next(10, 4, now).next(10, 4, now);
        assert_eq!(away.patience, AGAIN * 4, "nobody answers");
        assert_eq!(away.next(10, 5, now).patience, AGAIN);
    }

    #[test]
    fn a_report_wakes_the_thread_only_while_the_pump_rests() {
        let pace = Pace::default();
        pace.queued();
        pace.queued();
        pace.reported();
        assert!(!pace.is_wanted.load(Ordering::Relaxed));
        pace.rest();
        assert!(pace.is_wanted.swap(false, Ordering::Relaxed));
        pace.reported();
        assert!(pace.is_wanted.swap(false, Ordering::Relaxed));
        pace.queued();
        pace.reported();
        assert!(!pace.is_wanted.load(Ordering::Relaxed));
    }
}
