//! What is so, and when that may change.

use super::Member;
use crate::coordination::kafka::record::Entry;
use std::collections::BTreeSet;
use std::time::Duration;

impl Member {
    /// Every stream that somebody knows of.
    pub(in crate::coordination::kafka) fn all_streams(&self) -> BTreeSet<&str> {
        let told = self.registry.instances.values();
        let told = told.flat_map(|known| &known.record.streams);
        let had = self.registry.streams.keys();
        let all = self.streams.iter().chain(told).chain(had);
        all.map(String::as_str).collect()
    }

    /// Where a person has moved the stream, while that instance can have it.
    pub(in crate::coordination::kafka) fn moved_to(&self, stream: &str) -> Option<&str> {
        let to = self.registry.moves.get(stream)?.to.as_str();
        let can = match to == self.me {
            true => self.leaving.is_none() && self.able.contains(stream),
            false => self.registry.is_available(to, stream),
        };
        can.then_some(to)
    }

    pub(super) fn is_entitled(&self, stream: &str) -> bool {
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

    pub(in crate::coordination::kafka) fn is_confirmed(&self, now: Duration) -> bool {
        now < self.lease_until()
    }

    /// After which pause what has failed is tried again.
    pub(super) fn pause(&self) -> Duration {
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
