//! The first record that a producer sends to each partition.
//!
//! Kafka holds each batch of an idempotent producer against the one before, so that behind a refused
//! batch it takes none that is on the wire already. But from a producer that it does not know yet it
//! takes any number as the first: behind a refused *first* batch the next one would pass. librdkafka then counts
//! the first one as written, too, since it could not have been passed (`rd_kafka_dr_implicit_ack`): its records
//! would be lost, in transactions as well, or come late. A new partition refuses first batches while its broker does
//! not know yet that it leads it. So nothing follows the first record to a partition before that is acknowledged.
//!
//! Kafka forgets producers after a rest (`producer.id.expiration.ms`, a day), so that every hour is a new beginning.

use crate::kafka::partition::partition_of;
use crate::route::Topic;
use std::time::{Duration, Instant};

/// How far a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    /// Its first record is on the way.
    Begun,
    /// Kafka knows the producer.
    Known,
}

/// How long a partition counts as known.
const KNOWN_FOR: Duration = Duration::from_secs(3600);

/// Which partitions have had their first record from one producer, by topic.
#[derive(Debug)]
pub struct Firsts {
    topics: Vec<Partitions>,
    since: Instant,
}

#[derive(Debug, Clone, Default)]
struct Partitions {
    states: Vec<State>,
    unknown: usize,
}

impl Firsts {
    /// Of a producer that begins.
    pub fn new(now: Instant) -> Self {
        Self {
            topics: Vec::new(),
            since: now,
        }
    }

    /// Whether all that was sent before must be acknowledged before this record is sent.
    pub fn must_wait(&mut self, topic: &Topic, key: &[u8]) -> bool {
        self.state(topic, key)
            .is_some_and(|state| *state == State::Begun)
    }

    /// Takes note of a record that was sent.
    pub fn sent(&mut self, topic: &Topic, key: &[u8]) {
        if let Some(state @ State::Unknown) = self.state(topic, key) {
            *state = State::Begun;
        }
    }

    /// Begins anew where it is time to.
    pub fn expire(&mut self, now: Instant) {
        if now.duration_since(self.since) >= KNOWN_FOR {
            *self = Self::new(now);
        }
    }

    /// The state of the record's partition; none where all of the topic's are known.
    fn state(&mut self, topic: &Topic, key: &[u8]) -> Option<&mut State> {
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
            return None;
        }
        let partition = usize::try_from(partition_of(key, count)).unwrap_or(0);
        of.states.get_mut(partition)
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
            bounds: None,
        };
        let topic = Router::new(&topics, &[]).unwrap().table().all().remove(0);
        topic.learned(partitions, None);
        topic
    }

    /// Sends a record; whether it had to wait.
    fn waits(firsts: &mut Firsts, topic: &Topic, key: &[u8]) -> bool {
        let waits = firsts.must_wait(topic, key);
        if waits {
            firsts.acknowledged();
        }
        firsts.sent(topic, key);
        waits
    }

    #[test]
    fn only_what_follows_an_unacknowledged_first_record_of_its_partition_waits() {
        let topic = topic(16);
        let mut firsts = Firsts::new(Instant::now());
        assert!(!waits(&mut firsts, &topic, b"one"));
        assert!(!waits(&mut firsts, &topic, b"another"), "another partition");
        assert!(waits(&mut firsts, &topic, b"one"));
        assert!(!waits(&mut firsts, &topic, b"one"));
        assert!(
            !waits(&mut firsts, &topic, b"another"),
            "all were waited for"
        );
    }

    #[test]
    fn a_record_that_was_not_sent_is_not_the_first() {
        let topic = topic(1);
        let mut firsts = Firsts::new(Instant::now());
        assert!(!firsts.must_wait(&topic, b"refused"));
        assert!(!waits(&mut firsts, &topic, b"one"));
        assert!(waits(&mut firsts, &topic, b"one"));
    }

    #[test]
    fn a_partition_that_is_added_later_has_a_first_record_too() {
        let topic = topic(1);
        let mut firsts = Firsts::new(Instant::now());
        assert!(!waits(&mut firsts, &topic, b"one"));
        firsts.acknowledged();
        topic.learned(2, None);
        let keys = (0..8_u8).filter(|key| partition_of(&[*key], 2) == 1);
        let waited: Vec<_> = keys.map(|key| waits(&mut firsts, &topic, &[key])).collect();
        assert_eq!(waited[..3], [false, true, false]);
    }

    #[test]
    fn after_an_hour_every_partition_has_a_first_record_again() {
        let (topic, begin) = (topic(1), Instant::now());
        let mut firsts = Firsts::new(begin);
        assert!(!waits(&mut firsts, &topic, b"one"));
        firsts.acknowledged();
        firsts.expire(begin + KNOWN_FOR / 2);
        assert!(!waits(&mut firsts, &topic, b"one") && !waits(&mut firsts, &topic, b"one"));
        firsts.expire(begin + KNOWN_FOR);
        assert!(!waits(&mut firsts, &topic, b"one") && waits(&mut firsts, &topic, b"one"));
    }
}
