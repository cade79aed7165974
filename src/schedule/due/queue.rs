//! The documents of one schedule in the order of their times, and those that had their record. Pure.

use crate::change::extended_json::Extended;
use bson::Bson;
use std::collections::{BTreeMap, BTreeSet};

/// Times are milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<String, (Bson, i64)>,
    order: BTreeSet<(i64, String)>,
    /// The time for which a document had its record.
    fired: BTreeMap<String, i64>,
}

/// An `_id` as it is kept: no two have the same.
pub fn id_key(id: &Bson) -> String {
    Extended::canonical(id).line()
}

impl Queue {
    pub fn new(fired: BTreeMap<String, i64>) -> Self {
        Self {
            fired,
            ..Self::default()
        }
    }

    /// A document is due then; without a time it is no longer waited for. A time that had its record has no other.
    pub fn see(&mut self, id: &Bson, due: Option<i64>) {
        let key = id_key(id);
        if let Some((_, before)) = self.waiting.remove(&key) {
            self.order.remove(&(before, key.clone()));
        }
        if let Some(due) = due.filter(|due| self.fired.get(&key) != Some(due)) {
            self.order.insert((due, key.clone()));
            self.waiting.insert(key, (id.clone(), due));
        }
    }

    /// None is waited for any more.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.order.clear();
    }

    pub fn next(&self) -> Option<i64> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes at most so many that are due by now, the oldest first, each with its time.
    pub fn take(&mut self, now: i64, most: usize) -> Vec<(Bson, i64)> {
        let mut taken = Vec::new();
        while taken.len() < most && self.next().is_some_and(|due| due <= now) {
            let Some((_, key)) = self.order.pop_first() else {
                break;
            };
            taken.extend(self.waiting.remove(&key));
        }
        taken
    }

    /// Whether a document may have a record for this time; from now on it has it.
    pub fn fire(&mut self, id: &Bson, due: i64) -> bool {
        self.fired.insert(id_key(id), due) != Some(due)
    }

    /// Those whose record is for a time before this one.
    pub fn fired_before(&self, time: i64) -> Vec<String> {
        let old = self.fired.iter().filter(|(_, due)| **due < time);
        old.map(|(key, _)| key.clone()).collect()
    }

    /// Gives on what is known of records that were made.
    pub fn into_fired(self) -> BTreeMap<String, i64> {
        self.fired
    }

    pub fn forget(&mut self, key: &str) {
        self.fired.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_moves_is_dropped_and_an_unchanged_time_has_one_record() {
        let mut queue = Queue::default();
        let (a, b) = (Bson::Int32(1), Bson::String("1".into()));
        queue.see(&a, Some(10));
        queue.see(&b, Some(20));
        queue.see(&a, Some(30));
        assert_eq!(queue.next(), Some(20));
        assert_eq!(queue.take(25, 10), [(b.clone(), 20)]);
        assert!(queue.fire(&b, 20));
        queue.see(&b, Some(20));
        assert_eq!(queue.next(), Some(30));
        queue.see(&b, Some(21));
        assert_eq!(queue.next(), Some(21));
        queue.see(&b, None);
        queue.see(&a, None);
        assert_eq!(queue.next(), None);
        assert!(!queue.fire(&b, 20) && queue.fire(&b, 21));
        assert_eq!(queue.fired_before(22).len(), 1);
        // Stored and read again.
        let mut queue = Queue::new(BTreeMap::from([(id_key(&b), 21)]));
        queue.see(&b, Some(21));
        assert_eq!(queue.next(), None);
    }
}
