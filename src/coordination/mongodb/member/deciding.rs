//! What is to be written.

use super::{Known, MOVES_AT_ONCE, Member, Mine, Then};
use crate::coordination::mongodb::balance::{self, Place};
use crate::coordination::mongodb::lease::{Lease, Seen, Write};
use std::time::Duration;

impl Member {
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
            false => self.take_what_is_left(&mut writes),
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
        if self.are_leases_of_lost_ones_left(&picture) {
            return;
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

    /// Takes what was given to this instance before it has looked around: by one that is being stopped, which
    /// is how a rolling restart goes, or by a person.
    fn take_what_is_left(&self, writes: &mut Vec<Write>) {
        let picture = self.picture();
        for (stream, known) in &self.known {
            let lease = &known.lease;
            let is_given = picture.streams.get(stream.as_str())
                == Some(&Place::Free {
                    to: Some(self.me.as_str()),
                });
            let parts = |id: &String| self.peers.get(id).is_none_or(|known| known.peer.leaving);
            let is_left = lease.previous.as_ref().is_some_and(parts);
            let is_asked = lease.pinned_to.as_ref() == Some(&self.me);
            let is_able = self.streams.contains(stream) && !self.hold_off.contains_key(stream);
            if is_given
                && (is_left || is_asked)
                && is_able
                && !self.mine.contains_key(stream)
                && !self.busy.contains_key(stream)
            {
                writes.push(self.take(lease));
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
}
