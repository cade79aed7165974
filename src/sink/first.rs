//! The first record that a producer sends to each partition.
//!
//! Kafka holds each batch of an idempotent producer against the one before, so that behind a refused
//! batch it takes none that is on the wire already. But from a producer that it does not know yet it
//! takes any number as the first: behind a refused *first* batch the next one would pass, and the
//! replay would put the records of the first one after it. So nothing follows the first record to a
//! partition before that is acknowledged.

use crate::kafka::partition::partition_of;
use crate::route::Topic;

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    /// Its first record is on the way.
    Begun,
    /// Kafka knows the producer.
    Known,
}

/// Which partitions have had their first record from one producer, by topic.
#[derive(Debug, Default)]
pub struct Firsts {
    topics: Vec<Partitions>,
}

#[derive(Debug, Clone, Default)]
struct Partitions {
    states: Vec<State>,
    unknown: usize,
}

impl Firsts {
    /// Takes note of a record that is about to be sent; whether all that was sent before must be
    /// acknowledged first.
    pub fn must_wait(&mut self, topic: &Topic, key: &[u8]) -> bool {
        let index = topic.id().index();
        if self.topics.len() <= index {
            self.topics.resize(index + 1, Partitions::default());
        }
        let (of, count) = (&mut self.topics[index], topic.partitions().unwrap_or(1));
        let wanted = usize::try_from(count).unwrap_or(1);
        if of.states.len() < wanted {
            of.unknown += wanted - of.states.len();
            of.states.resize(wanted, State::Unknown);
        }
        if of.unknown == 0 {
            return false;
        }
        let partition = usize::try_from(partition_of(key, count)).unwrap_or(0);
        match of.states[partition] {
            State::Unknown => {
                of.states[partition] = State::Begun;
                false
            }
            State::Begun => true,
            State::Known => false,
        }
    }

    /// All that was sent is acknowledged.
    pub fn acknowledged(&mut self) {
        for of in &mut self.topics {
            for state in of.states.iter_mut().filter(|state| **state == State::Begun) {
                *state = State::Known;
                of.unknown -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Topics;
    use crate::route::Router;
    use std::sync::Arc;

    fn topic(partitions: i32) -> Arc<Topic> {
        let one = || "changes".to_owned();
        let topics = Topics {
            insert: one(),
            update: one(),
            replace: one(),
            delete: one(),
            ddl: None,
            rows: None,
            dead_letter: None,
        };
        let topic = Router::new(&topics, &[]).unwrap().table().all().remove(0);
        topic.learned(partitions, None);
        topic
    }

    #[test]
    fn only_what_follows_an_unacknowledged_first_record_of_its_partition_waits() {
        let topic = topic(16);
        let mut firsts = Firsts::default();
        assert!(!firsts.must_wait(&topic, b"one"));
        assert!(!firsts.must_wait(&topic, b"another"), "another partition");
        assert!(firsts.must_wait(&topic, b"one"));
        firsts.acknowledged();
        assert!(!firsts.must_wait(&topic, b"one"));
        assert!(!firsts.must_wait(&topic, b"one"));
    }

    #[test]
    fn a_partition_that_is_added_later_has_a_first_record_too() {
        let topic = topic(1);
        let mut firsts = Firsts::default();
        assert!(!firsts.must_wait(&topic, b"one"));
        firsts.acknowledged();
        topic.learned(2, None);
        let begun: Vec<_> = (0..8_u8)
            .filter(|key| partition_of(&[*key], 2) == 1)
            .map(|key| firsts.must_wait(&topic, &[key]))
            .collect();
        assert_eq!(begun.first(), Some(&false));
        assert!(begun[1..].iter().all(|waits| *waits) && begun.len() > 1);
    }
}
