//! Says when records are sent that do not fill a batch, instead of `linger.ms`.
//!
//! librdkafka's linger costs either way. When it is over while a round of requests of a partition is on
//! its way, which librdkafka 2.12 allows one of, the broker thread asks again and again without pause
//! until the round is over (measured with 1 ms: half of Tailwater's CPU time while catching up). A long
//! one costs at rest, where each record waits for it. So librdkafka's is so long that it never ends, and
//! this thread tells it to send:
//!
//! - at rest, when the source has nothing more ready, as soon as nothing is on its way or a round is over:
//!   records gather for as long as a round takes, and no longer (Nagle's rule);
//! - while more follows, every [`GATHERING`].

use crate::config::Kafka;
use crate::kafka::produce;
use rdkafka::client::ClientContext;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// librdkafka's property for how long records wait for others.
pub const LINGER: &str = "linger.ms";
/// Longer than librdkafka takes to give up a broker that does not answer: while it waits for one, the end
/// of the linger would keep its thread busy.
pub const LONGEST_LINGER: Duration = Duration::from_secs(65);
/// Its other name.
const LINGER_ALIAS: &str = "queue.buffering.max.ms";

/// How long librdkafka's mark stays set at most: long enough for a broker thread to see it, and no longer,
/// since meanwhile each record is sent as soon as it is queued.
const MARK: Duration = Duration::from_millis(2);
/// After this the mark is set again, should a broker thread not have seen it; then after twice as long,
/// up to `SELDOM`: Kafka may be away.
const AGAIN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_secs(1);
/// How long records wait for others while more follows.
const GATHERING: Duration = Duration::from_millis(100);

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
    /// The thread waits for the first record, without a time to wake up at.
    is_idle: AtomicBool,
    is_over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Pace {
    /// A record was queued.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::SeqCst);
        if self.is_resting.load(Ordering::Relaxed) {
            self.is_resting.store(false, Ordering::Relaxed);
        }
    }

    /// A part of the stream is queued; `is_last` says that nothing follows for now.
    pub fn pause(&self, is_last: bool) {
        self.is_resting.store(is_last, Ordering::Release);
        // While more follows, the thread need only know that something has begun: woken up each time, it
        // takes the core from the pump.
        if is_last || self.is_idle.load(Ordering::SeqCst) {
            self.wake();
        }
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
    /// How long what waits has to wait on. At rest not at all when nothing is on its way, or a round is
    /// over, or it looks as if the mark was not seen.
    fn wait(&self, is_resting: bool, reported: u64, now: Instant) -> Duration {
        let is_over = reported >= self.queued || reported > self.reported;
        let wait = match is_resting {
            true if is_over => Duration::ZERO,
            true => self.patience,
            false => GATHERING,
        };
        wait.saturating_sub(now - self.at)
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
        if queued <= reported {
            pace.is_idle.store(true, Ordering::SeqCst);
            // A record queued just now did not see that.
            if pace.queued.load(Ordering::SeqCst) <= reported {
                thread::park();
            }
            pace.is_idle.store(false, Ordering::SeqCst);
            continue;
        }
        let now = Instant::now();
        let wait = round.wait(pace.is_resting.load(Ordering::Acquire), reported, now);
        if wait.is_zero() {
            round = round.next(queued, reported, now);
            produce::send_now(producer.client(), MARK);
        } else {
            thread::park_timeout(wait);
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
        assert_eq!(round.wait(true, 4, now), AGAIN, "nothing has come back");
        assert!(round.wait(true, 5, now).is_zero(), "a round is over");
        let later = now + AGAIN;
        assert!(round.wait(true, 4, later).is_zero(), "perhaps unsent");
        assert_eq!(round.wait(false, 5, later), GATHERING - AGAIN);
        let nothing_under_way = Round {
            queued: 4,
            patience: AGAIN,
            ..round
        };
        assert!(nothing_under_way.wait(true, 4, now).is_zero());
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
        pace.pause(true);
        assert!(pace.is_wanted.swap(false, Ordering::Relaxed));
        pace.reported();
        assert!(pace.is_wanted.swap(false, Ordering::Relaxed));
        pace.queued();
        pace.reported();
        assert!(!pace.is_wanted.load(Ordering::Relaxed));
        pace.pause(false);
        assert!(!pace.is_wanted.load(Ordering::Relaxed));
        pace.is_idle.store(true, Ordering::SeqCst);
        pace.pause(false);
        assert!(pace.is_wanted.load(Ordering::Relaxed));
    }
}
