//! What is wanted, and for how long.

use super::{LONGEST_SETTLING, Member, Mine, Then};
use crate::coordination::Wanted;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Member {
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
    pub(super) fn lapse(&mut self, now: Duration) {
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
    pub(super) fn lasts(&self) -> Duration {
        self.times.timeout.saturating_sub(self.times.heartbeat / 2)
    }

    pub(super) fn settling(&self) -> Duration {
        (self.times.heartbeat / 2).min(LONGEST_SETTLING)
    }
}
