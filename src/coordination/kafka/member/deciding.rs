//! What is to be written.

use super::{MOVES_AT_ONCE, Member, Mine, Sent};
use crate::coordination::kafka::record::{Entry, Instance, Move, Stream};
use crate::coordination::kafka::registry::FORGOTTEN;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

impl Member {
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

    pub(super) fn is_on_its_way(&self, entry: &Entry) -> bool {
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
                    // By hand it can be any number.
                    epoch: before.epoch.saturating_add(1),
                    hand_overs: before.hand_overs.saturating_add(u64::from(is_hand_over)),
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
}
