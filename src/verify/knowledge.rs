//! What the topics can tell at all: the difference between missing and never to have been there.

use super::entry::{Entry, Kind};
use super::names::Names;
use super::source::is_made_since;
use bson::Bson;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Why a document cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unknown {
    /// Retention has taken records that may have been about it.
    Retention,
    /// It has no record, and may be older than the stream.
    NeverSeen,
    /// It came with a rename from a collection that the stream does not carry.
    Renamed,
    /// Its newest record holds no document.
    NoDocument,
    /// `WATCH_OPERATIONS` leaves out what would tell.
    NotWatched,
    /// Its collection is gone, and without `KAFKA_TOPIC_DDL` the topics cannot say so.
    Dropped,
    /// Its collection was dropped or renamed while it was looked at.
    Disturbed,
    /// It can have no record: it is nested too deep.
    NotEncodable,
    /// The key of its record cannot be read.
    KeyUnreadable,
    /// It did not come to rest in time, or the stream did not get so far.
    Unsettled,
}

impl Unknown {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::NeverSeen => "never_seen",
            Self::Renamed => "renamed",
            Self::NoDocument => "no_document",
            Self::NotWatched => "not_watched",
            Self::Dropped => "dropped",
            Self::Disturbed => "disturbed",
            Self::NotEncodable => "not_encodable",
            Self::KeyUnreadable => "key_unreadable",
            Self::Unsettled => "unsettled",
        }
    }

    /// What it means, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Retention => "retention has taken records that may have been about them",
            Self::NeverSeen => {
                "they have no record, and may be older than the stream; --complete counts them as missing"
            }
            Self::Renamed => {
                "they came with a rename from a collection that the stream does not carry"
            }
            Self::NoDocument => {
                "their newest record holds no document: an update without a look-up, or of what was deleted since"
            }
            Self::NotWatched => "WATCH_OPERATIONS leaves out the operations that would tell",
            Self::Dropped => {
                "their collection is not there any more, and without KAFKA_TOPIC_DDL the topics cannot say so"
            }
            Self::Disturbed => "their collection was dropped or renamed meanwhile",
            Self::NotEncodable => "they are nested too deep to have a record",
            Self::KeyUnreadable => "the keys of their records cannot be read",
            Self::Unsettled => {
                "they were changed all the time, or the stream did not get as far as MongoDB in time (--wait)"
            }
        }
    }
}

/// What is known of the topics and the stream beside the records of one document.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// When the stream began, in seconds since the Unix epoch; none where nothing tells.
    pub began: Option<u64>,
    /// `--complete`: the stream has seen all there is.
    pub is_complete: bool,
    /// Partitions that do not begin at offset 0, and the number of the first record that is left there.
    pub cut: BTreeMap<(u32, i32), u64>,
    /// The topics that records of a namespace go to.
    pub topics: HashMap<u32, BTreeSet<u32>>,
    /// The topic of events about collections, where there is one.
    pub definitions: Option<BTreeSet<u32>>,
    /// Namespaces that a snapshot has copied whole, each with the number of the last row.
    pub snapshots: HashMap<u32, u64>,
    /// Namespaces that are there in MongoDB.
    pub present: HashSet<u32>,
    /// Operations on documents that `WATCH_OPERATIONS` leaves out.
    pub unwatched: Vec<&'static str>,
    /// Namespaces that the stream carries.
    pub carried: HashSet<u32>,
}

/// How much older than the stream an `_id` may seem to be: its clock is another machine's.
const SKEW: u64 = 300;

impl Knowledge {
    fn cuts(&self, namespace: u32) -> impl Iterator<Item = ((u32, i32), u64)> {
        let topics = self.topics.get(&namespace);
        let cut = self.cut.iter().map(|(place, seq)| (*place, *seq));
        cut.filter(move |((topic, _), _)| topics.is_some_and(|topics| topics.contains(topic)))
    }

    /// Whether retention may have taken a newer record than this one: nothing newer was before it in its own
    /// partition.
    fn may_lack_newer(&self, namespace: u32, folded: &Entry) -> bool {
        let own = (folded.topic, folded.partition);
        let mut others = self.cuts(namespace).filter(|(place, _)| *place != own);
        others.any(|(_, first)| folded.seq < first)
    }

    fn is_unwatched(&self, operations: &[&str]) -> bool {
        self.unwatched.iter().any(|it| operations.contains(it))
    }

    /// Why documents without any record, or those of unknown age among them, are not missing.
    pub fn without_record(
        &self,
        names: &Names,
        namespace: u32,
        id: Option<&Bson>,
    ) -> Option<Unknown> {
        if self.cuts(namespace).next().is_some() {
            return Some(Unknown::Retention);
        }
        if self.is_unwatched(&["insert"]) {
            return Some(Unknown::NotWatched);
        }
        if self.is_complete {
            return None;
        }
        let copied = self.snapshots.get(&namespace);
        let came = names.renamed_into(namespace);
        if let Some(last) = copied
            && came.is_none_or(|came| came <= *last)
        {
            return None;
        }
        if let Some(from) = names.renamed_from(namespace) {
            let carried = self.carried.iter().any(|number| names.get(*number) == from);
            if !carried {
                return Some(Unknown::Renamed);
            }
        }
        if copied.is_some() {
            return None;
        }
        if names.is_seen_whole(namespace) {
            return None;
        }
        let is_new = self
            .began
            .zip(id)
            .is_some_and(|(began, id)| is_made_since(id, began + SKEW));
        (!is_new).then_some(Unknown::NeverSeen)
    }

    /// Why a document that MongoDB has, and whose newest record is a delete, is not missing.
    pub fn deleted(&self, namespace: u32, folded: &Entry) -> Option<Unknown> {
        if self.may_lack_newer(namespace, folded) {
            return Some(Unknown::Retention);
        }
        self.is_unwatched(&["insert"])
            .then_some(Unknown::NotWatched)
    }

    /// Why a document that MongoDB does not have, and the topics do, is not extra.
    pub fn absent(&self, namespace: u32, folded: &Entry) -> Option<Unknown> {
        let definitions = self.definitions.iter().flatten();
        let mut cut =
            definitions.flat_map(|topic| self.cut.range((*topic, 0)..=(*topic, i32::MAX)));
        if self.may_lack_newer(namespace, folded) || cut.any(|(_, first)| folded.seq < *first) {
            return Some(Unknown::Retention);
        }
        if self.is_unwatched(&["delete"]) {
            return Some(Unknown::NotWatched);
        }
        let is_told = self.definitions.is_some() || self.present.contains(&namespace);
        (!is_told).then_some(Unknown::Dropped)
    }

    /// Why two that differ are not different.
    pub fn other(&self, namespace: u32, folded: &Entry) -> Option<Unknown> {
        if self.may_lack_newer(namespace, folded) {
            return Some(Unknown::Retention);
        }
        if folded.kind == Kind::Partial {
            return Some(Unknown::NoDocument);
        }
        self.is_unwatched(&["update", "replace"])
            .then_some(Unknown::NotWatched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::namespace::Namespace;

    fn entry(topic: u32, seq: u64) -> Entry {
        Entry {
            id: [0; 16],
            namespace: 0,
            topic,
            partition: 0,
            offset: 0,
            seq,
            kind: Kind::Whole,
            content: [0; 16],
        }
    }

    fn known() -> (Knowledge, Names) {
        let mut names = Names::default();
        names.number("shop.orders");
        let knowledge = Knowledge {
            topics: HashMap::from([(0, BTreeSet::from([0, 1]))]),
            definitions: Some(BTreeSet::from([2])),
            ..Knowledge::default()
        };
        (knowledge, names)
    }

    #[test]
    fn what_retention_has_taken_is_unknown_and_not_missing() {
        let (mut knowledge, names) = known();
        knowledge.is_complete = true;
        assert_eq!(knowledge.without_record(&names, 0, None), None);
        knowledge.cut.insert((1, 0), 100);
        let retention = Some(Unknown::Retention);
        assert_eq!(knowledge.without_record(&names, 0, None), retention);
        // What is newer than all that was taken is known, and so is the newest of the same partition.
        assert_eq!(knowledge.other(0, &entry(0, 99)), retention);
        assert_eq!(knowledge.other(0, &entry(0, 100)), None);
        assert_eq!(knowledge.other(0, &entry(1, 99)), None);
        // Another collection's topics say nothing of this one.
        knowledge.cut = BTreeMap::from([((9, 0), u64::MAX)]);
        assert_eq!(knowledge.absent(0, &entry(0, 5)), None);
        knowledge.cut = BTreeMap::from([((2, 0), 6)]);
        assert_eq!(knowledge.absent(0, &entry(0, 5)), retention);
        assert_eq!(knowledge.other(0, &entry(0, 5)), None);
    }

    #[test]
    fn only_what_the_stream_must_have_seen_is_missing() {
        let (mut knowledge, mut names) = known();
        knowledge.began = Some(1_000);
        let never = Some(Unknown::NeverSeen);
        let id = |seconds: u32| {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&seconds.to_be_bytes());
            Bson::ObjectId(bson::oid::ObjectId::from_bytes(bytes))
        };
        assert_eq!(knowledge.without_record(&names, 0, None), never);
        assert_eq!(knowledge.without_record(&names, 0, Some(&id(1_299))), never);
        assert_eq!(knowledge.without_record(&names, 0, Some(&id(1_300))), None);
        let orders = names.get(0).clone();
        names.define(7, super::super::names::Definition::Drop(orders));
        names.settle();
        assert_eq!(knowledge.without_record(&names, 0, None), None);
        let (mut knowledge, names) = known();
        knowledge.snapshots.insert(0, 7);
        assert_eq!(knowledge.without_record(&names, 0, None), None);
        // What came behind its rows, from where nobody has looked, is not theirs.
        let (mut knowledge, mut names) = known();
        let orders = names.get(0).clone();
        let staging = Namespace {
            collection: "staging".into(),
            ..orders.clone()
        };
        names.define(9, super::super::names::Definition::Rename(staging, orders));
        names.settle();
        for (last, expected) in [(8, Some(Unknown::Renamed)), (9, None)] {
            knowledge.snapshots.insert(0, last);
            assert_eq!(
                knowledge.without_record(&names, 0, None),
                expected,
                "{last}"
            );
        }
    }

    #[test]
    fn a_collection_that_is_gone_is_told_only_by_events_about_collections() {
        let (mut knowledge, _) = known();
        assert_eq!(knowledge.absent(0, &entry(0, 5)), None);
        knowledge.definitions = None;
        assert_eq!(knowledge.absent(0, &entry(0, 5)), Some(Unknown::Dropped));
        knowledge.present.insert(0);
        assert_eq!(knowledge.absent(0, &entry(0, 5)), None);
    }
}
