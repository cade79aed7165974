//! What the records of the registry say, read one after the other.
//!
//! All instances read the same records in the same order, so that they agree on who has a stream: the
//! first one that claimed it and has not given it up. Nobody takes it from an instance; one that is
//! silent for too long is removed by a tombstone, with all that it had.

use super::record::{Entry, Instance, Move, Stream};
use crate::coordination::silence::Silence;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Known {
    pub record: Instance,
    silence: Silence<u64>,
}

/// The state after the records read so far.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub instances: BTreeMap<String, Known>,
    pub streams: BTreeMap<String, Stream>,
    pub moves: BTreeMap<String, Move>,
    /// Who claims a stream, the first one first.
    claims: BTreeMap<String, Vec<String>>,
}

impl Registry {
    pub fn read(&mut self, entry: Entry, now: Duration) {
        match entry {
            Entry::Instance(id, record) => self.read_instance(id, record, now),
            Entry::Stream(stream, Some(record)) => {
                self.streams.insert(stream, record);
            }
            Entry::Stream(stream, None) => {
                self.streams.remove(&stream);
            }
            Entry::Move(stream, Some(record)) => {
                self.moves.insert(stream, record);
            }
            Entry::Move(stream, None) => {
                self.moves.remove(&stream);
            }
        }
    }

    fn read_instance(&mut self, id: String, record: Option<Instance>, now: Duration) {
        let has = record.as_ref().map(|record| record.has.clone());
        let has = has.unwrap_or_default();
        for (stream, claims) in &mut self.claims {
            if !has.contains(stream) {
                claims.retain(|claim| *claim != id);
            }
        }
        for stream in has {
            let claims = self.claims.entry(stream).or_default();
            if !claims.contains(&id) {
                claims.push(id.clone());
            }
        }
        self.claims.retain(|_, claims| !claims.is_empty());
        match record {
            Some(record) => {
                let silence = Silence::new(record.heartbeats, now);
                self.instances.insert(id, Known { record, silence });
            }
            None => {
                self.instances.remove(&id);
            }
        }
    }

    /// All that was written before `sent` has been read: whoever has said nothing was silent up to then.
    /// Of the time between two such reads no more than `most` counts.
    pub fn read_up_to(&mut self, sent: Duration, now: Duration, most: Duration) {
        for known in self.instances.values_mut() {
            let same = known.record.heartbeats;
            known.silence.read(same, sent, now, most);
        }
    }

    /// Nothing could be read: nobody is to be judged by it.
    pub fn could_not_read(&mut self) {
        for known in self.instances.values_mut() {
            known.silence.failed();
        }
    }

    /// Who has the stream.
    pub fn holder(&self, stream: &str) -> Option<&str> {
        let first = self.claims.get(stream)?.first()?;
        Some(first)
    }

    pub fn is_claimed_by(&self, id: &str) -> bool {
        let mut claims = self.claims.values();
        claims.any(|claims| claims.iter().any(|claim| claim == id))
    }

    /// Whether an instance has said nothing for so many times as long as it may be silent.
    pub fn is_silent(&self, id: &str, times: u32) -> bool {
        let known = self.instances.get(id);
        known.is_none_or(|known| known.silence.counted() >= known.limit() * times)
    }

    /// Whether this instance lives, and could be given this stream.
    pub fn is_available(&self, id: &str, stream: &str) -> bool {
        let known = self.instances.get(id);
        known.is_some_and(|Known { record, .. }| {
            !record.leaving && record.streams.contains(stream) && !self.is_silent(id, 1)
        })
    }

    /// Whether a living instance waits for this stream.
    pub fn is_wanted_by(&self, id: &str, stream: &str) -> bool {
        let wants = |known: &Known| known.record.wants.contains(stream);
        self.is_available(id, stream) && self.instances.get(id).is_some_and(wants)
    }

    /// Of those that could be given this stream, the one that has the fewest.
    pub fn successor(&self, stream: &str, but: &str) -> Option<&str> {
        let others = self.instances.iter().filter(|(id, _)| *id != but);
        others
            .filter(|(id, _)| self.is_available(id, stream))
            .map(|(id, known)| (known.record.has.len(), id.as_str()))
            .min()
            .map(|(_, id)| id)
    }

    /// When the next one of the others may have been silent for too long; a read then can tell.
    pub fn next_silence(&self, me: &str) -> Option<Duration> {
        let others = self.instances.iter().filter(|(id, _)| *id != me);
        let due = others.filter_map(|(id, known)| {
            let times = match self.is_silent(id, 1) {
                false => 1,
                true if !self.is_silent(id, FORGOTTEN) => FORGOTTEN,
                true => return None,
            };
            known.silence.reaches(known.limit() * times)
        });
        due.min()
    }
}

/// After so many times of what it may be silent an instance is removed, although nobody waits for its
/// streams.
pub const FORGOTTEN: u32 = 2;

/// The most that `KAFKA_SESSION_TIMEOUT_MS` may be: who says more was written by hand, and would be waited for too long.
const LONGEST: Duration = Duration::from_mins(30);

impl Known {
    fn limit(&self) -> Duration {
        Duration::from_millis(self.record.timeout_ms).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn said(id: &str, heartbeats: u64, has: &[&str], wants: &[&str]) -> Entry {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let record = Instance {
            streams: names(&["a", "b"]),
            has: names(has),
            wants: names(wants),
            heartbeats,
            timeout_ms: 10_000,
            ..Instance::default()
        };
        Entry::Instance(id.to_owned(), Some(record))
    }

    #[test]
    fn the_first_claim_counts_until_it_is_given_up() {
        let mut registry = Registry::default();
        registry.read(said("one", 1, &["a"], &[]), s(1));
        registry.read(said("two", 1, &["a"], &[]), s(1));
        assert_eq!(registry.holder("a"), Some("one"));
        registry.read(said("one", 2, &["a"], &[]), s(2));
        assert_eq!(registry.holder("a"), Some("one"));
        registry.read(said("one", 3, &[], &[]), s(3));
        assert_eq!(registry.holder("a"), Some("two"));
        registry.read(Entry::Instance("two".into(), None), s(4));
        assert_eq!(registry.holder("a"), None);
        assert!(!registry.is_claimed_by("two"));
    }

    #[test]
    fn only_what_was_read_counts_as_silence() {
        let mut registry = Registry::default();
        registry.read(said("one", 1, &["a"], &["b"]), s(0));
        assert!(registry.is_wanted_by("one", "b"));
        assert_eq!(registry.next_silence("me"), Some(s(10)));
        registry.read_up_to(s(6), s(6), s(5));
        assert_eq!(
            registry.next_silence("me"),
            Some(s(11)),
            "at most 5 s of a stretch"
        );
        registry.could_not_read();
        registry.read_up_to(s(100), s(100), s(5));
        assert!(!registry.is_silent("one", 1));
        registry.read_up_to(s(105), s(105), s(5));
        assert!(registry.is_silent("one", 1));
        assert!(!registry.is_wanted_by("one", "b"));
        assert_eq!(registry.next_silence("me"), Some(s(115)));
        assert!(!registry.is_silent("one", FORGOTTEN));
        registry.read(said("one", 2, &["a"], &[]), s(106));
        assert!(registry.is_available("one", "b"));
    }

    #[test]
    fn a_stream_goes_to_the_one_with_the_fewest_that_can_run_it() {
        let mut registry = Registry::default();
        registry.read(said("one", 1, &[], &[]), s(0));
        registry.read(said("two", 1, &["a"], &[]), s(0));
        assert_eq!(registry.successor("b", "one"), Some("two"));
        assert_eq!(registry.successor("b", "two"), Some("one"));
        assert_eq!(registry.successor("c", "two"), None);
    }
}
