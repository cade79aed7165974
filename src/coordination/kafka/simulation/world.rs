//! Instances, the registry's topic and the groups, step by step.

use super::group::{Group, Told};
use crate::coordination::dice::Dice;
use crate::coordination::kafka::member::{Member, Times};
use crate::coordination::kafka::record::Entry;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub const SESSION: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

/// One instance and its process.
pub struct Host {
    pub member: Member,
    streams: BTreeSet<String>,
    /// What its clock shows more than true time.
    ahead: Duration,
    /// How much of the topic it has read.
    read: usize,
    /// What it has written, and when it arrives.
    sent: VecDeque<(Duration, Entry)>,
    told: VecDeque<(Duration, Told)>,
    pub frozen_until: Duration,
    pub cut_until: Duration,
    pub is_leaving: bool,
    /// When the agent would wake up by itself.
    wake: Duration,
    version: u64,
    pub wanted: BTreeSet<String>,
    /// What runs, and what drains until when.
    pub running: BTreeMap<String, Option<Duration>>,
}

pub struct World {
    pub now: Duration,
    pub dice: Dice,
    pub topic: Vec<Entry>,
    pub hosts: BTreeMap<String, Host>,
    pub groups: BTreeMap<String, Group>,
    /// Nobody can write or read.
    pub outage_until: Duration,
    /// How often a stream was started.
    pub starts: usize,
    /// Whoever cannot read does not know that a person has removed its record: its session has to end.
    removed_until: Duration,
    /// No two processes run a stream, drains included.
    pub is_orderly: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            dice: Dice(seed),
            topic: Vec::new(),
            hosts: BTreeMap::new(),
            groups: BTreeMap::new(),
            outage_until: Duration::ZERO,
            starts: 0,
            removed_until: Duration::ZERO,
            is_orderly: true,
        }
    }

    pub fn start(&mut self, name: &str, streams: &BTreeSet<String>) {
        let member = Member::new(
            name.to_owned(),
            group_of(streams),
            streams.clone(),
            Times::of(SESSION),
            Timestamp::UNIX_EPOCH,
        );
        let host = Host {
            member,
            streams: streams.clone(),
            ahead: Duration::from_secs(self.dice.roll(1000)),
            read: 0,
            sent: VecDeque::new(),
            told: VecDeque::new(),
            frozen_until: Duration::ZERO,
            cut_until: Duration::ZERO,
            is_leaving: false,
            wake: Duration::ZERO,
            version: 0,
            wanted: BTreeSet::new(),
            running: BTreeMap::new(),
        };
        self.hosts.insert(name.to_owned(), host);
    }

    pub fn leave(&mut self, name: &str) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.is_leaving = true;
            host.member.leave(self.now + host.ahead);
            host.wake = Duration::ZERO;
            if let Some(group) = self.groups.get_mut(&group_of(&host.streams)) {
                group.leave(name);
            }
        }
    }

    pub fn remove_by_hand(&mut self, name: &str) {
        self.topic.push(Entry::Instance(name.to_owned(), None));
        self.removed_until = self.now + SESSION;
    }

    pub fn fence(&mut self, name: &str, stream: &str) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.running.remove(stream);
            host.member.fenced(stream, self.now + host.ahead);
            host.wake = Duration::ZERO;
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.now += STEP;
        self.rebalance();
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        for name in &names {
            self.deliver(name);
        }
        for name in &names {
            self.live(name);
        }
        self.check();
    }

    /// The groups hear of their members and tell them of their streams.
    fn rebalance(&mut self) {
        let now = self.now;
        for (name, host) in &self.hosts {
            let group = self.groups.entry(group_of(&host.streams)).or_default();
            let is_heard = now >= host.frozen_until && now >= host.cut_until;
            if is_heard && now >= self.outage_until && !host.is_leaving {
                group.hear(name, now);
            }
        }
        let sets: Vec<BTreeSet<String>> =
            self.hosts.values().map(|it| it.streams.clone()).collect();
        for streams in sets {
            let group = self.groups.entry(group_of(&streams)).or_default();
            for (name, told) in group.step(&streams, SESSION, now, &mut self.dice) {
                let late = Duration::from_millis(self.dice.roll(1000));
                if let Some(host) = self.hosts.get_mut(&name) {
                    let at = host.told.back().map_or(now, |(at, _)| *at).max(now + late);
                    host.told.push_back((at, told));
                }
            }
        }
    }

    /// What has arrived at the brokers.
    fn deliver(&mut self, name: &str) {
        let (now, outage) = (self.now, self.outage_until);
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        if now < host.cut_until || now < outage {
            // librdkafka gives up after the session.
            let is_late = |(at, _): &(Duration, Entry)| now > *at + SESSION;
            if host.sent.front().is_some_and(is_late) && now >= host.frozen_until {
                host.sent.clear();
                host.member.write_failed(now + host.ahead);
                host.wake = Duration::ZERO;
            }
            return;
        }
        while host.sent.front().is_some_and(|(at, _)| *at <= now) {
            self.topic
                .extend(host.sent.pop_front().map(|(_, entry)| entry));
        }
    }

    /// One turn of an instance and of its process.
    fn live(&mut self, name: &str) {
        let (now, outage) = (self.now, self.outage_until);
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        if now < host.frozen_until {
            return;
        }
        let clock = now + host.ahead;
        let is_connected = now >= host.cut_until && now >= outage;
        let is_told = host.told.front().is_some_and(|(at, _)| *at <= now);
        let is_news = is_connected && (host.read < self.topic.len() || is_told);
        if !is_news && clock < host.wake && host.process_is_idle(now) {
            return;
        }
        // As the agent does: first of all what may not run any more.
        if let Some(wanted) = host.member.publish(clock) {
            (host.version, host.wanted) = (wanted.version, wanted.streams);
        }
        if is_connected {
            while host.told.front().is_some_and(|(at, _)| *at <= now) {
                match host.told.pop_front() {
                    Some((_, Told::Assigned(streams))) => host.member.assigned(streams),
                    Some((_, Told::Revoked(streams))) => host.member.revoked(&streams),
                    None => {}
                }
            }
            // Not always all that is there.
            let most = self.topic.len().saturating_sub(host.read);
            for _ in 0..self.dice.roll(2 * most as u64 + 1).min(most as u64) {
                let entry = self.topic[host.read].clone();
                host.read += 1;
                host.member.read(entry, clock);
            }
        }
        for entry in host.member.decide(clock, Timestamp::UNIX_EPOCH) {
            let late = Duration::from_millis(self.dice.roll(150));
            let at = host.sent.back().map_or(now, |(at, _)| *at).max(now + late);
            host.sent.push_back((at, entry));
        }
        if let Some(wanted) = host.member.publish(clock) {
            (host.version, host.wanted) = (wanted.version, wanted.streams);
        }
        self.starts += host.process(now, &mut self.dice);
        host.wake = host.member.next(clock);
        if host.member.has_left() {
            self.hosts.remove(name);
            self.topic.push(Entry::Instance(name.to_owned(), None));
        }
    }

    fn check(&self) {
        let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
        let mut running: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, host) in &self.hosts {
            if self.now < host.frozen_until {
                continue;
            }
            let is_certain = self.now >= self.removed_until;
            for stream in host.wanted.iter().filter(|_| is_certain) {
                let other = wanted.insert(stream, name);
                assert_eq!(
                    other, None,
                    "{stream} is wanted by {name} too, at {:?}",
                    self.now
                );
            }
            for stream in host.running.keys().filter(|_| self.is_orderly) {
                let other = running.insert(stream, name);
                assert_eq!(
                    other, None,
                    "{stream} runs on {name} too, at {:?}",
                    self.now
                );
            }
        }
    }

    pub fn owner(&self, stream: &str) -> Option<&str> {
        let mut hosts = self.hosts.iter();
        hosts
            .find(|(_, host)| host.wanted.contains(stream))
            .map(|(name, _)| name.as_str())
    }
}

impl Host {
    fn process_is_idle(&self, now: Duration) -> bool {
        let mut drains = self.running.values().flatten();
        drains.all(|until| now < *until)
    }

    /// Does what is wanted; how many streams were started.
    fn process(&mut self, now: Duration, dice: &mut Dice) -> usize {
        let mut starts = 0;
        for stream in &self.wanted {
            if !self.running.contains_key(stream) {
                self.running.insert(stream.clone(), None);
                starts += 1;
            }
        }
        self.running.retain(|stream, until| {
            if self.wanted.contains(stream) {
                return true;
            }
            let until = until.get_or_insert_with(|| now + Duration::from_millis(dice.roll(300)));
            now < *until
        });
        let running = self.running.keys().cloned().collect();
        self.member.running(self.version, &running);
        starts
    }
}

fn group_of(streams: &BTreeSet<String>) -> String {
    streams.iter().cloned().collect::<Vec<_>>().join(",")
}
