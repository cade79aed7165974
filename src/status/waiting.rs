//! What the stream waits for, and since when.
//!
//! Whoever waits says for what: [`Waits::on`] takes the wait together with its name, and
//! `stream::outlet` offers no wait without one. Health, readiness, the status line, the metrics and the
//! stall detector read the same list.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A topic that is about to be made has its leaders within a second or two, and a new producer its first
/// acknowledgement: beyond that somebody has to see to it.
const SOON_NOTICED: Duration = Duration::from_secs(2);
/// Elections of leaders and primaries, and restarts of brokers, take seconds: shorter than this a wait is
/// a hiccup.
pub(super) const HICCUP: Duration = Duration::from_secs(10);
/// How long nothing may move while there is work, whatever the connections look like: a broker's own
/// pauses and the driver's attempts on a dead connection stay below it.
pub(super) const STILL: Duration = Duration::from_secs(30);
/// How long checkpoints may fail before a crash would repeat too much. Changes are carried meanwhile.
pub(super) const UNSTORED: Duration = Duration::from_secs(60);

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The next change, at rest. Nothing stands still: this is never reported.
    Change,
    /// This topic: it is missing, forbidden or without a leader.
    Topic(Arc<str>),
    /// Room for a record in the memory budget.
    Budget,
    /// Room in the Kafka client's own queue.
    Queue,
    /// Kafka's acknowledgements of records.
    Acknowledgements,
    /// Kafka's answer about a transaction.
    Transaction,
    /// A Kafka producer that stays.
    Producer,
    /// Kafka's answer about topics.
    Kafka,
    /// The schema registry's answer.
    Registry,
    /// The checkpoint store's answer.
    Checkpoint,
    /// A reply of MongoDB, or a cursor to ask for one.
    MongoDb,
    /// What the instances agree by: leases in MongoDB, or a topic and a group in Kafka.
    Coordination,
    /// An instance that has the stream.
    Owner,
}

impl Awaited {
    /// The names of all that is reported, for metrics: [`name`](Self::name) gives one of them.
    pub const NAMES: [&'static str; 12] = [
        "topic",
        "budget",
        "queue",
        "acknowledgements",
        "transaction",
        "producer",
        "kafka",
        "registry",
        "checkpoint",
        "mongodb",
        "coordination",
        "owner",
    ];

    /// The stable name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Topic(_) => "topic",
            Self::Budget => "budget",
            Self::Queue => "queue",
            Self::Acknowledgements => "acknowledgements",
            Self::Transaction => "transaction",
            Self::Producer => "producer",
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Checkpoint => "checkpoint",
            Self::MongoDb => "mongodb",
            Self::Coordination => "coordination",
            Self::Owner => "owner",
        }
    }

    /// From when on a wait is reported, and the instance is degraded by it.
    fn noticed_after(&self) -> Duration {
        match self {
            Self::Change => Duration::MAX,
            Self::Topic(_) | Self::Producer | Self::Registry | Self::Coordination => SOON_NOTICED,
            _ => HICCUP,
        }
    }

    /// From when on a wait makes the instance unhealthy.
    fn unhealthy_after(&self) -> Duration {
        match self {
            // No restart of this instance brings an owner.
            Self::Change | Self::Owner => Duration::MAX,
            // Nobody else will do it, and it holds up the whole stream.
            Self::Topic(_) | Self::Producer | Self::Registry => HICCUP,
            Self::Checkpoint => UNSTORED,
            _ => STILL,
        }
    }

    /// Whether changes are carried on meanwhile.
    fn carries_on(&self) -> bool {
        matches!(self, Self::Change | Self::Checkpoint | Self::Coordination)
    }

    /// Whether each acknowledgement is progress.
    fn moves_with_acknowledgements(&self) -> bool {
        matches!(self, Self::Budget | Self::Queue | Self::Acknowledgements)
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change => f.write_str("the next change"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Budget => {
                f.write_str("room in MAX_IN_FLIGHT_BYTES, which kafka's acknowledgements make")
            }
            Self::Queue => f.write_str("room in the kafka client's queue"),
            Self::Acknowledgements => f.write_str("kafka's acknowledgements"),
            Self::Transaction => f.write_str("kafka's answer about the transaction"),
            Self::Producer => f.write_str("a kafka producer that stays"),
            Self::Kafka => f.write_str("kafka's answer about topics"),
            Self::Registry => f.write_str("the schema registry"),
            Self::Checkpoint => f.write_str("the checkpoint store"),
            Self::MongoDb => f.write_str("a reply of mongodb"),
            Self::Coordination => f.write_str("what COORDINATION is kept in"),
            Self::Owner => f.write_str("an instance that has the stream"),
        }
    }
}

/// Since when, on both clocks: one to measure with, one to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    pub at: Instant,
    /// In ms since the Unix epoch.
    pub millis: i64,
}

impl Since {
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            millis: super::now_millis(),
        }
    }
}

/// One wait that continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub what: Awaited,
    pub since: Since,
    /// What is in the way, where that is known.
    pub why: Option<String>,
}

impl Wait {
    pub fn lasts(&self) -> Duration {
        self.since.at.elapsed()
    }

    /// Whether it has lasted long enough to be told.
    pub fn is_noticed(&self) -> bool {
        self.lasts() >= self.what.noticed_after()
    }

    /// Whether it has lasted so long that the instance does not do its work.
    pub fn is_unhealthy(&self) -> bool {
        self.lasts() >= self.what.unhealthy_after()
    }

    /// Whether nothing is delivered while it lasts.
    pub fn stops_delivery(&self) -> bool {
        !self.what.carries_on()
    }

    /// Takes an acknowledgement that came after the wait began for progress.
    pub(super) fn counted_from(mut self, acknowledged: Option<Since>) -> Self {
        if self.what.moves_with_acknowledgements()
            && let Some(since) = acknowledged
            && since.at > self.since.at
        {
            self.since = since;
        }
        self
    }

    /// As a sentence.
    pub fn sentence(&self) -> String {
        let mut sentence = format!("waiting for {}", self.what);
        if let Ok(time) = jiff::Timestamp::from_millisecond(self.since.millis) {
            sentence += &format!(" since {time:.0}");
        }
        if let Some(why) = &self.why {
            sentence += ": ";
            sentence += why;
        }
        sentence
    }
}

#[derive(Debug)]
struct Entry {
    id: u64,
    wait: Wait,
    /// Whether it lasts beyond whoever waits, until Kafka acknowledges a record again.
    until_acknowledged: bool,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    entries: Vec<Entry>,
}

/// All that is waited for now, by any task.
#[derive(Debug, Default)]
pub struct Waits {
    entries: Mutex<Entries>,
    /// Whether an entry lasts until an acknowledgement: looked at with each of them.
    is_troubled: AtomicBool,
}

impl Waits {
    /// Waits for `future`, under the name of what is waited for.
    pub async fn on<T>(&self, what: Awaited, future: impl Future<Output = T>) -> T {
        let _waiting = self.begin(what);
        future.await
    }

    /// Notes a wait that lasts until what is returned is dropped.
    pub fn begin(&self, what: Awaited) -> Waiting<'_> {
        let mut entries = self.lock();
        let id = entries.next;
        entries.next += 1;
        if what != Awaited::Change {
            entries.entries.push(Entry {
                id,
                wait: Wait {
                    what,
                    since: Since::now(),
                    why: None,
                },
                until_acknowledged: false,
            });
        }
        Waiting { waits: self, id }
    }

    /// Notes trouble that outlasts a producer: the attempts in between are no progress, and since when it
    /// lasts is told from the first. It ends with an [acknowledgement](Self::acknowledged), or when the stream has
    /// [moved on](Self::moved_on).
    pub fn trouble(&self, what: Awaited, why: String) {
        let mut entries = self.lock();
        let known = entries
            .entries
            .iter_mut()
            .find(|entry| entry.until_acknowledged && entry.wait.what == what);
        if let Some(entry) = known {
            entry.wait.why = Some(why);
            return;
        }
        let id = entries.next;
        entries.next += 1;
        entries.entries.push(Entry {
            id,
            wait: Wait {
                what,
                since: Since::now(),
                why: Some(why),
            },
            until_acknowledged: true,
        });
        self.is_troubled.store(true, Ordering::Release);
    }

    /// Kafka has acknowledged a record of `topic`. With `is_final` nothing can take that back, so that its
    /// producer has stayed.
    pub fn acknowledged(&self, topic: &str, is_final: bool) {
        if self.is_troubled.load(Ordering::Acquire) {
            self.end_trouble(|what| match what {
                Awaited::Topic(name) => name.as_ref() == topic,
                _ => is_final,
            });
        }
    }

    /// The checkpoint has moved: whatever producer did that has stayed.
    pub fn moved_on(&self) {
        self.end_trouble(|what| !matches!(what, Awaited::Topic(_)));
    }

    fn end_trouble(&self, ends: impl Fn(&Awaited) -> bool) {
        let mut entries = self.lock();
        entries
            .entries
            .retain(|entry| !(entry.until_acknowledged && ends(&entry.wait.what)));
        let is_troubled = entries.entries.iter().any(|entry| entry.until_acknowledged);
        self.is_troubled.store(is_troubled, Ordering::Release);
    }

    /// All waits, the oldest first.
    pub fn all(&self) -> Vec<Wait> {
        let mut waits: Vec<Wait> = {
            let entries = self.lock();
            entries.entries.iter().map(|e| e.wait.clone()).collect()
        };
        waits.sort_by_key(|wait| wait.since.at);
        waits
    }

    /// Whether anybody waits for it.
    pub fn is_on(&self, what: &Awaited) -> bool {
        self.lock().entries.iter().any(|e| e.wait.what == *what)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait that continues until this is dropped, also where it is given up.
#[derive(Debug)]
#[must_use = "the wait ends when it is dropped"]
pub struct Waiting<'a> {
    waits: &'a Waits,
    id: u64,
}

impl Waiting<'_> {
    /// Says what is in the way.
    pub fn because(&self, why: String) {
        let mut entries = self.waits.lock();
        if let Some(entry) = entries.entries.iter_mut().find(|e| e.id == self.id) {
            entry.wait.why = Some(why);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.lock().entries.retain(|e| e.id != self.id);
    }
}

#[cfg(test)]
mod tests;
