//! What one instance does about the streams: which it runs, claims, waits for and gives up.
//!
//! Pure: what is read and the passing of time come in, records come out. All times are durations since
//! an origin of this instance's own, by its monotonic clock.
//!
//! - Kafka's group says who *should* have a stream: it is assigned, and that entitles. A move by a person
//!   counts more, while the instance that it names lives.
//! - The registry says who *has* it ([`registry`](super::registry)). Whoever is entitled claims a stream
//!   that nobody has, and waits for one that somebody has. Whoever has one without being entitled runs it
//!   until somebody waits for it, then drains it, and gives it up. So no stream is without an owner while
//!   the group makes up its mind, and two groups do not take streams from each other.
//! - A stream is wanted only while the last heartbeat that was read again was *sent* less than the session
//!   ago, less some time for draining. Others count the silence from when they *read* it.

mod deciding;
mod known;
mod request;

use super::record::{Entry, Instance, Stream};
use super::registry::Registry;
use crate::coordination::Wanted;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many streams an instance gives away at once.
const MOVES_AT_ONCE: usize = 4;

/// The times that follow from the session.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// After how long a silence an instance is taken for dead.
    pub session: Duration,
    /// How often it says that it lives.
    pub heartbeat: Duration,
    /// How long after its last heartbeat it runs its streams.
    lease: Duration,
}

impl Times {
    pub fn of(session: Duration) -> Self {
        Self {
            session,
            heartbeat: session / 4,
            lease: session - session / 8,
        }
    }
}

/// A stream that this instance claims.
#[derive(Debug, Clone, Copy, Default)]
struct Mine {
    /// The claim was read, and was the first.
    held: bool,
    /// It is to be given up once it is drained.
    giving: bool,
}

/// A record on its way.
#[derive(Debug)]
struct Sent {
    entry: Entry,
    at: Duration,
}

/// A stream that somebody outside the registry runs.
#[derive(Debug, Clone, Copy)]
struct HoldOff {
    since: Duration,
}

/// One instance.
#[derive(Debug)]
pub struct Member {
    pub(super) me: String,
    group: String,
    since: Timestamp,
    times: Times,
    /// The streams of the group.
    pub(super) streams: BTreeSet<String>,
    /// Those that can run here.
    able: BTreeSet<String>,
    assigned: BTreeSet<String>,
    pub(super) registry: Registry,
    mine: BTreeMap<String, Mine>,
    /// Not wanted any more since this version, and not yet reported as ended.
    draining: BTreeMap<String, u64>,
    hold_off: BTreeMap<String, HoldOff>,
    /// What the registry is to say of streams that we have.
    tenures: BTreeMap<String, Stream>,
    sent: Vec<Sent>,
    /// What the last heartbeat said, whether it was read or not.
    told: Option<Instance>,
    heartbeats: u64,
    beat_at: Duration,
    not_before: Duration,
    /// When the last heartbeat was sent that was read again; before the first one, nothing is known.
    confirmed: Option<Duration>,
    leaving: Option<Duration>,
    published: Wanted,
}

impl Member {
    pub fn new(
        me: String,
        group: String,
        streams: BTreeSet<String>,
        times: Times,
        since: Timestamp,
    ) -> Self {
        Self {
            me,
            group,
            since,
            times,
            able: streams.clone(),
            streams,
            assigned: BTreeSet::new(),
            registry: Registry::default(),
            mine: BTreeMap::new(),
            draining: BTreeMap::new(),
            hold_off: BTreeMap::new(),
            tenures: BTreeMap::new(),
            sent: Vec::new(),
            told: None,
            heartbeats: 0,
            beat_at: Duration::ZERO,
            not_before: Duration::ZERO,
            confirmed: None,
            leaving: None,
            published: Wanted::default(),
        }
    }

    /// A record of the registry was read; whether it was the last heartbeat of our own.
    pub fn read(&mut self, entry: Entry, now: Duration) -> bool {
        let mut confirmed = None;
        self.sent.retain(|sent| match (&sent.entry, &entry) {
            (Entry::Instance(mine, Some(told)), Entry::Instance(id, Some(read))) if mine == id => {
                let is_it = told.heartbeats == read.heartbeats;
                confirmed = is_it.then_some(sent.at).or(confirmed);
                !is_it
            }
            (sent, read) => !sent.is_about_the_same_as(read),
        });
        self.registry.read(entry, now);
        if let Some(sent) = confirmed {
            self.confirmed = Some(sent);
            let most = self.times.heartbeat * 2;
            self.registry.read_up_to(sent, now, most);
        }
        self.compare();
        confirmed.is_some()
    }

    /// Compares what we claim with what the registry says.
    fn compare(&mut self) {
        let (registry, me) = (&self.registry, self.me.as_str());
        self.mine
            .retain(|stream, mine| match registry.holder(stream) {
                Some(holder) if holder == me => {
                    mine.held = true;
                    true
                }
                Some(_) => false,
                // Not read yet, or removed by somebody: it is claimed again.
                None => true,
            });
        self.hold_off
            .retain(|stream, _| registry.holder(stream).is_none_or(|holder| holder == me));
        let mine = &self.mine;
        self.tenures.retain(|stream, _| mine.contains_key(stream));
    }

    /// Records could not be written.
    pub fn write_failed(&mut self, now: Duration) {
        self.sent.clear();
        self.told = None;
        self.not_before = now + self.pause();
    }

    /// Kafka's group has assigned these streams, too.
    pub fn assigned(&mut self, streams: impl IntoIterator<Item = String>) {
        for stream in streams {
            self.hold_off.remove(&stream);
            self.assigned.insert(stream);
        }
    }

    /// Kafka's group has taken the assignment of these back.
    pub fn revoked(&mut self, streams: &BTreeSet<String>) {
        self.assigned.retain(|stream| !streams.contains(stream));
    }

    /// From now on these streams can run here.
    pub fn can_run(&mut self, streams: BTreeSet<String>) {
        self.able = streams;
    }

    /// The process has seen this version of what is wanted, and these streams run or still drain.
    pub fn running(&mut self, version: u64, running: &BTreeSet<String>) {
        self.draining
            .retain(|stream, since| *since > version || running.contains(stream));
    }

    /// Somebody else has claimed the stream's checkpoint while it ran here.
    pub fn fenced(&mut self, stream: &str, now: Duration) {
        self.hold_off
            .insert(stream.to_owned(), HoldOff { since: now });
    }

    pub fn leave(&mut self, now: Duration) {
        self.leaving.get_or_insert(now);
    }

    /// What is wanted, if that has changed.
    pub fn publish(&mut self, now: Duration) -> Option<Wanted> {
        let streams = self.wanted(now);
        if streams == self.published.streams {
            return None;
        }
        let version = self.published.version + 1;
        for stream in self.published.streams.difference(&streams) {
            self.draining.insert(stream.clone(), version);
        }
        self.published = Wanted { version, streams };
        Some(self.published.clone())
    }

    fn wanted(&self, now: Duration) -> BTreeSet<String> {
        if now >= self.lease_until() {
            return BTreeSet::new();
        }
        let runs = |(stream, mine): &(&String, &Mine)| {
            let may = mine.held && !mine.giving && !self.draining.contains_key(*stream);
            may && self.able.contains(*stream) && !self.hold_off.contains_key(*stream)
        };
        let runs = self.mine.iter().filter(runs);
        runs.map(|(stream, _)| stream.clone()).collect()
    }

    fn lease_until(&self) -> Duration {
        self.confirmed
            .map_or(Duration::ZERO, |sent| sent + self.times.lease)
    }
}
