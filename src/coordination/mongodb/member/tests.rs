//! Orders of events that the simulation meets too seldom.

use super::Member;
use crate::coordination::LeaseTimes;
use crate::coordination::mongodb::lease::{Found, Lease, Outcome, Peer, Write};
use std::collections::BTreeSet;
use std::time::Duration;

const TIMES: LeaseTimes = LeaseTimes {
    heartbeat: Duration::from_millis(500),
    timeout: Duration::from_millis(6_000),
    poll: Duration::from_millis(1_000),
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the database holds, and the instance `a` that reads it.
struct Scene {
    found: Found,
    member: Member,
    at: u64,
}

impl Scene {
    /// Each instance with the streams that it has. All can run all, but for those that are named `c-only`.
    fn new(instances: &[(&str, &[&str])]) -> Self {
        let streams = || instances.iter().flat_map(|(_, streams)| streams.iter());
        let able = |id: &str| -> BTreeSet<String> {
            let able = streams().filter(|stream| **stream != "c-only" || id == "c");
            able.map(|stream| (*stream).to_owned()).collect()
        };
        let mut found = Found::default();
        for (id, streams) in instances {
            found.leases.extend(streams.iter().map(|stream| Lease {
                stream: (*stream).to_owned(),
                owner: Some((*id).to_owned()),
                epoch: 1,
                ..Lease::default()
            }));
            found.peers.push(Peer {
                id: (*id).to_owned(),
                streams: able(id),
                ..Peer::default()
            });
        }
        let mut scene = Self {
            found,
            member: Member::new("a".to_owned(), able("a"), TIMES),
            at: 0,
        };
        scene.beats(&["a"]);
        scene.reads();
        scene.beats(&["a"]);
        scene
    }

    /// A heartbeat of each of these; `a` is told that its own succeeded.
    fn beats(&mut self, ids: &[&str]) {
        let is_of = |id: &String| ids.contains(&id.as_str());
        for peer in self.found.peers.iter_mut().filter(|peer| is_of(&peer.id)) {
            peer.heartbeats += 1;
        }
        for lease in &mut self.found.leases {
            if lease.owner.as_ref().is_some_and(is_of) {
                lease.heartbeats += 1;
            }
        }
        if ids.contains(&"a") {
            let asked = self.member.heartbeats();
            let kept = asked.keys().cloned().collect();
            self.member
                .heartbeat(ms(self.at), ms(self.at), &asked, &kept);
            let _ = self.member.publish(ms(self.at));
        }
    }

    fn reads(&mut self) {
        self.member
            .read(self.found.clone(), ms(self.at), ms(self.at));
    }

    fn lease(&mut self, stream: &str) -> &mut Lease {
        let mut leases = self.found.leases.iter_mut();
        leases.find(|lease| lease.stream == stream).unwrap()
    }

    /// So much passes, in which these are alive.
    fn passes(&mut self, millis: u64, alive: &[&str]) {
        let end = self.at + millis;
        while self.at < end {
            self.at += 500;
            self.beats(alive);
            self.reads();
        }
    }

    /// What `a` decides, once its writes have succeeded; the streams that it took.
    fn decides(&mut self) -> Vec<String> {
        let now = ms(self.at);
        let mut took = Vec::new();
        for write in self.member.decide(now) {
            if let Write::Take { stream, .. } = &write {
                self.is_taken(stream, "a");
                took.push(stream.clone());
            }
            self.member.done(&write, Outcome::Done, now);
        }
        let _ = self.member.publish(now);
        took
    }

    fn is_taken(&mut self, stream: &str, by: &str) {
        let lease = self.lease(stream);
        lease.previous = lease.owner.replace(by.to_owned());
        lease.epoch += 1;
        lease.heartbeats += 1;
    }

    fn runs(&self) -> usize {
        self.member.published.streams.len()
    }
}

const A: (&str, &[&str]) = ("a", &["s00", "s01", "s02", "s03"]);
const B: (&str, &[&str]) = ("b", &["s04", "s05", "s06", "s07"]);
const C: (&str, &[&str]) = ("c", &["s08", "s09", "s10", "s11"]);

#[test]
fn nothing_is_given_away_while_what_a_forgotten_instance_had_is_being_taken() {
    let mut scene = Scene::new(&[A, B, C]);
    scene.passes(3_000, &["a", "b", "c"]);
    scene.passes(6_500, &["a", "b"]);
    assert_eq!(scene.decides(), ["s08", "s10"]);
    assert_eq!(scene.runs(), 6);
    // The other one has found the registration of the dead one silent, and removed it: leases are read first.
    scene.found.peers.retain(|peer| peer.id != "c");
    scene.reads();
    scene.decides();
    assert_eq!(scene.runs(), 6);
    // It takes its share, and its heartbeats are heard before they are read. They look like the dead one's.
    for stream in ["s09", "s11"] {
        scene.is_taken(stream, "b");
    }
    scene.beats(&["b"]);
    for stream in ["s09", "s11"] {
        let heartbeats = scene.lease(stream).heartbeats;
        scene.member.heard(stream, heartbeats, None, ms(scene.at));
    }
    scene.decides();
    assert_eq!(scene.runs(), 6, "the other one has six too");
    scene.reads();
    scene.decides();
    assert_eq!(scene.runs(), 6);
}

#[test]
fn what_only_a_dead_instance_could_run_keeps_nobody_from_evening_out() {
    let mut scene = Scene::new(&[A, ("b", &[]), ("c", &["c-only"])]);
    scene.passes(3_000, &["a", "c"]);
    scene.found.peers.retain(|peer| peer.id != "c");
    scene.passes(10_000, &["a", "b"]);
    scene.decides();
    assert_eq!(scene.runs(), 2, "two of four go to the other one");
}
