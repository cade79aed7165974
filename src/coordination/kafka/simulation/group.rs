//! Kafka's group, as far as its members see it: who is assigned what, told late, and taken back before it
//! is given to another.

use crate::coordination::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a member is told.
#[derive(Debug, Clone)]
pub enum Told {
    Assigned(BTreeSet<String>),
    Revoked(BTreeSet<String>),
}

#[derive(Debug, Default)]
pub struct Group {
    /// Its members, and when each was heard of last.
    members: BTreeMap<String, Duration>,
    assigned: BTreeMap<String, String>,
    /// When it looks next.
    next: Duration,
}

impl Group {
    pub fn hear(&mut self, member: &str, now: Duration) {
        self.members.insert(member.to_owned(), now);
    }

    pub fn leave(&mut self, member: &str) {
        self.members.remove(member);
        self.assigned.retain(|_, owner| owner != member);
    }

    pub fn owner(&self, stream: &str) -> Option<&str> {
        self.assigned.get(stream).map(String::as_str)
    }

    /// One step of a rebalance: what is too much is taken back, or what is free is given away.
    pub fn step(
        &mut self,
        streams: &BTreeSet<String>,
        session: Duration,
        now: Duration,
        dice: &mut Dice,
    ) -> Vec<(String, Told)> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + Duration::from_millis(50 + dice.roll(500));
        let mut told = Vec::new();
        let gone = self
            .members
            .iter()
            .filter(|(_, heard)| now > **heard + session);
        for member in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let lost = self.of(&member);
            self.leave(&member);
            told.push((member, Told::Revoked(lost)));
        }
        if self.members.is_empty() {
            return told;
        }
        let most = streams.len().div_ceil(self.members.len());
        let least = streams.len() / self.members.len();
        let members: Vec<String> = self.members.keys().cloned().collect();
        let mut rich = members
            .iter()
            .filter(|id| self.of(id).len() == most)
            .count();
        // So many have one more than the others.
        let most_rich = streams.len() - least * members.len();
        for member in &members {
            let has = self.of(member);
            let mut allowed = most;
            if most > least && has.len() >= most && rich > most_rich {
                allowed = least;
                rich -= 1;
            }
            let lost: BTreeSet<_> = has.into_iter().skip(allowed).collect();
            if !lost.is_empty() {
                self.assigned.retain(|stream, _| !lost.contains(stream));
                told.push((member.clone(), Told::Revoked(lost)));
            }
        }
        // What was taken back just now is given away in the next step.
        if !told.is_empty() {
            return told;
        }
        let free = streams
            .iter()
            .filter(|stream| !self.assigned.contains_key(*stream));
        for stream in free.cloned().collect::<Vec<_>>() {
            let to = members.iter().min_by_key(|id| self.of(id).len());
            let to = to.expect("there are members").clone();
            self.assigned.insert(stream.clone(), to.clone());
            told.push((to, Told::Assigned([stream].into())));
        }
        told
    }

    fn of(&self, member: &str) -> BTreeSet<String> {
        let of = self.assigned.iter().filter(|(_, owner)| *owner == member);
        of.map(|(stream, _)| stream.clone()).collect()
    }
}
