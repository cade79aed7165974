//! How many jobs wait in the partitions of this worker: what it holds and has not done, and what it has not read, as its
//! client's own statistics say.
//!
//! The same report says where each partition's log begins, and so what was deleted unread.
//!
//! Offsets alone would count what ends transactions, too: one job for ever in a topic at rest that is written exactly once.

use crate::worker::assigned::{Assigned, Lost};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A report of the client, as far as it is about partitions. librdkafka's `STATISTICS.md` describes the fields.
#[derive(Debug, Deserialize)]
pub struct Report {
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug, Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<i32, Partition>,
}

/// Negative numbers stand for what is not known.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Partition {
    /// Records that are fetched, and not read.
    fetchq_cnt: i64,
    /// Behind what is fetched.
    next_offset: i64,
    /// Behind what is committed in the partition.
    ls_offset: i64,
    lo_offset: i64,
}

/// What is lost of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The topic was deleted and made again; how many jobs waited.
    All(u64),
    Unread(Lost),
}

impl Report {
    pub fn read(report: &[u8]) -> Option<Self> {
        serde_json::from_slice(report)
            .inspect_err(
                |error| tracing::debug!(%error, "the kafka client's statistics cannot be read"),
            )
            .ok()
    }

    /// Tells each partition where its log begins and ends; what is lost of it.
    pub fn lost(
        &self,
        assigned: &BTreeMap<(String, i32), Arc<Assigned>>,
    ) -> Vec<(Arc<Assigned>, What)> {
        let mut all = Vec::new();
        for ((topic, number), assigned) in assigned {
            let partitions = self.topics.get(topic).map(|topic| &topic.partitions);
            let Some(partition) = partitions.and_then(|all| all.get(number)) else {
                continue;
            };
            if partition.lo_offset < 0 || partition.ls_offset < 0 {
                continue;
            }
            if let Some(count) = assigned.made_again(partition.ls_offset) {
                all.push((Arc::clone(assigned), What::All(count)));
                continue;
            }
            let is_all_read = partition.fetchq_cnt == 0 && partition.next_offset >= 0;
            let lost = assigned.note_log(
                (partition.lo_offset, partition.ls_offset),
                is_all_read.then_some(partition.next_offset),
            );
            if lost.count > 0 {
                all.push((Arc::clone(assigned), What::Unread(lost)));
            }
        }
        all
    }

    /// The jobs that wait, by topic.
    pub fn lag(&self, assigned: &BTreeMap<(String, i32), Arc<Assigned>>) -> BTreeMap<String, u64> {
        let mut lag = BTreeMap::new();
        for ((topic, number), assigned) in assigned {
            let partitions = self.topics.get(topic).map(|topic| &topic.partitions);
            let partition = partitions.and_then(|all| all.get(number));
            let (held, last) = assigned.not_done();
            let unread = partition.map_or(0, |it| it.unread(last, assigned.is_paused()));
            *lag.entry(topic.clone()).or_default() += held as u64 + unread;
        }
        lag
    }
}

impl Partition {
    /// What is behind the last record that was read.
    fn unread(self, last: Option<i64>, is_paused: bool) -> u64 {
        // What was fetched before a pause is fetched again after it.
        let is_all_fetched = self.next_offset >= self.ls_offset && !is_paused;
        if is_all_fetched {
            return self.fetchq_cnt.max(0).unsigned_abs();
        }
        let next = match (last, self.next_offset) {
            (Some(last), _) => last + 1,
            (None, next) if next >= 0 => next - self.fetchq_cnt.max(0),
            (None, _) => self.lo_offset.max(0),
        };
        (self.ls_offset - next).max(0).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_what_is_not_read_waits_and_the_end_of_a_transaction_does_not() {
        let assigned = |number: i32| Arc::new(Assigned::new("jobs.a", number));
        let all: BTreeMap<_, _> = (0..4)
            .map(|number| (("jobs.a".to_owned(), number), assigned(number)))
            .collect();
        let of = |number: i32| &all[&("jobs.a".to_owned(), number)];
        let lag = |partitions: &str| {
            let report = format!(
                r#"{{"name": "c", "topics": {{"jobs.a": {{"partitions": {{{partitions}}}}}}}}}"#
            );
            Report::read(report.as_bytes()).unwrap().lag(&all)["jobs.a"]
        };
        // Nothing is known yet.
        assert_eq!(lag(""), 0);
        let unknown = r#""0": {"fetchq_cnt": 0, "next_offset": -1001, "ls_offset": -1001, "lo_offset": -1001}"#;
        assert_eq!(lag(unknown), 0);
        // Three were read, two of them are not done; behind them is what ends their transaction.
        for offset in 5..8 {
            of(0).take(offset, 1);
        }
        of(0).finish(6);
        let at_end = r#""0": {"fetchq_cnt": 0, "next_offset": 9, "ls_offset": 9, "lo_offset": 0}"#;
        assert_eq!(lag(at_end), 2);
        let fetched =
            r#""0": {"fetchq_cnt": 3, "next_offset": 12, "ls_offset": 12, "lo_offset": 0}"#;
        assert_eq!(lag(fetched), 5);
        let behind =
            r#""0": {"fetchq_cnt": 1, "next_offset": 10, "ls_offset": 20, "lo_offset": 0}"#;
        assert_eq!(lag(behind), 2 + 12);
        // A full partition is not read on, and what was fetched of it is dropped.
        assert_eq!(of(0).turn((2, 99)), Some(true));
        let dropped =
            r#""0": {"fetchq_cnt": 0, "next_offset": 20, "ls_offset": 20, "lo_offset": 0}"#;
        assert_eq!(lag(dropped), 2 + 12);
        assert_eq!(of(0).turn((9, 99)), Some(false));
        // Of the others nothing was read.
        let more = r#""1": {"fetchq_cnt": 2, "next_offset": 6, "ls_offset": 10, "lo_offset": 1},
            "2": {"fetchq_cnt": 0, "next_offset": -1001, "ls_offset": 7, "lo_offset": 3},
            "-1": {"fetchq_cnt": 9, "next_offset": 9, "ls_offset": 9, "lo_offset": 9}"#;
        assert_eq!(lag(more), 2 + 6 + 4);
    }
}
