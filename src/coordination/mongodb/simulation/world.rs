//! The instances, the wires between them and the database, and the passing of time.

use super::node::{Answer, Event, Millis, Node, PATIENCE, Payload, TIMES};
use crate::coordination::dice::Dice;
use crate::coordination::mongodb::lease::{Lease, Outcome, Peer};
use crate::coordination::mongodb::member::Member;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

pub struct World {
    pub now: Millis,
    pub dice: Dice,
    pub next: u64,
    /// Events of a node, by time and order; `BinaryHeap` has the greatest first.
    pub queue: BinaryHeap<std::cmp::Reverse<(Millis, u64, usize)>>,
    pub events: BTreeMap<u64, Event>,
    pub nodes: Vec<Node>,
    pub streams: BTreeSet<String>,
    pub leases: BTreeMap<String, Lease>,
    pub peers: BTreeMap<String, Peer>,
    /// In percent, of requests and answers.
    pub loss: u64,
    pub nudge_loss: u64,
    pub outage_until: Millis,
    /// Who had a stream, one after the other.
    pub owners: BTreeMap<String, Vec<String>>,
    /// At most one process runs a stream, drains included.
    pub is_orderly: bool,
}

pub fn duration(millis: Millis) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    pub fn new(seed: u64, streams: usize) -> Self {
        Self {
            now: 0,
            dice: Dice(seed),
            next: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            nodes: Vec::new(),
            streams: (0..streams).map(|index| format!("s{index:02}")).collect(),
            leases: BTreeMap::new(),
            peers: BTreeMap::new(),
            loss: 0,
            nudge_loss: 0,
            outage_until: 0,
            owners: BTreeMap::new(),
            is_orderly: true,
        }
    }

    pub fn start(&mut self) -> usize {
        let name = format!("node{}", self.nodes.len());
        let ahead = 1_000_000 + self.dice.roll(100_000_000);
        self.nodes.push(Node {
            member: Member::new(name.clone(), self.streams.clone(), TIMES),
            name,
            ahead,
            is_dead: false,
            frozen_until: 0,
            cut_until: 0,
            is_reading: false,
            is_beating: false,
            open: BTreeSet::new(),
            version: 0,
            wanted: BTreeSet::new(),
            running: BTreeSet::new(),
            next_wake: None,
            told: (self.streams.clone(), false),
        });
        let node = self.nodes.len() - 1;
        self.at(0, node, Event::Beat);
        self.at(1, node, Event::Poll);
        node
    }

    pub fn at(&mut self, after: Millis, node: usize, event: Event) {
        self.next += 1;
        self.queue
            .push(std::cmp::Reverse((self.now + after, self.next, node)));
        self.events.insert(self.next, event);
    }

    pub fn run(&mut self, millis: Millis) {
        let end = self.now + millis;
        while let Some(std::cmp::Reverse((at, order, node))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            let event = self.events.remove(&order).unwrap();
            self.now = at;
            let frozen_until = self.nodes[node].frozen_until;
            match event {
                Event::Arrives { id, sent, payload } => self.arrives(node, id, sent, payload),
                _ if self.nodes[node].is_dead => {}
                event if frozen_until > at => {
                    // It finds everything at once when it wakes, in an order of its own.
                    let late = frozen_until - at + self.dice.roll(3);
                    self.at(late, node, event);
                }
                event => {
                    self.handle(node, event);
                    self.react(node);
                }
            }
            self.check();
        }
        self.now = end;
    }

    pub fn handle(&mut self, index: usize, event: Event) {
        let now = duration(self.now + self.nodes[index].ahead);
        let node = &mut self.nodes[index];
        match event {
            Event::Wake => node.next_wake = None,
            Event::Poll => {
                self.read(index);
                let poll = TIMES.poll.as_millis() as Millis;
                self.at(poll, index, Event::Poll);
            }
            Event::Nudge => node.member.changed(now),
            Event::HeardOf { peer, heartbeats } => {
                node.member.heard_of(&peer, heartbeats, None, now);
            }
            Event::HeardOfLease { stream, heartbeats } => {
                node.member.heard(&stream, heartbeats, None, now);
            }
            Event::Beat => {
                self.beat(index);
                let beat = TIMES.heartbeat.as_millis() as Millis;
                self.at(beat, index, Event::Beat);
            }
            Event::Drained { stream } => {
                if !node.wanted.contains(&stream) {
                    node.running.remove(&stream);
                }
                node.member.running(node.version, &node.running);
            }
            Event::Answered {
                id,
                sent,
                payload,
                answer,
            } => {
                if !node.open.remove(&id) {
                    return;
                }
                let sent = duration(sent + node.ahead);
                match (payload, answer) {
                    (Payload::Read, Answer::Found(found)) => {
                        node.is_reading = false;
                        node.member.read(found, sent, now);
                    }
                    (Payload::Heartbeat(asked, peer), Answer::Kept(kept)) => {
                        if peer.leaving {
                            node.member.leaving_is_known();
                        }
                        node.is_beating = false;
                        node.member.heartbeat(sent, now, &asked, &kept);
                    }
                    (Payload::Write(write), Answer::Written(outcome)) => {
                        node.member.done(&write, outcome, now);
                    }
                    other => unreachable!("{other:?}"),
                }
            }
            Event::TimedOut { id, payload } => {
                if !node.open.remove(&id) {
                    return;
                }
                match payload {
                    Payload::Read => {
                        node.is_reading = false;
                        node.member.read_failed();
                        self.at(2_500, index, Event::Nudge);
                    }
                    Payload::Heartbeat(..) => {
                        node.is_beating = false;
                        self.beat(index);
                    }
                    Payload::Write(write) => node.member.done(&write, Outcome::Unknown, now),
                }
            }
            Event::Arrives { .. } => unreachable!("not at a node"),
        }
    }

    /// What a node does after whatever it met.
    pub fn react(&mut self, index: usize) {
        let now = duration(self.now + self.nodes[index].ahead);
        let node = &mut self.nodes[index];
        let mut drained = Vec::new();
        if let Some(wanted) = node.member.publish(now) {
            node.version = wanted.version;
            node.wanted = wanted.streams;
            drained.extend(node.running.difference(&node.wanted).cloned());
            node.running.extend(node.wanted.iter().cloned());
            node.member.running(node.version, &node.running);
        }
        let writes = node.member.decide(now);
        let wanted = node.member.publish(now);
        if let Some(wanted) = wanted {
            node.version = wanted.version;
            node.wanted = wanted.streams;
            drained.extend(node.running.difference(&node.wanted).cloned());
            node.member.running(node.version, &node.running);
        }
        let wants_read = node.member.wants_read(now);
        let deadline = node.member.next_deadline_after(now);
        let deadline = deadline.map(|at| at.as_millis() as Millis - node.ahead);
        if let Some(at) = deadline.filter(|at| node.next_wake.is_none_or(|next| *at < next)) {
            node.next_wake = Some(at);
            let after = at.saturating_sub(self.now) + 1;
            self.at(after, index, Event::Wake);
        }
        for stream in drained {
            let after = 20 + self.dice.roll(800);
            self.at(after, index, Event::Drained { stream });
        }
        for write in writes {
            self.send(index, Payload::Write(write));
        }
        if wants_read {
            self.read(index);
        }
        let node = &self.nodes[index];
        if node.told != (node.member.able(), node.member.is_leaving()) {
            self.beat(index);
        }
    }

    pub fn beat(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if std::mem::replace(&mut node.is_beating, true) {
            return;
        }
        node.told = (node.member.able(), node.member.is_leaving());
        let peer = Peer {
            id: node.name.clone(),
            streams: node.member.able(),
            leaving: node.member.is_leaving(),
            ..Peer::default()
        };
        let payload = Payload::Heartbeat(node.member.heartbeats(), peer);
        self.send(index, payload);
    }

    pub fn read(&mut self, index: usize) {
        if !self.nodes[index].is_reading {
            self.nodes[index].is_reading = true;
            self.send(index, Payload::Read);
        }
    }

    pub fn is_away(&self, index: usize) -> bool {
        self.nodes[index].cut_until > self.now || self.outage_until > self.now
    }

    pub fn send(&mut self, index: usize, payload: Payload) {
        self.next += 1;
        let (id, sent) = (self.next, self.now);
        self.nodes[index].open.insert(id);
        let timeout = Event::TimedOut {
            id,
            payload: payload.clone(),
        };
        self.at(PATIENCE, index, timeout);
        if !self.is_away(index) && !self.dice.percent(self.loss) {
            let after = 1 + self.dice.roll(40);
            self.at(after, index, Event::Arrives { id, sent, payload });
        }
    }

    /// No two instances that are awake want the same stream.
    pub fn check(&self) {
        let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
        let mut runners: BTreeMap<&str, &str> = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| !node.is_dead) {
            let now = duration(self.now + node.ahead);
            if node.frozen_until > self.now {
                continue;
            }
            let until = node.member.good_until();
            for stream in node.wanted.iter() {
                if until.get(stream).is_some_and(|until| *until > now) {
                    let other = holders.insert(stream, &node.name);
                    let (at, name) = (self.now, &node.name);
                    assert!(
                        other.is_none(),
                        "at {at} {stream} is wanted by {name} and {other:?}"
                    );
                }
            }
            for stream in &node.running {
                let other = runners.insert(stream, &node.name);
                assert!(
                    other.is_none() || !self.is_orderly,
                    "at {} {stream} runs on {} and {other:?}",
                    self.now,
                    node.name
                );
            }
        }
    }

    pub fn kill(&mut self, index: usize) {
        self.nodes[index].is_dead = true;
        self.nodes[index].running.clear();
    }

    pub fn spread(&self) -> Vec<usize> {
        let live = self.nodes.iter().filter(|node| !node.is_dead);
        live.map(|node| node.wanted.len()).collect()
    }

    pub fn moves(&self) -> usize {
        self.owners.values().map(Vec::len).sum()
    }
}
