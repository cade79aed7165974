//! What one instance does about the leases: which streams it runs, gives away and takes.
//!
//! Pure: the answers of the database and the passing of time come in, writes come out. All times are
//! durations since an origin of this instance's own, by its monotonic clock.
//!
//! - A stream is wanted only while the last heartbeat that succeeded was *sent* less than the time-out
//!   ago, less some time for draining. Others count its silence from when they *saw* that heartbeat, so that they come to the
//!   time-out later than the owner does, whatever the clocks of the machines say.
//! - A stream that is no longer wanted is held back until the process says that it runs no more: its
//!   lease is kept meanwhile, so that the next owner begins after the last commit.
//! - Nothing is decided from a read that began before the last write to the same document had ended.

use super::balance::{self, Picture, Place};
use super::lease::{Found, Lease, Outcome, Peer, Seen, Unreadable, Write};
use crate::coordination::silence::Silence;
use crate::coordination::view::{StreamView, View};
use crate::coordination::{LeaseTimes, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// How many streams an instance gives away at once to even out the spread.
const MOVES_AT_ONCE: usize = 4;

/// How long an instance looks around, at most, before it takes its first stream: those that start with
/// it shall be seen, or the first one takes everything and gives most of it away again.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// What this instance has to do with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mine {
    /// The lease names us; a heartbeat must confirm it.
    Confirming {
        epoch: u64,
    },
    Running {
        epoch: u64,
        good_until: Duration,
    },
    /// Not wanted any more, and the process has not said yet that it runs no more.
    Draining {
        /// The epoch of the lease, while it is ours.
        lease: Option<u64>,
        then: Then,
        /// The first version of what is wanted without it.
        version: Option<u64>,
    },
    /// Given up by the process; the lease still names us.
    Releasing {
        epoch: u64,
        to: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// Another one takes it.
    Release { to: Option<String> },
    /// It is ours again, should the lease have survived.
    Confirm,
}

#[derive(Debug)]
struct Known {
    lease: Lease,
    silence: Silence<(u64, u64)>,
    /// Whether the last read found it.
    is_there: bool,
}

#[derive(Debug)]
struct KnownPeer {
    peer: Peer,
    silence: Silence<u64>,
}

/// A stream that somebody outside the leases runs.
#[derive(Debug, Clone, Copy)]
struct HoldOff {
    epoch: u64,
    until: Duration,
}

/// One instance.
#[derive(Debug)]
pub struct Member {
    me: String,
    streams: BTreeSet<String>,
    times: LeaseTimes,
    mine: BTreeMap<String, Mine>,
    known: BTreeMap<String, Known>,
    unreadable: BTreeSet<String>,
    peers: BTreeMap<String, KnownPeer>,
    hold_off: BTreeMap<String, HoldOff>,
    /// Writes on their way, and when they were sent.
    busy: BTreeMap<String, Duration>,
    /// Those that are to take a stream.
    taking: BTreeSet<String>,
    /// Of reads that began before, what they say of the stream is out of date.
    written: BTreeMap<String, Duration>,
    /// After a write that was refused or has no answer, nothing more is written before a read.
    unsure: BTreeSet<String>,
    forgetting: BTreeSet<String>,
    registered: Option<Duration>,
    has_read: bool,
    /// A read is needed that begins then or later.
    read_after: Option<Duration>,
    is_leaving: bool,
    /// Our registration says so: nobody gives us anything any more.
    is_leaving_known: bool,
    published: Wanted,
}

impl Member {
    pub fn new(me: String, streams: BTreeSet<String>, times: LeaseTimes) -> Self {
        Self {
            me,
            streams,
            times,
            mine: BTreeMap::new(),
            known: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            peers: BTreeMap::new(),
            hold_off: BTreeMap::new(),
            busy: BTreeMap::new(),
            taking: BTreeSet::new(),
            written: BTreeMap::new(),
            unsure: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            registered: None,
            has_read: false,
            read_after: Some(Duration::ZERO),
            is_leaving: false,
            is_leaving_known: false,
            published: Wanted::default(),
        }
    }

    // What comes in.

    /// A read that succeeded.
    pub fn read(&mut self, found: Found, started: Duration, ended: Duration) {
        self.has_read = true;
        self.read_after = self.read_after.filter(|after| *after > started);
        let most = self.times.poll * 2;
        for known in self.known.values_mut() {
            known.is_there = false;
        }
        let written = &self.written;
        self.unsure
            .retain(|stream| written.get(stream).is_some_and(|at| started < *at));
        for lease in found.leases {
            self.read_lease(lease, started, ended, most);
        }
        self.unreadable = found
            .unreadable
            .into_iter()
            .map(|Unreadable { stream }| stream)
            .filter(|stream| self.is_fresh(stream, started))
            .collect();
        // A document that is gone is silent too: whoever holds it makes it again.
        for known in self.known.values_mut().filter(|known| !known.is_there) {
            let value = (known.lease.epoch, known.lease.heartbeats);
            known.silence.read(value, started, ended, most);
        }
        let mut before = std::mem::take(&mut self.peers);
        for peer in found.peers {
            let silence = match before.remove(&peer.id) {
                Some(KnownPeer { mut silence, .. }) => {
                    silence.read(peer.heartbeats, started, ended, most);
                    silence
                }
                None => Silence::new(peer.heartbeats, ended),
            };
            self.peers
                .insert(peer.id.clone(), KnownPeer { peer, silence });
        }
    }

    fn read_lease(&mut self, lease: Lease, started: Duration, ended: Duration, most: Duration) {
        let stream = lease.stream.clone();
        let value = (lease.epoch, lease.heartbeats);
        let is_fresh = self.is_fresh(&stream, started);
        match self.known.get_mut(&stream) {
            Some(known) if !is_fresh => {
                known.is_there = true;
                return;
            }
            Some(known) => {
                // A lease that is free has no heartbeats: being given up is its last change.
                if known.lease.owner != lease.owner {
                    known.silence = Silence::new(value, ended);
                } else {
                    known.silence.read(value, started, ended, most);
                }
                known.lease = lease;
                known.is_there = true;
            }
            None => {
                let silence = Silence::new(value, ended);
                let known = Known {
                    lease,
                    silence,
                    is_there: true,
                };
                self.known.insert(stream.clone(), known);
                if !is_fresh {
                    return;
                }
            }
        }
        self.compare(&stream);
    }

    /// Compares what we think to have with what the lease says.
    fn compare(&mut self, stream: &str) {
        let Some(known) = self.known.get(stream) else {
            return;
        };
        let named = known.lease.owner.as_ref() == Some(&self.me);
        let epoch = known.lease.epoch;
        match self.mine.get_mut(stream) {
            None if named => {
                let mine = match self.is_leaving || !self.streams.contains(stream) {
                    true => Mine::Releasing { epoch, to: None },
                    false => Mine::Confirming { epoch },
                };
                self.mine.insert(stream.to_owned(), mine);
            }
            None => {}
            Some(mine) if named && mine.epoch() == Some(epoch) => {}
            Some(mine @ Mine::Running { .. }) => *mine = Mine::lost(),
            Some(Mine::Draining { lease, .. }) => *lease = None,
            Some(Mine::Confirming { .. } | Mine::Releasing { .. }) => {
                self.mine.remove(stream);
            }
        }
    }

    fn is_fresh(&self, stream: &str, started: Duration) -> bool {
        !self.busy.contains_key(stream)
            && self
                .written
                .get(stream)
                .is_none_or(|written| started >= *written)
    }

    /// A read that failed, or a change stream that ended.
    pub fn read_failed(&mut self) {
        for known in self.known.values_mut() {
            known.silence.failed();
        }
        for peer in self.peers.values_mut() {
            peer.silence.failed();
        }
    }

    /// Something has changed that only a read can show, or may have.
    pub fn changed(&mut self, at: Duration) {
        self.read_after = self.read_after.max(Some(at));
    }

    /// A heartbeat of a lease that the server told of by itself; `time` is for people.
    pub fn heard(&mut self, stream: &str, heartbeats: u64, time: Option<SystemTime>, at: Duration) {
        if let Some(known) = self.known.get_mut(stream) {
            known.silence.heard((known.lease.epoch, heartbeats), at);
            if heartbeats > known.lease.heartbeats {
                known.lease.heartbeats = heartbeats;
                known.lease.last_heartbeat = time.or(known.lease.last_heartbeat);
            }
        }
    }

    /// The same of an instance's registration.
    pub fn heard_of(
        &mut self,
        peer: &str,
        heartbeats: u64,
        time: Option<SystemTime>,
        at: Duration,
    ) {
        match self.peers.get_mut(peer) {
            Some(known) => {
                known.silence.heard(heartbeats, at);
                if heartbeats > known.peer.heartbeats {
                    known.peer.heartbeats = heartbeats;
                    known.peer.last_heartbeat = time.or(known.peer.last_heartbeat);
                }
            }
            None => self.changed(at),
        }
    }

    /// Heartbeats that succeeded: of those asked for, these are still ours.
    pub fn heartbeat(
        &mut self,
        sent: Duration,
        ended: Duration,
        asked: &BTreeMap<String, u64>,
        kept: &BTreeSet<String>,
    ) {
        self.registered.get_or_insert(sent);
        let until = sent + self.lasts();
        for (stream, epoch) in asked {
            let Some(mine) = self.mine.get_mut(stream) else {
                continue;
            };
            if mine.epoch() != Some(*epoch) {
                continue;
            }
            if !kept.contains(stream) {
                // Taken, removed or changed: a read will tell.
                self.read_after = self.read_after.max(Some(ended));
                continue;
            }
            match mine {
                Mine::Confirming { epoch } => {
                    *mine = Mine::Running {
                        epoch: *epoch,
                        good_until: until,
                    };
                }
                Mine::Running { good_until, .. } => *good_until = (*good_until).max(until),
                Mine::Draining { .. } | Mine::Releasing { .. } => {}
            }
        }
    }

    /// A write that [`decide`](Self::decide) asked for has ended.
    pub fn done(&mut self, write: &Write, outcome: Outcome, ended: Duration) {
        if let Write::Forget { peer, .. } = write {
            self.forgetting.remove(peer);
        }
        let Some(stream) = write.stream() else {
            return;
        };
        let sent = self.busy.remove(stream).unwrap_or(ended);
        self.taking.remove(stream);
        self.written.insert(stream.to_owned(), ended);
        if outcome != Outcome::Done {
            self.changed(ended);
            self.unsure.insert(stream.to_owned());
            return;
        }
        let until = sent + self.lasts();
        match write {
            Write::Take { stream, seen, .. } => {
                let epoch = seen.epoch + 1;
                self.hold_off.remove(stream);
                self.mine.insert(
                    stream.clone(),
                    Mine::Running {
                        epoch,
                        good_until: until,
                    },
                );
                self.change(stream, ended, |lease, me| {
                    lease.previous = lease.owner.take().or(lease.previous.take());
                    lease.owner = Some(me);
                    lease.epoch = epoch;
                    lease.heartbeats += 1;
                    lease.move_to = None;
                });
            }
            Write::Release { stream, to, .. } => {
                self.mine.remove(stream);
                self.change(stream, ended, |lease, me| {
                    lease.owner = None;
                    lease.previous = Some(me);
                    lease.move_to.clone_from(to);
                });
            }
            Write::Offer { stream, to, .. } => {
                self.change(stream, ended, |lease, _| lease.move_to.clone_from(to));
            }
            Write::Restore { lease } => {
                if let Some(Mine::Running { epoch, good_until }) = self.mine.get_mut(&lease.stream)
                    && *epoch == lease.epoch
                {
                    *good_until = (*good_until).max(until);
                }
                self.changed(ended);
            }
            Write::Create { .. } | Write::Discard { .. } | Write::Ask { .. } => {
                self.changed(ended);
            }
            Write::Forget { .. } => {}
        }
    }

    fn change(&mut self, stream: &str, at: Duration, change: impl FnOnce(&mut Lease, String)) {
        let me = self.me.clone();
        if let Some(known) = self.known.get_mut(stream) {
            change(&mut known.lease, me);
            let value = (known.lease.epoch, known.lease.heartbeats);
            known.silence = Silence::new(value, at);
        }
    }

    /// The process has seen this version of what is wanted, and these streams run or still drain.
    pub fn running(&mut self, version: u64, running: &BTreeSet<String>) {
        let over: Vec<String> = self
            .mine
            .iter()
            .filter(|(stream, mine)| {
                matches!(mine, Mine::Draining { version: Some(since), .. } if *since <= version)
                    && !running.contains(*stream)
            })
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in over {
            self.given_up(&stream);
        }
    }

    fn given_up(&mut self, stream: &str) {
        let Some(Mine::Draining { lease, then, .. }) = self.mine.remove(stream) else {
            return;
        };
        let Some(epoch) = lease else {
            return;
        };
        let next = match then {
            Then::Release { to } => Mine::Releasing { epoch, to },
            Then::Confirm => Mine::Confirming { epoch },
        };
        self.mine.insert(stream.to_owned(), next);
    }

    /// Somebody else has claimed the stream that we run.
    ///
    /// Where the lease names somebody else by now, nothing is left to do. Where it still names us, the
    /// other one knows nothing of leases: we let go, and take it again only after somebody had it, or
    /// after a time-out in which nobody took it.
    pub fn fenced(&mut self, stream: &str, now: Duration) {
        self.changed(now);
        let Some(epoch) = self.mine.get(stream).and_then(Mine::epoch) else {
            return;
        };
        let until = now + self.times.timeout;
        self.hold_off
            .insert(stream.to_owned(), HoldOff { epoch, until });
        let to = balance::successor(&self.picture(), stream, &self.me).map(str::to_owned);
        self.mine
            .insert(stream.to_owned(), Mine::handing_over(epoch, to));
    }

    /// From now on these streams can run here.
    pub fn can_run(&mut self, streams: BTreeSet<String>, now: Duration) {
        self.streams = streams;
        self.changed(now);
    }

    /// From now on everything is given away.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// A heartbeat with that has succeeded.
    pub fn leaving_is_known(&mut self) {
        self.is_leaving_known = true;
    }

    /// Whether there is nothing left to give away.
    pub fn has_left(&self) -> bool {
        self.is_leaving && self.mine.is_empty() && self.busy.is_empty()
    }

    // What goes out.

    /// The streams that this instance should run, where that has changed.
    pub fn publish(&mut self, now: Duration) -> Option<Wanted> {
        self.lapse(now);
        let streams: BTreeSet<String> = self
            .mine
            .iter()
            .filter(|(_, mine)| matches!(mine, Mine::Running { .. }))
            .map(|(stream, _)| stream.clone())
            .collect();
        let before = std::mem::take(&mut self.published);
        let version = before.version + u64::from(before.streams != streams);
        let mut never_seen = Vec::new();
        for (stream, mine) in &mut self.mine {
            if let Mine::Draining {
                version: since @ None,
                ..
            } = mine
            {
                *since = Some(version);
                if !before.streams.contains(stream) {
                    never_seen.push(stream.clone());
                }
            }
        }
        for stream in never_seen {
            self.given_up(&stream);
        }
        let is_new = version != before.version;
        self.published = Wanted { version, streams };
        is_new.then(|| self.published.clone())
    }

    /// What has not been confirmed for too long is not run.
    fn lapse(&mut self, now: Duration) {
        for mine in self.mine.values_mut() {
            if let Mine::Running { epoch, good_until } = mine
                && now >= *good_until
            {
                *mine = Mine::Draining {
                    lease: Some(*epoch),
                    then: Then::Confirm,
                    version: None,
                };
            }
        }
    }

    /// Until when each stream may run, should no heartbeat succeed any more.
    pub fn good_until(&self) -> BTreeMap<String, Duration> {
        let until = |(stream, mine): (&String, &Mine)| match mine {
            Mine::Running { good_until, .. } => Some((stream.clone(), *good_until)),
            _ => None,
        };
        self.mine.iter().filter_map(until).collect()
    }

    /// The leases that need a heartbeat.
    pub fn heartbeats(&self) -> BTreeMap<String, u64> {
        let held = |(stream, mine): (&String, &Mine)| match mine {
            Mine::Releasing { .. } => None,
            mine => Some((stream.clone(), mine.epoch()?)),
        };
        self.mine.iter().filter_map(held).collect()
    }

    /// The streams that this instance can run now, as it tells the others.
    pub fn able(&self) -> BTreeSet<String> {
        let held_off = |stream: &&String| self.hold_off.contains_key(*stream);
        self.streams
            .iter()
            .filter(|stream| !held_off(stream))
            .cloned()
            .collect()
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether a read is needed before the next poll.
    pub fn wants_read(&self, now: Duration) -> bool {
        self.read_after.is_some() || self.next_expiry().is_some_and(|at| at <= now)
    }

    /// When something is due next that no answer brings about.
    pub fn next_deadline_after(&self, now: Duration) -> Option<Duration> {
        let lapses = self.good_until().into_values();
        let ends = self.hold_off.values().map(|hold| hold.until);
        let settled = self.registered.map(|at| at + self.settling());
        let all = lapses.chain(ends).chain(settled).chain(self.next_expiry());
        all.filter(|at| *at > now).min()
    }

    /// When a read may find that somebody's lease has expired, or that an instance has died.
    fn next_expiry(&self) -> Option<Duration> {
        let leases = self
            .known
            .values()
            .filter(|known| !self.is_mine(&known.lease));
        let leases = leases
            .filter(|known| !self.is_expired(known))
            .filter_map(|known| known.silence.reaches(self.limit(&known.lease)));
        let peers = self.peers.values().filter(|peer| peer.peer.id != self.me);
        let peers = peers
            .filter(|peer| !self.is_silent(peer))
            .filter_map(|peer| {
                peer.silence
                    .reaches(peer.peer.timeout.unwrap_or(self.times.timeout))
            });
        leases.chain(peers).min()
    }

    /// How long this instance runs a stream after the last heartbeat: a little less than others wait, so
    /// that it has stopped when they begin.
    fn lasts(&self) -> Duration {
        self.times.timeout.saturating_sub(self.times.heartbeat / 2)
    }

    fn settling(&self) -> Duration {
        (self.times.heartbeat / 2).min(LONGEST_SETTLING)
    }

    /// The writes that are due. Their outcomes come back with [`done`](Self::done).
    pub fn decide(&mut self, now: Duration) -> Vec<Write> {
        self.lapse(now);
        self.hold_off.retain(|stream, hold| {
            let epoch = self.known.get(stream).map_or(0, |known| known.lease.epoch);
            now < hold.until && epoch <= hold.epoch
        });
        let mut writes = Vec::new();
        if !self.has_read {
            return writes;
        }
        self.mend(&mut writes);
        self.follow_requests();
        match self.is_leaving {
            true if self.is_leaving_known => self.give_next_away(),
            // Those who do not know it yet would give back what they get.
            true => {}
            false if self.is_settled(now) => self.even_out(&mut writes),
            false => {}
        }
        self.tell(&mut writes);
        writes.retain(|write| match write.stream() {
            Some(stream) => {
                let is_free = !self.busy.contains_key(stream) && !self.unsure.contains(stream);
                if is_free {
                    self.busy.insert(stream.to_owned(), now);
                }
                is_free
            }
            None => true,
        });
        for write in &writes {
            if let Write::Take { stream, .. } = write {
                self.taking.insert(stream.clone());
            }
        }
        writes.extend(self.dead());
        writes
    }

    fn is_settled(&self, now: Duration) -> bool {
        self.registered
            .is_some_and(|at| now >= at + self.settling())
    }

    /// Documents that are missing or hold no lease.
    fn mend(&self, writes: &mut Vec<Write>) {
        let unreadable = self.unreadable.iter().cloned();
        writes.extend(unreadable.map(|stream| Write::Discard { stream }));
        for stream in self
            .streams
            .iter()
            .filter(|stream| !self.unreadable.contains(*stream))
        {
            match self.known.get(stream) {
                None => writes.push(Write::Create {
                    stream: stream.clone(),
                }),
                Some(known) if known.is_there => {}
                Some(Known { lease, silence, .. }) => match self.mine.get(stream) {
                    Some(mine) if mine.epoch() == Some(lease.epoch) && self.is_mine(lease) => {
                        writes.push(Write::Restore {
                            lease: lease.clone(),
                        });
                    }
                    // Its holder had time enough to make it again.
                    _ if lease.owner.is_none() || silence.counted() >= self.limit(lease) => {
                        writes.push(Write::Create {
                            stream: stream.clone(),
                        });
                    }
                    _ => {}
                },
            }
        }
    }

    /// What a person has asked for.
    fn follow_requests(&mut self) {
        let live = self.live();
        for (stream, mine) in &mut self.mine {
            let Mine::Running { epoch, .. } = mine else {
                continue;
            };
            let asked = self
                .known
                .get(stream)
                .and_then(|known| known.lease.move_to.clone());
            if let Some(to) = asked.filter(|to| *to != self.me && live.contains(to)) {
                *mine = Mine::handing_over(*epoch, Some(to));
            }
        }
    }

    /// Takes what is free and ours by the plan, and gives away what is too much.
    fn even_out(&mut self, writes: &mut Vec<Write>) {
        let picture = self.picture();
        let plan = balance::plan(&picture);
        // Two instances that see different halves of what a third one takes plan differently.
        let mut room =
            balance::share(&picture, &self.me).saturating_sub(self.mine.len() + self.taking.len());
        for (stream, to) in plan.takes.iter().filter(|(_, to)| **to == self.me) {
            let is_given = picture.streams[stream] == Place::Free { to: Some(*to) };
            if (is_given || room > 0)
                && !self.mine.contains_key(*stream)
                && !self.busy.contains_key(*stream)
                && let Some(known) = self.known.get(*stream)
            {
                room = room.saturating_sub(1);
                writes.push(self.take(&known.lease));
            }
        }
        let ours = plan.moves.iter().filter(|step| step.from == self.me);
        let ours: Vec<_> = ours
            .map(|step| (step.stream.to_owned(), step.to.to_owned()))
            .collect();
        let leaving = |mine: &&Mine| matches!(mine, Mine::Draining { .. } | Mine::Releasing { .. });
        let under_way = self.mine.values().filter(leaving).count();
        let room = MOVES_AT_ONCE.saturating_sub(under_way);
        for (stream, to) in ours.into_iter().take(room) {
            if let Some(mine @ Mine::Running { .. }) = self.mine.get_mut(&stream) {
                let epoch = mine.epoch().unwrap_or_default();
                *mine = Mine::handing_over(epoch, Some(to));
            }
        }
    }

    fn take(&self, lease: &Lease) -> Write {
        let before = lease.owner.as_ref().or(lease.previous.as_ref());
        let is_hand_over = before.is_some_and(|before| *before != self.me);
        Write::Take {
            stream: lease.stream.clone(),
            seen: Seen {
                owner: lease.owner.clone(),
                epoch: lease.epoch,
                heartbeats: lease.heartbeats,
            },
            hand_overs: lease.hand_overs + u64::from(is_hand_over),
            previous: before.cloned(),
            pinned: lease.pinned_to.as_ref() == Some(&self.me),
        }
    }

    /// Stream by stream while there is somebody to take them, all at once otherwise.
    fn give_next_away(&mut self) {
        let picture = self.picture();
        let is_alone = picture.instances.is_empty();
        let is_busy = self
            .mine
            .values()
            .any(|mine| matches!(mine, Mine::Draining { .. } | Mine::Releasing { .. }));
        if is_busy && !is_alone {
            return;
        }
        let mut next: Vec<(String, Option<String>)> = Vec::new();
        for (stream, mine) in &self.mine {
            if matches!(mine, Mine::Running { .. } | Mine::Confirming { .. }) {
                let to = balance::successor(&picture, stream, &self.me).map(str::to_owned);
                next.push((stream.clone(), to));
            }
        }
        next.truncate(if is_alone { usize::MAX } else { 1 });
        for (stream, to) in next {
            if let Some(mine) = self.mine.get_mut(&stream)
                && let Some(epoch) = mine.epoch()
            {
                *mine = Mine::handing_over(epoch, to);
            }
        }
    }

    /// What the leases have to say of what we do.
    fn tell(&self, writes: &mut Vec<Write>) {
        for (stream, mine) in &self.mine {
            let offered = self
                .known
                .get(stream)
                .and_then(|known| known.lease.move_to.as_ref());
            match mine {
                Mine::Draining {
                    lease: Some(epoch),
                    then: Then::Release { to },
                    ..
                } if offered != to.as_ref() => {
                    let (stream, epoch, to) = (stream.clone(), *epoch, to.clone());
                    writes.push(Write::Offer { stream, epoch, to });
                }
                Mine::Releasing { epoch, to } => {
                    let (stream, epoch, to) = (stream.clone(), *epoch, to.clone());
                    writes.push(Write::Release { stream, epoch, to });
                }
                _ => {}
            }
        }
    }

    /// Registrations of instances that have died.
    fn dead(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        for (id, known) in &self.peers {
            if *id != self.me && self.is_silent(known) && !self.forgetting.contains(id) {
                let heartbeats = known.peer.heartbeats;
                writes.push(Write::Forget {
                    peer: id.clone(),
                    heartbeats,
                });
            }
        }
        for write in &writes {
            if let Write::Forget { peer, .. } = write {
                self.forgetting.insert(peer.clone());
            }
        }
        writes
    }

    /// What a person asks for: that `stream` goes to this instance, or to whichever has least.
    ///
    /// # Errors
    /// A sentence, when that cannot be.
    pub fn ask(&mut self, stream: &str, to: Option<&str>, now: Duration) -> Result<Write, String> {
        if !self.has_read {
            return Err("the leases have not been read yet; ask again in a moment".into());
        }
        let picture = self.picture();
        let Some(known) = self.known.get(stream).filter(|known| known.is_there) else {
            let all: Vec<_> = self.streams.iter().map(String::as_str).collect();
            return Err(format!(
                "there is no stream {stream}; there are {}",
                all.join(", ")
            ));
        };
        let lease = &known.lease;
        let owner = lease.owner.clone().filter(|_| !self.is_expired(known));
        let others: Vec<_> = picture.instances.keys().copied().collect();
        let to = match to {
            Some(to) if !picture.instances.contains_key(to) => {
                return Err(format!(
                    "there is no instance {to}; there are {}",
                    others.join(", ")
                ));
            }
            Some(to) if !picture.instances[to].contains(stream) => {
                return Err(format!(
                    "instance {to} is not configured for stream {stream}"
                ));
            }
            Some(to) if owner.as_deref() == Some(to) => {
                return Err(format!("instance {to} has stream {stream} already"));
            }
            Some(to) => to.to_owned(),
            None => {
                let from = owner.as_deref().unwrap_or_default();
                let to = balance::successor(&picture, stream, from);
                let to = to.ok_or_else(|| format!("no other instance can run stream {stream}"))?;
                to.to_owned()
            }
        };
        if self.busy.contains_key(stream) {
            return Err(format!(
                "stream {stream} is being moved; ask again in a moment"
            ));
        }
        let seen = Seen {
            owner: lease.owner.clone(),
            epoch: lease.epoch,
            heartbeats: lease.heartbeats,
        };
        self.busy.insert(stream.to_owned(), now);
        Ok(Write::Ask {
            stream: stream.to_owned(),
            seen,
            to,
        })
    }

    // What is so.

    fn is_mine(&self, lease: &Lease) -> bool {
        lease.owner.as_ref() == Some(&self.me)
    }

    /// How long the lease's owner may be silent: the owner's own time-out counts, which it obeys.
    fn limit(&self, lease: &Lease) -> Duration {
        lease.timeout.unwrap_or(self.times.timeout)
    }

    fn is_expired(&self, known: &Known) -> bool {
        !self.is_mine(&known.lease) && known.silence.counted() >= self.limit(&known.lease)
    }

    /// Whether a lease that names us is not ours as far as we can tell.
    fn has_lapsed(&self, lease: &Lease) -> bool {
        let holds = match self.mine.get(&lease.stream) {
            Some(Mine::Running { .. } | Mine::Releasing { .. }) => true,
            Some(Mine::Draining { then, .. }) => matches!(then, Then::Release { .. }),
            Some(Mine::Confirming { .. }) | None => false,
        };
        self.is_mine(lease) && !holds
    }

    fn is_silent(&self, known: &KnownPeer) -> bool {
        known.silence.counted() >= known.peer.timeout.unwrap_or(self.times.timeout)
    }

    /// The other instances that can be given something.
    fn live(&self) -> BTreeSet<String> {
        let dead: BTreeSet<&String> = self
            .known
            .values()
            .filter(|known| self.is_expired(known))
            .filter_map(|known| known.lease.owner.as_ref())
            .collect();
        self.peers
            .values()
            .filter(|known| known.peer.id != self.me && !known.peer.leaving)
            .filter(|known| !self.is_silent(known) && !dead.contains(&known.peer.id))
            .map(|known| known.peer.id.clone())
            .collect()
    }

    fn picture(&self) -> Picture<'_> {
        let live = self.live();
        let mut picture = Picture::default();
        for known in self
            .peers
            .values()
            .filter(|known| live.contains(&known.peer.id))
        {
            let able = known.peer.streams.iter().map(String::as_str).collect();
            picture.instances.insert(&known.peer.id, able);
        }
        if !self.is_leaving {
            let able = |stream: &&String| !self.hold_off.contains_key(*stream);
            let able = self
                .streams
                .iter()
                .filter(able)
                .map(String::as_str)
                .collect();
            picture.instances.insert(&self.me, able);
        }
        for (stream, known) in self.known.iter().filter(|(_, known)| known.is_there) {
            let Known { lease, silence, .. } = known;
            let is_able = |id: &&str| picture.instances.contains_key(id);
            let to = lease.move_to.as_deref().filter(is_able);
            let place = match lease.owner.as_deref() {
                Some(owner) if !self.is_expired(known) => Place::Of {
                    owner,
                    to: match self.mine.get(stream) {
                        Some(Mine::Draining {
                            then: Then::Release { to },
                            ..
                        }) => to.as_deref(),
                        _ => to,
                    },
                    is_pinned: lease.pinned_to.as_deref() == Some(owner),
                },
                // Nobody came for it: whoever it was for cannot take it.
                _ => Place::Free {
                    to: to.filter(|_| silence.counted() < self.limit(lease)),
                },
            };
            picture.streams.insert(stream, place);
        }
        picture
    }

    /// What is known of all streams and instances.
    pub fn view(&self) -> View {
        let mut view = View::default();
        for stream in &self.streams {
            view.streams.insert(stream.clone(), StreamView::default());
        }
        for (stream, known) in self.known.iter().filter(|(_, known)| known.is_there) {
            let lease = &known.lease;
            let is_expired = self.is_expired(known) || self.has_lapsed(lease);
            let owner = lease.owner.clone().filter(|_| !is_expired);
            let before = lease.owner.clone().filter(|_| is_expired);
            if let Some(owner) = &owner {
                let instance = view.instances.entry(owner.clone()).or_default();
                instance.streams.push(stream.clone());
            }
            view.streams.insert(
                stream.clone(),
                StreamView {
                    mine: owner.as_ref() == Some(&self.me),
                    since: lease.acquired_at.filter(|_| owner.is_some()),
                    owner,
                    epoch: lease.epoch,
                    last_heartbeat: lease.last_heartbeat,
                    hand_overs: lease.hand_overs,
                    previous: before.or_else(|| lease.previous.clone()),
                    moving_to: lease.move_to.clone(),
                },
            );
        }
        for known in self.peers.values().filter(|known| !self.is_silent(known)) {
            let instance = view.instances.entry(known.peer.id.clone()).or_default();
            instance.since = known.peer.since;
            instance.version.clone_from(&known.peer.version);
            instance.last_heartbeat = known.peer.last_heartbeat;
            instance.leaving = known.peer.leaving;
        }
        view
    }
}

impl Mine {
    /// The epoch of the lease that is still ours, as far as we know.
    fn epoch(&self) -> Option<u64> {
        match self {
            Self::Confirming { epoch }
            | Self::Running { epoch, .. }
            | Self::Releasing { epoch, .. } => Some(*epoch),
            Self::Draining { lease, .. } => *lease,
        }
    }

    fn lost() -> Self {
        Self::Draining {
            lease: None,
            then: Then::Confirm,
            version: None,
        }
    }

    fn handing_over(epoch: u64, to: Option<String>) -> Self {
        Self::Draining {
            lease: Some(epoch),
            then: Then::Release { to },
            version: None,
        }
    }
}
