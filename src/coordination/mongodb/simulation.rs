//! Many instances over one simulated database: lost requests and answers, clocks that disagree, frozen
//! and killed instances, cut networks, outages. The code that decides is the real one; a run is told by
//! its seed.

use super::lease::{Found, Lease, Outcome, Peer, Seen, Write};
use super::member::Member;
use crate::coordination::LeaseTimes;
use crate::coordination::dice::Dice;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

type Millis = u64;

const TIMES: LeaseTimes = LeaseTimes {
    heartbeat: Duration::from_millis(10_000),
    timeout: Duration::from_millis(30_000),
    poll: Duration::from_millis(15_000),
};

/// How long a node waits for an answer.
const PATIENCE: Millis = 5_000;

#[derive(Debug, Clone)]
enum Payload {
    Read,
    Heartbeat(BTreeMap<String, u64>, Peer),
    Write(Write),
}

#[derive(Debug, Clone)]
enum Answer {
    Found(Found),
    Kept(BTreeSet<String>),
    Written(Outcome),
}

#[derive(Debug, Clone)]
enum Event {
    Wake,
    Poll,
    Beat,
    /// At the database.
    Arrives {
        id: u64,
        sent: Millis,
        payload: Payload,
    },
    /// At the node.
    Answered {
        id: u64,
        sent: Millis,
        payload: Payload,
        answer: Answer,
    },
    TimedOut {
        id: u64,
        payload: Payload,
    },
    /// The change stream tells of a change.
    Nudge,
    /// The change stream tells of an instance's heartbeat.
    Heard {
        peer: String,
        heartbeats: u64,
        leases: BTreeMap<String, u64>,
    },
    Drained {
        stream: String,
    },
}

struct Node {
    name: String,
    member: Member,
    /// What its clock shows more than true time.
    ahead: Millis,
    is_dead: bool,
    frozen_until: Millis,
    cut_until: Millis,
    is_reading: bool,
    is_beating: bool,
    open: BTreeSet<u64>,
    version: u64,
    wanted: BTreeSet<String>,
    /// What the process runs or drains.
    running: BTreeSet<String>,
    next_wake: Option<Millis>,
    /// What its registration says.
    told: (BTreeSet<String>, bool),
}

struct World {
    now: Millis,
    dice: Dice,
    next: u64,
    /// Events of a node, by time and order; `BinaryHeap` has the greatest first.
    queue: BinaryHeap<std::cmp::Reverse<(Millis, u64, usize)>>,
    events: BTreeMap<u64, Event>,
    nodes: Vec<Node>,
    streams: BTreeSet<String>,
    leases: BTreeMap<String, Lease>,
    peers: BTreeMap<String, Peer>,
    /// In percent, of requests and answers.
    loss: u64,
    nudge_loss: u64,
    outage_until: Millis,
    /// Who had a stream, one after the other.
    owners: BTreeMap<String, Vec<String>>,
    /// At most one process runs a stream, drains included.
    is_orderly: bool,
}

fn duration(millis: Millis) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    fn new(seed: u64, streams: usize) -> Self {
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

    fn start(&mut self) -> usize {
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

    fn at(&mut self, after: Millis, node: usize, event: Event) {
        self.next += 1;
        self.queue
            .push(std::cmp::Reverse((self.now + after, self.next, node)));
        self.events.insert(self.next, event);
    }

    fn run(&mut self, millis: Millis) {
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

    fn handle(&mut self, index: usize, event: Event) {
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
            Event::Heard {
                peer,
                heartbeats,
                leases,
            } => {
                node.member.heard_of(&peer, heartbeats, None, now);
                for (stream, heartbeats) in leases {
                    node.member.heard(&stream, heartbeats, None, now);
                }
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
    fn react(&mut self, index: usize) {
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

    fn beat(&mut self, index: usize) {
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

    fn read(&mut self, index: usize) {
        if !self.nodes[index].is_reading {
            self.nodes[index].is_reading = true;
            self.send(index, Payload::Read);
        }
    }

    fn is_away(&self, index: usize) -> bool {
        self.nodes[index].cut_until > self.now || self.outage_until > self.now
    }

    fn send(&mut self, index: usize, payload: Payload) {
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

    fn arrives(&mut self, index: usize, id: u64, sent: Millis, payload: Payload) {
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
                let heard = Event::Heard {
                    peer: name.clone(),
                    heartbeats,
                    leases,
                };
                self.peers.insert(name.clone(), peer);
                self.tell(&heard);
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
    fn apply(&mut self, index: usize, write: &Write) -> Outcome {
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

    fn nudge(&mut self) {
        self.tell(&Event::Nudge);
    }

    fn tell(&mut self, event: &Event) {
        for index in 0..self.nodes.len() {
            if !self.is_away(index) && !self.dice.percent(self.nudge_loss) {
                let after = 1 + self.dice.roll(40);
                self.at(after, index, event.clone());
            }
        }
    }

    /// No two instances that are awake want the same stream.
    fn check(&self) {
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

    fn kill(&mut self, index: usize) {
        self.nodes[index].is_dead = true;
        self.nodes[index].running.clear();
    }

    fn spread(&self) -> Vec<usize> {
        let live = self.nodes.iter().filter(|node| !node.is_dead);
        live.map(|node| node.wanted.len()).collect()
    }

    fn moves(&self) -> usize {
        self.owners.values().map(Vec::len).sum()
    }
}

/// How many runs each test makes; a few hundred were made, and found nothing more.
const SEEDS: u64 = 6;

const MINUTE: Millis = 60_000;

#[test]
fn twelve_streams_spread_evenly_and_each_moves_once() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 12);
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE);
        assert_eq!(world.spread(), [4, 4, 4], "seed {seed}");
        assert_eq!(world.moves(), 12, "seed {seed}: all started at once");

        world.kill(1);
        let before = world.moves();
        world.run(32_000);
        assert_eq!(world.spread(), [6, 6], "seed {seed}");
        assert_eq!(world.moves() - before, 4, "seed {seed}");

        world.start();
        let before = world.moves();
        world.run(MINUTE);
        assert_eq!(world.spread(), [4, 4, 4], "seed {seed}");
        assert_eq!(world.moves() - before, 4, "seed {seed}");

        // Nothing moves any more.
        let before = world.moves();
        world.run(10 * MINUTE);
        assert_eq!(world.moves(), before, "seed {seed}");
    }
}

#[test]
fn who_leaves_gives_everything_away_before_it_goes() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 7);
        let leaving = world.start();
        world.run(MINUTE);
        world.start();
        world.start();
        world.run(MINUTE);
        let (before, had) = (world.moves(), world.nodes[leaving].wanted.len());
        world.nodes[leaving].member.leave();
        world.at(0, leaving, Event::Wake);
        world.run(15_000);
        assert!(world.nodes[leaving].member.has_left(), "seed {seed}");
        world.kill(leaving);
        world.run(1_000);
        let mut spread = world.spread();
        spread.sort_unstable();
        assert_eq!(spread, [3, 4], "seed {seed}");
        assert_eq!(world.moves() - before, had, "seed {seed}: each once");
    }
}

#[test]
fn an_outage_of_the_database_takes_no_lease_from_anybody() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 6);
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE + seed * 171);
        let before = world.moves();
        world.outage_until = world.now + 300_000;
        world.run(320_000);
        world.run(MINUTE);
        assert_eq!(world.moves(), before, "seed {seed}");
        assert_eq!(world.spread(), [2, 2, 2], "seed {seed}");
    }
}

#[test]
fn a_frozen_owner_wakes_up_without_its_streams_and_gets_a_share_again() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 6);
        world.is_orderly = false;
        for _ in 0..3 {
            world.start();
        }
        world.run(MINUTE);
        world.nodes[0].frozen_until = world.now + 40_000 + world.dice.roll(100_000);
        world.run(39_000);
        assert_eq!(world.spread()[1..], [3, 3], "seed {seed}");
        world.run(4 * MINUTE);
        assert_eq!(world.spread(), [2, 2, 2], "seed {seed}");
    }
}

#[test]
fn under_all_faults_at_once_a_stream_never_has_two_owners_and_gets_one_afterwards() {
    for seed in 0..5 * SEEDS {
        let mut world = World::new(seed, 9);
        world.is_orderly = false;
        for _ in 0..3 {
            world.start();
        }
        for _ in 0..30 {
            let pause = 2_000 + world.dice.roll(20_000);
            world.run(pause);
            let node = world.dice.roll(world.nodes.len() as u64) as usize;
            let lasts = world.now + 1_000 + world.dice.roll(90_000);
            match world.dice.roll(9) {
                0 => world.nodes[node].frozen_until = lasts,
                1 | 2 => world.nodes[node].cut_until = lasts,
                3 => world.outage_until = lasts,
                4 => {
                    world.kill(node);
                    world.start();
                }
                5 => world.loss = world.dice.roll(40),
                6 => world.nudge_loss = world.dice.roll(101),
                7 => {
                    // Somebody removes a document, or a registration.
                    let stream = format!("s{:02}", world.dice.roll(9));
                    let is_removable = world.nodes.iter().all(|node| node.cut_until < world.now)
                        && world.outage_until < world.now
                        && world.loss == 0;
                    if is_removable {
                        world.leases.remove(&stream);
                        world.nudge();
                    }
                    let name = world.nodes[node].name.clone();
                    world.peers.remove(&name);
                }
                _ => {
                    let live = world.nodes.iter().filter(|node| !node.is_dead).count();
                    if live > 2 {
                        world.nodes[node].member.leave();
                    } else {
                        world.start();
                    }
                }
            }
        }
        (world.loss, world.nudge_loss, world.outage_until) = (0, 0, 0);
        for index in 0..world.nodes.len() {
            if world.nodes[index].member.is_leaving() {
                world.kill(index);
            }
            world.nodes[index].frozen_until = 0;
            world.nodes[index].cut_until = 0;
        }
        world.start();
        world.run(5 * MINUTE);
        let spread = world.spread();
        assert_eq!(spread.iter().sum::<usize>(), 9, "seed {seed}: {spread:?}");
        let (most, least) = (spread.iter().max(), spread.iter().min());
        assert!(
            most.unwrap() - least.unwrap() < 2,
            "seed {seed}: {spread:?}"
        );
    }
}

#[test]
fn what_a_person_moves_goes_there_and_stays() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 4);
        for _ in 0..2 {
            world.start();
        }
        world.run(MINUTE);
        let stream = world.nodes[0].wanted.first().cloned().unwrap();
        let now = duration(world.now + world.nodes[1].ahead);
        let asked = world.nodes[1].member.ask(&stream, Some("node1"), now);
        world.send(1, Payload::Write(asked.unwrap()));
        world.run(10_000);
        assert!(world.nodes[1].wanted.contains(&stream), "seed {seed}");
        world.run(10 * MINUTE);
        assert!(world.nodes[1].wanted.contains(&stream), "seed {seed}");
        assert_eq!(world.spread(), [2, 2], "seed {seed}");
    }
}

#[test]
fn a_stream_that_somebody_else_claims_is_left_to_others_first() {
    let mut world = World::new(1, 1);
    world.start();
    world.run(MINUTE);
    assert_eq!(world.spread(), [1]);
    let now = duration(world.now + world.nodes[0].ahead);
    world.nodes[0].member.fenced("s00", now);
    world.at(0, 0, Event::Wake);
    world.run(20_000);
    assert_eq!(world.spread(), [0]);
    world.run(20_000);
    assert_eq!(world.spread(), [1], "nobody else came for it");

    world.start();
    world.run(MINUTE);
    let now = duration(world.now + world.nodes[0].ahead);
    world.nodes[0].member.fenced("s00", now);
    world.at(0, 0, Event::Wake);
    world.run(5_000);
    assert_eq!(world.spread(), [0, 1], "it went to the other");
    world.run(10 * MINUTE);
    assert_eq!(world.spread(), [0, 1]);
}
