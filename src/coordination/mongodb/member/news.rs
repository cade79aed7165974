//! What comes in: reads, heartbeats, and the outcomes of writes.

use super::{Known, KnownPeer, Member, Mine};
use crate::coordination::mongodb::lease::{Found, Lease, Outcome, Unreadable, Write};
use crate::coordination::silence::Silence;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

impl Member {
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
            let id = peer.id.clone();
            let known = match before.remove(&id) {
                Some(mut known) => {
                    known.silence.read(peer.heartbeats, started, ended, most);
                    known.peer = peer;
                    known
                }
                None => KnownPeer::new(peer, ended),
            };
            self.peers.insert(id, known);
        }
        self.note_losses();
    }

    /// Notes which instances have let a lease expire: once others have taken what they had, nothing else shows it.
    fn note_losses(&mut self) {
        let expired = self.known.values().filter(|known| self.is_expired(known));
        let owners: BTreeSet<String> = expired
            .filter_map(|known| known.lease.owner.clone())
            .collect();
        for owner in owners {
            if let Some(known) = self.peers.get_mut(&owner) {
                known.lost_at = Some(known.peer.heartbeats);
            }
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
}
