//! Compares what was written with what a consumer finds.

use super::workload::{Change, Key, Written};
use crate::support::Record;
use std::collections::{BTreeMap, BTreeSet};

/// What the comparison says; counts are of changes.
#[derive(Debug, Default)]
pub struct Verdict {
    pub written: usize,
    /// Acknowledged by MongoDB and not in Kafka.
    pub lost: usize,
    /// Records beyond the first of a change.
    pub repeated: usize,
    /// Changes whose first record is not where the document's history has it.
    pub reordered: usize,
    /// A consumer that ignores `tw-seq` up to the last one seen gets exactly the history.
    pub is_history_for_a_careful_consumer: bool,
    /// What such a consumer rebuilds is what the source holds.
    pub is_same_state: bool,
}

/// The version that a record sets, unless it is a delete.
pub fn version(record: &Record) -> Option<u64> {
    let value = &record.value;
    let version = match value["operationType"].as_str()? {
        "insert" | "replace" => &value["fullDocument"]["v"],
        "update" => &value["updateDescription"]["updatedFields"]["v"],
        _ => return None,
    };
    version.as_u64()
}

fn change(record: &Record) -> Change {
    version(record).map_or(Change::Delete, Change::Set)
}

fn key(record: &Record) -> Key {
    let collection = record.key["collection"].as_str().expect("a collection");
    (
        collection.to_owned(),
        record.key["_id"].as_i64().expect("an id"),
    )
}

pub fn judge(written: &Written, records: &[Record], state: &BTreeMap<Key, u64>) -> Verdict {
    let mut firsts: BTreeMap<Key, Vec<Change>> = BTreeMap::new();
    let mut careful: BTreeMap<Key, Vec<Change>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut last = BTreeMap::new();
    let mut verdict = Verdict::default();
    for record in records {
        if known.insert(record.header("tw-id").to_owned()) {
            firsts.entry(key(record)).or_default().push(change(record));
        } else {
            verdict.repeated += 1;
        }
        let last = last.entry(record.partition).or_insert(0);
        if record.seq() > *last {
            *last = record.seq();
            careful.entry(key(record)).or_default().push(change(record));
        }
    }
    for (key, changes) in &written.changes {
        verdict.written += changes.len();
        let mut found = firsts.get(key).cloned().unwrap_or_default();
        if found != *changes {
            eprintln!("{key:?}: written {changes:?}\n  found {found:?}");
            let mut sorted = changes.clone();
            sorted.sort_unstable();
            let misplaced = found.iter().zip(changes).filter(|(a, b)| a != b).count();
            found.sort_unstable();
            let missing = sorted.len().saturating_sub(found.len());
            verdict.lost += missing;
            verdict.reordered += usize::from(missing == 0) * misplaced.max(1);
        }
    }
    verdict.is_history_for_a_careful_consumer = careful == written.changes;
    let rebuilt: BTreeMap<Key, u64> = careful
        .into_iter()
        .filter_map(|(key, changes)| match changes.last()? {
            Change::Set(version) => Some((key, *version)),
            Change::Delete => None,
        })
        .collect();
    verdict.is_same_state = rebuilt == *state;
    verdict
}
