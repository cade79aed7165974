//! The simulated database: what becomes of a request.

use super::node::{Answer, Event, Millis, Payload};
use super::world::World;
use crate::coordination::mongodb::lease::{Found, Lease, Outcome, Peer, Seen, Write};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    pub fn arrives(&mut self, index: usize, id: u64, sent: Millis, payload: Payload) {
        if self.is_away(index) {
            return;
        }
        let answer = match &payload {
            Payload::Read => Answer::Found(Found {
                leases: self.leases.values().cloned().collect(),
                unreadable: Vec::new(),
                peers: self.peers.values().cloned().collect(),
            }),
            Payload::Heartbeat(held, peer) => {
                let name = &self.nodes[index].name;
                let mut kept = BTreeSet::new();
                let mut leases = BTreeMap::new();
                for (stream, epoch) in held {
                    if let Some(lease) = self.leases.get_mut(stream)
                        && lease.owner.as_ref() == Some(name)
                        && lease.epoch == *epoch
                    {
                        lease.heartbeats += 1;
                        kept.insert(stream.clone());
                        leases.insert(stream.clone(), lease.heartbeats);
                    }
                }
                let known = self.peers.get(name);
                let heartbeats = known.map_or(0, |peer| peer.heartbeats) + 1;
                let is_news = known.is_none_or(|known| {
                    (known.leaving, &known.streams) != (peer.leaving, &peer.streams)
                });
                let peer = Peer {
                    heartbeats,
                    ..peer.clone()
                };
                let name = name.clone();
                self.peers.insert(name.clone(), peer);
                // Each document is told of by itself, and the registration is written after the leases.
                for (stream, heartbeats) in leases {
                    self.tell(&Event::HeardOfLease { stream, heartbeats });
                }
                let after = self.dice.roll(400);
                let heard = Event::HeardOf {
                    peer: name,
                    heartbeats,
                };
                self.tell_after(after, &heard);
                if is_news {
                    self.nudge();
                }
                Answer::Kept(kept)
            }
            Payload::Write(write) => Answer::Written(self.apply(index, write)),
        };
        if !self.dice.percent(self.loss) {
            let after = 1 + self.dice.roll(40);
            self.at(
                after,
                index,
                Event::Answered {
                    id,
                    sent,
                    payload,
                    answer,
                },
            );
        }
    }

    /// What the real store's conditional writes do.
    pub fn apply(&mut self, index: usize, write: &Write) -> Outcome {
        let me = self.nodes[index].name.clone();
        let is_ours = |lease: &&mut Lease, epoch: u64| {
            lease.owner.as_ref() == Some(&me) && lease.epoch == epoch
        };
        let is_seen =
            |lease: &Lease, seen: &Seen| lease.owner == seen.owner && lease.epoch == seen.epoch;
        let is_done = match write {
            Write::Create { stream } => {
                let is_new = !self.leases.contains_key(stream);
                self.leases.entry(stream.clone()).or_insert_with(|| Lease {
                    stream: stream.clone(),
                    ..Lease::default()
                });
                is_new
            }
            Write::Take {
                stream,
                seen,
                hand_overs,
                previous,
                pinned,
            } => match self.leases.get_mut(stream) {
                Some(lease) if is_seen(lease, seen) && lease.heartbeats == seen.heartbeats => {
                    lease.owner = Some(me.clone());
                    lease.epoch += 1;
                    lease.heartbeats += 1;
                    lease.hand_overs = *hand_overs;
                    lease.previous.clone_from(previous);
                    lease.move_to = None;
                    if !pinned {
                        lease.pinned_to = None;
                    }
                    self.owners
                        .entry(stream.clone())
                        .or_default()
                        .push(me.clone());
                    true
                }
                _ => false,
            },
            Write::Offer { stream, epoch, to } => {
                let lease = self
                    .leases
                    .get_mut(stream)
                    .filter(|lease| is_ours(lease, *epoch));
                lease.map(|lease| lease.move_to.clone_from(to)).is_some()
            }
            Write::Release { stream, epoch, to } => {
                let lease = self
                    .leases
                    .get_mut(stream)
                    .filter(|lease| is_ours(lease, *epoch));
                lease
                    .map(|lease| {
                        lease.owner = None;
                        lease.previous = Some(me.clone());
                        lease.move_to.clone_from(to);
                    })
                    .is_some()
            }
            Write::Restore { lease } => {
                let is_new = !self.leases.contains_key(&lease.stream);
                let again = || Lease {
                    heartbeats: lease.heartbeats + 1,
                    ..lease.clone()
                };
                self.leases
                    .entry(lease.stream.clone())
                    .or_insert_with(again);
                is_new
            }
            Write::Ask { stream, seen, to } => {
                let lease = self
                    .leases
                    .get_mut(stream)
                    .filter(|lease| is_seen(lease, seen));
                lease
                    .map(|lease| {
                        lease.move_to = Some(to.clone());
                        lease.pinned_to = Some(to.clone());
                    })
                    .is_some()
            }
            Write::Forget { peer, heartbeats } => {
                let is_same = |found: &Peer| found.heartbeats == *heartbeats;
                let is_same = self.peers.get(peer).is_some_and(is_same);
                is_same.then(|| self.peers.remove(peer)).is_some()
            }
            Write::Discard { .. } => unreachable!("nobody writes what cannot be read"),
        };
        match is_done {
            true => {
                self.nudge();
                Outcome::Done
            }
            false => Outcome::Refused,
        }
    }

    pub fn nudge(&mut self) {
        self.tell(&Event::Nudge);
    }

    pub fn tell(&mut self, event: &Event) {
        self.tell_after(0, event);
    }

    fn tell_after(&mut self, millis: Millis, event: &Event) {
        for index in 0..self.nodes.len() {
            if !self.is_away(index) && !self.dice.percent(self.nudge_loss) {
                let after = 1 + self.dice.roll(40);
                self.at(millis + after, index, event.clone());
            }
        }
    }
}
