//! The state that the topics hold: for each document the newest record, by the rule for consumers.

use super::entry::{Entry, Hash, Kind};
use super::names::Names;
use super::sorter::Merged;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;

/// How many numbers are remembered, of a document in one partition, to know a repeated record from one out of order.
const REMEMBERED: usize = 1 << 16;

/// What is known of one document in one namespace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its newest record.
    pub folded: Option<Entry>,
    /// As MongoDB has it.
    pub source: Option<Entry>,
}

/// Records that are not where the order has them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Disorder {
    pub repeated: u64,
    pub out_of_order: u64,
}

/// All that is known of one `_id`, in each namespace.
#[derive(Debug, Default)]
pub struct Group {
    pub id: Hash,
    /// By the namespace where the document is at the end.
    pub states: BTreeMap<u32, State>,
    /// By the namespace that the records name.
    pub disorder: BTreeMap<u32, Disorder>,
}

impl Group {
    /// Takes the next `_id`; whether there was one.
    ///
    /// # Errors
    /// The system's.
    pub fn next(&mut self, merged: &mut Merged<Entry>, names: &Names) -> io::Result<bool> {
        self.states.clear();
        self.disorder.clear();
        let Some(first) = merged.peek() else {
            return Ok(false);
        };
        self.id = first.id;
        let mut lane = (0, 0, 0);
        let mut order = Order::default();
        while let Some(entry) = merged.peek().copied().filter(|next| next.id == self.id) {
            merged.next()?;
            if entry.kind == Kind::Source {
                let state = self.states.entry(entry.namespace).or_default();
                // Where a collection was read twice.
                if state.source.is_none_or(|known| known.seq < entry.seq) {
                    state.source = Some(entry);
                }
                continue;
            }
            let of = (entry.namespace, entry.topic, entry.partition);
            if of != lane || order.is_empty() {
                lane = of;
                order = Order::default();
            }
            if !matches!(entry.kind, Kind::Tombstone | Kind::Replayed) {
                order.take(entry.seq, self.disorder.entry(entry.namespace).or_default());
            }
            if let Some(namespace) = names.at_the_end(entry.namespace, entry.seq) {
                let state = self.states.entry(namespace).or_default();
                if is_newer(&entry, state.folded.as_ref()) {
                    state.folded = Some(entry);
                }
            }
        }
        Ok(true)
    }
}

/// Whether a consumer that has seen `known` takes note of `entry`: of repeated ones the first counts, and a tombstone
/// is not above its delete.
pub fn is_newer(entry: &Entry, known: Option<&Entry>) -> bool {
    known.is_none_or(|known| entry.seq > known.seq)
}

/// The numbers of one document's records in one partition.
#[derive(Debug, Default)]
pub struct Order {
    /// Each above all before it, the newest last.
    rising: VecDeque<u64>,
    late: HashSet<u64>,
}

impl Order {
    fn is_empty(&self) -> bool {
        self.rising.is_empty()
    }

    /// Takes the number of the next record; whether it is one that was there already.
    pub fn take(&mut self, seq: u64, disorder: &mut Disorder) -> bool {
        if self.rising.back().is_none_or(|last| seq > *last) {
            if self.rising.len() == REMEMBERED {
                self.rising.pop_front();
            }
            self.rising.push_back(seq);
            return false;
        }
        let is_older_than_remembered = self.rising.len() == REMEMBERED
            && self.rising.front().is_some_and(|first| seq < *first);
        let is_known = self.rising.binary_search(&seq).is_ok() || self.late.contains(&seq);
        if is_known || is_older_than_remembered || self.late.len() == REMEMBERED {
            disorder.repeated += 1;
            return true;
        }
        self.late.insert(seq);
        disorder.out_of_order += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::namespace::Namespace;
    use crate::verify::names::Definition;
    use crate::verify::sorter::{Folder, Sorter};

    /// A record at this offset of a topic, with this number.
    fn record(topic: u32, offset: u64, seq: u64, kind: Kind) -> Entry {
        Entry {
            id: [1; 16],
            namespace: 0,
            topic,
            partition: 0,
            offset,
            seq,
            kind,
            content: [u8::try_from(offset).unwrap(); 16],
        }
    }

    fn group(entries: &[Entry], names: &Names) -> Group {
        let mut sorter = Sorter::new(&Folder::new(None), 0);
        for entry in entries {
            sorter.push(*entry).unwrap();
        }
        let mut merged = Merged::of(vec![sorter], 0).unwrap();
        let mut group = Group::default();
        assert!(group.next(&mut merged, names).unwrap());
        group
    }

    fn names() -> Names {
        let mut names = Names::default();
        names.number("shop.orders");
        names
    }

    #[test]
    fn the_newest_number_counts_whatever_topic_it_is_in() {
        use Kind::{Gone, Tombstone, Whole};
        let all = [
            record(0, 0, 5, Whole),
            record(1, 0, 9, Gone),
            record(1, 1, 9, Tombstone),
            record(2, 0, 7, Whole),
        ];
        let group = group(&all, &names());
        assert_eq!(group.states[&0].folded, Some(all[1]));
        assert_eq!(group.disorder[&0], Disorder::default());
    }

    #[test]
    fn what_comes_again_is_repeated_and_what_comes_late_is_out_of_order() {
        // As after a crash: 5 and 7 come again. 6 comes for the first time, behind 7.
        let seqs = [5, 7, 5, 7, 6, 9, 6];
        let all: Vec<_> = (0..)
            .zip(seqs)
            .map(|(offset, seq)| record(0, offset, seq, Kind::Whole))
            .collect();
        let group = group(&all, &names());
        let expected = Disorder {
            repeated: 3,
            out_of_order: 1,
        };
        assert_eq!(group.disorder[&0], expected);
        assert_eq!(group.states[&0].folded, Some(all[5]));
    }

    #[test]
    fn of_repeated_records_the_first_counts() {
        let all = [record(0, 0, 5, Kind::Whole), record(0, 1, 5, Kind::Whole)];
        let group = group(&all, &names());
        assert_eq!(group.states[&0].folded, Some(all[0]));
    }

    #[test]
    fn what_went_with_its_collection_is_not_there() {
        let mut names = names();
        let orders = names.get(0).clone();
        names.define(6, Definition::Drop(orders.clone()));
        names.settle();
        let gone = group(&[record(0, 0, 5, Kind::Whole)], &names);
        assert!(gone.states.is_empty());
        let again = record(0, 1, 7, Kind::Whole);
        let both = group(&[record(0, 0, 5, Kind::Whole), again], &names);
        assert_eq!(both.states[&0].folded, Some(again));

        let kept = Namespace {
            database: "shop".into(),
            collection: "kept".into(),
        };
        names.define(8, Definition::Rename(orders, kept.clone()));
        names.settle();
        let kept = names.number_of(&kept).unwrap();
        let moved = group(&[again], &names);
        assert_eq!(moved.states.keys().collect::<Vec<_>>(), [&kept]);
    }
}
