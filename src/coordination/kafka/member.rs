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

use super::record::{Entry, Instance, Move, Stream};
use super::registry::{FORGOTTEN, Registry};
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

    // What comes in.

    /// A record of the registry was read.
    pub fn read(&mut self, entry: Entry, now: Duration) {
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

    // What goes out.

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

    /// What is to be written now. `wall` is for people.
    pub fn decide(&mut self, now: Duration, wall: Timestamp) -> Vec<Entry> {
        self.look_for_what_is_late(now);
        if now < self.not_before {
            return Vec::new();
        }
        let mut entries = Vec::new();
        if self.confirmed.is_some() {
            self.end_holding_off(now);
            self.give_away(now);
            self.give_up();
            self.claim(&mut entries);
            self.pass_on(&mut entries);
            self.forget(&mut entries);
            self.describe(wall, &mut entries);
        }
        entries.retain(|entry| !self.is_on_its_way(entry));
        if let Some(beat) = self.beat(now, wall) {
            entries.push(beat);
        }
        self.sent.extend(entries.iter().map(|entry| Sent {
            entry: entry.clone(),
            at: now,
        }));
        entries
    }

    fn look_for_what_is_late(&mut self, now: Duration) {
        let is_late = |sent: &Sent| now >= sent.at + self.times.heartbeat;
        if self.sent.iter().any(is_late) {
            self.registry.could_not_read();
        }
        let session = self.times.session;
        self.sent.retain(|sent| now < sent.at + session);
    }

    fn is_on_its_way(&self, entry: &Entry) -> bool {
        let mut sent = self.sent.iter();
        sent.any(|sent| sent.entry.is_about_the_same_as(entry))
    }

    /// What an outsider took is ours again if nobody has claimed it here for a session.
    fn end_holding_off(&mut self, now: Duration) {
        let session = self.times.session;
        self.hold_off
            .retain(|_, hold_off| now < hold_off.since + session);
    }

    /// Gives up what has been drained.
    fn give_up(&mut self) {
        let (published, draining) = (&self.published.streams, &self.draining);
        self.mine.retain(|stream, mine| {
            !mine.giving || published.contains(stream) || draining.contains_key(stream)
        });
    }

    /// Decides what is to be drained and given up.
    fn give_away(&mut self, now: Duration) {
        let under_way = self.mine.values().filter(|mine| mine.giving).count();
        let mut room = MOVES_AT_ONCE.saturating_sub(under_way);
        let streams: Vec<String> = self.mine.keys().cloned().collect();
        for stream in streams {
            let is_ours = self.is_entitled(&stream);
            let is_out = self.hold_off.contains_key(&stream) || !self.able.contains(&stream);
            let goes = !is_ours && (is_out || self.is_wanted_by_another(&stream));
            let is_left = self.is_leaving_behind(&stream, now);
            let Some(mine) = self.mine.get_mut(&stream) else {
                continue;
            };
            if !mine.held && !is_ours {
                self.mine.remove(&stream);
            } else if !mine.giving && (is_left || goes && (room > 0 || is_out)) {
                room = room.saturating_sub(1);
                mine.giving = true;
            }
        }
    }

    fn is_wanted_by_another(&self, stream: &str) -> bool {
        let mut others = self.registry.instances.keys().filter(|id| **id != self.me);
        others.any(|id| self.registry.is_wanted_by(id, stream))
    }

    /// When leaving: nobody can take the stream, or nobody has come for it.
    fn is_leaving_behind(&self, stream: &str, now: Duration) -> bool {
        let Some(since) = self.leaving else {
            return false;
        };
        self.registry.successor(stream, &self.me).is_none() || now >= since + self.times.session
    }

    /// Claims what nobody has, and removes whoever holds what is ours and is silent.
    fn claim(&mut self, entries: &mut Vec<Entry>) {
        let me = self.me.clone();
        let streams: Vec<String> = self.able.iter().cloned().collect();
        for stream in streams {
            if self.mine.contains_key(&stream) || !self.is_entitled(&stream) {
                continue;
            }
            match self.registry.holder(&stream) {
                Some(holder) if *holder != me => {
                    if self.registry.is_silent(holder, 1) {
                        entries.push(Entry::Instance(holder.to_owned(), None));
                    }
                }
                _ if self.draining.contains_key(&stream) => {}
                holder => {
                    let held = holder.is_some();
                    let giving = false;
                    self.mine.insert(stream, Mine { held, giving });
                }
            }
        }
    }

    /// What is assigned to us and cannot run here is another one's.
    fn pass_on(&self, entries: &mut Vec<Entry>) {
        for stream in &self.assigned {
            let is_out = match self.hold_off.get(stream) {
                // Whoever was frozen may be behind: the stream may have an owner long since.
                Some(hold_off) => self.confirmed.is_some_and(|sent| sent > hold_off.since),
                None => !self.able.contains(stream),
            };
            let is_ours = |holder: &str| holder == self.me;
            let is_free = self.registry.holder(stream).is_none_or(is_ours);
            if is_out
                && is_free
                && self.leaving.is_none()
                && self.moved_to(stream).is_none_or(|to| to == self.me)
                && let Some(to) = self.registry.successor(stream, &self.me)
            {
                let to = to.to_owned();
                entries.push(Entry::Move(stream.clone(), Some(Move { to })));
            }
        }
    }

    /// Removes what is of nobody any more: instances, and moves to them.
    fn forget(&self, entries: &mut Vec<Entry>) {
        for id in self.registry.instances.keys() {
            let tombstone = Entry::Instance(id.clone(), None);
            let is_dead = *id != self.me && self.registry.is_silent(id, FORGOTTEN);
            if is_dead && !entries.contains(&tombstone) {
                entries.push(tombstone);
            }
        }
        for stream in self.registry.moves.keys() {
            let is_held = self.mine.get(stream).is_some_and(|mine| mine.held);
            if is_held && self.moved_to(stream).is_none() {
                entries.push(Entry::Move(stream.clone(), None));
            }
        }
    }

    /// Says of the streams that we have since when, and who had them before.
    fn describe(&mut self, wall: Timestamp, entries: &mut Vec<Entry>) {
        let held = self.mine.iter().filter(|(_, mine)| mine.held);
        for stream in held.map(|(stream, _)| stream) {
            let known = self.registry.streams.get(stream);
            let tenure = self.tenures.entry(stream.clone()).or_insert_with(|| {
                let before = known.cloned().unwrap_or_default();
                let owner = before.owner.clone();
                let is_hand_over = owner.as_ref().is_some_and(|owner| *owner != self.me);
                Stream {
                    owner: Some(self.me.clone()),
                    since: Some(wall),
                    epoch: before.epoch + 1,
                    hand_overs: before.hand_overs + u64::from(is_hand_over),
                    previous: owner.filter(|_| is_hand_over).or(before.previous),
                }
            });
            if known != Some(tenure) {
                entries.push(Entry::Stream(stream.clone(), Some(tenure.clone())));
            }
        }
    }

    /// The next heartbeat: when it is due, when there is news, and when somebody may have been silent for
    /// too long, which only a read can tell.
    fn beat(&mut self, now: Duration, wall: Timestamp) -> Option<Entry> {
        let mut next = self.own_record();
        let is_news = self.told.as_ref() != Some(&next);
        let is_missing =
            self.confirmed.is_some() && !self.registry.instances.contains_key(&self.me);
        let silence = self.registry.next_silence(&self.me);
        let is_due = now >= self.beat_at || silence.is_some_and(|at| now >= at);
        let is_on_its_way = self.is_on_its_way(&Entry::Instance(self.me.clone(), None));
        if is_on_its_way || !(is_news || is_missing || is_due) {
            return None;
        }
        self.told = Some(next.clone());
        self.beat_at = now + self.times.heartbeat;
        self.heartbeats += 1;
        next.heartbeats = self.heartbeats;
        next.last_heartbeat = Some(wall);
        Some(Entry::Instance(self.me.clone(), Some(next)))
    }

    /// What we say of ourselves, but for the heartbeat.
    fn own_record(&self) -> Instance {
        let is_out = |stream: &&String| !self.hold_off.contains_key(*stream);
        let waits = |stream: &&String| self.is_entitled(stream) && !self.mine.contains_key(*stream);
        let streams = self.able.iter().filter(is_out);
        Instance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: Some(self.since),
            group: self.group.clone(),
            streams: streams.cloned().collect(),
            has: self.mine.keys().cloned().collect(),
            wants: match self.confirmed {
                Some(_) => self.able.iter().filter(waits).cloned().collect(),
                None => BTreeSet::new(),
            },
            leaving: self.leaving.is_some(),
            timeout_ms: u64::try_from(self.times.session.as_millis()).unwrap_or(u64::MAX),
            ..Instance::default()
        }
    }

    /// What a person asks for: that `stream` goes to this instance, or to whichever has least.
    ///
    /// # Errors
    /// A sentence, when that cannot be.
    pub fn ask(&mut self, stream: &str, to: Option<&str>, now: Duration) -> Result<Entry, String> {
        let listed = |names: Vec<&str>| names.join(", ");
        let all: BTreeSet<&str> = self.all_streams();
        if !all.contains(stream) {
            let all = listed(all.into_iter().collect());
            return Err(format!("there is no stream {stream}; there are {all}"));
        }
        let holder = self.registry.holder(stream).map(str::to_owned);
        let live = |id: &&str| !self.registry.is_silent(id, 1);
        let others: Vec<&str> = self.registry.instances.keys().map(String::as_str).collect();
        let others: Vec<&str> = others.into_iter().filter(live).collect();
        let to = match to {
            Some(to) if !others.contains(&to) => {
                let others = listed(others);
                return Err(format!("there is no instance {to}; there are {others}"));
            }
            Some(to) if holder.as_deref() == Some(to) => {
                return Err(format!("instance {to} has stream {stream} already"));
            }
            Some(to) if !self.registry.is_available(to, stream) => {
                return Err(format!(
                    "instance {to} is not configured for stream {stream}, or is being stopped"
                ));
            }
            Some(to) => to.to_owned(),
            None => {
                let from = holder.as_deref().unwrap_or_default();
                let to = self.registry.successor(stream, from);
                to.ok_or_else(|| format!("no other instance can run stream {stream}"))?
                    .to_owned()
            }
        };
        let entry = Entry::Move(stream.to_owned(), Some(Move { to }));
        let (at, sent) = (now, entry.clone());
        self.sent.push(Sent { entry: sent, at });
        Ok(entry)
    }

    // What is so.

    /// Every stream that somebody knows of.
    pub(super) fn all_streams(&self) -> BTreeSet<&str> {
        let told = self.registry.instances.values();
        let told = told.flat_map(|known| &known.record.streams);
        let had = self.registry.streams.keys();
        let all = self.streams.iter().chain(told).chain(had);
        all.map(String::as_str).collect()
    }

    /// Where a person has moved the stream, while that instance can have it.
    pub(super) fn moved_to(&self, stream: &str) -> Option<&str> {
        let to = self.registry.moves.get(stream)?.to.as_str();
        let can = match to == self.me {
            true => self.leaving.is_none() && self.able.contains(stream),
            false => self.registry.is_available(to, stream),
        };
        can.then_some(to)
    }

    fn is_entitled(&self, stream: &str) -> bool {
        let is_able = self.able.contains(stream) && !self.hold_off.contains_key(stream);
        let is_ours = match self.moved_to(stream) {
            Some(to) => to == self.me,
            None => self.assigned.contains(stream),
        };
        is_able && is_ours && self.leaving.is_none()
    }

    /// Whether the registry has been read, up to our own first heartbeat.
    pub fn is_ready(&self) -> bool {
        self.confirmed.is_some()
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Everything is given up, and the others can know.
    pub fn has_left(&self) -> bool {
        self.is_leaving()
            && self.mine.is_empty()
            && self.draining.is_empty()
            && self.published.streams.is_empty()
            && !self.registry.is_claimed_by(&self.me)
    }

    pub(super) fn is_confirmed(&self, now: Duration) -> bool {
        now < self.lease_until()
    }

    /// After which pause what has failed is tried again.
    fn pause(&self) -> Duration {
        (self.times.heartbeat / 4).max(Duration::from_millis(50))
    }

    /// When something is due that nothing else brings about.
    pub fn next(&self, now: Duration) -> Duration {
        let session = self.times.session;
        let late = self.sent.iter().map(|sent| sent.at + self.times.heartbeat);
        let held_off = self.hold_off.values().map(|held| held.since + session);
        let beat = match self.is_on_its_way(&Entry::Instance(self.me.clone(), None)) {
            true => None,
            false => {
                let silence = self.registry.next_silence(&self.me);
                Some(silence.map_or(self.beat_at, |at| at.min(self.beat_at)))
            }
        };
        let rest = [
            beat.map(|at| at.max(self.not_before)),
            (!self.published.streams.is_empty()).then(|| self.lease_until()),
            self.leaving.map(|since| since + session),
            Some(self.not_before),
        ];
        let all = late.chain(held_off).chain(rest.into_iter().flatten());
        let next = all.filter(|at| *at > now).min();
        let soon = now + Duration::from_millis(1);
        let due = beat.is_some_and(|at| at.max(self.not_before) <= now);
        if due {
            soon
        } else {
            next.unwrap_or(now + self.times.heartbeat)
        }
    }
}
