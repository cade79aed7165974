//! What a consumer makes of the topics that follows drops and renames too: written for the tests alone, and not as
//! `tailwater verify` does it.

use super::{contents, is_row, text};
use crate::support::{Database, Record};
use bson::Document;
use std::collections::{BTreeMap, BTreeSet};

/// By collection and `_id`, the last number of its records, and the document.
pub(super) type Fold = BTreeMap<String, BTreeMap<String, (u64, Option<Document>)>>;

pub(super) fn fold(records: &[Record]) -> Fold {
    // Of the same number, first the event itself, then rows behind it.
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| (record.seq(), is_row(record)));
    let mut fold = Fold::new();
    for record in records {
        let collection = record.value["collection"].as_str();
        // None of a database that was dropped.
        let collection = collection.unwrap_or_default().to_owned();
        match record.value["operationType"].as_str().unwrap() {
            "drop" => clear(&mut fold, &collection),
            "dropDatabase" => {
                let all: Vec<_> = fold.keys().cloned().collect();
                for collection in all {
                    clear(&mut fold, &collection);
                }
            }
            "rename" => {
                let to = record.value["to"]["collection"].as_str().unwrap();
                clear(&mut fold, to);
                let moved = fold.get(&collection).cloned().unwrap_or_default();
                clear(&mut fold, &collection);
                let there = fold.entry(to.to_owned()).or_default();
                for (id, (seq, document)) in moved {
                    let before = there.get(&id).map_or(0, |(before, _)| *before);
                    there.insert(id, (seq.max(before), document));
                }
            }
            "insert" | "update" | "replace" | "delete" | "read" => {
                take(fold.entry(collection).or_default(), record);
            }
            _ => {}
        }
    }
    fold
}

fn clear(fold: &mut Fold, collection: &str) {
    for (_, document) in fold.entry(collection.to_owned()).or_default().values_mut() {
        *document = None;
    }
}

fn take(there: &mut BTreeMap<String, (u64, Option<Document>)>, record: &Record) {
    let id = record.key["_id"].to_string();
    let seq = record.seq();
    if there.get(&id).is_some_and(|(last, _)| seq <= *last) {
        return;
    }
    let whole = record.value["fullDocument"].as_object().cloned();
    let document = whole.map(|whole| Document::try_from(whole).unwrap());
    there.insert(id, (seq, document));
}

pub(super) async fn assert_equal(fold: &Fold, db: &Database, collection: &str) {
    let there = contents(db, collection).await;
    let known = fold.get(collection).into_iter().flatten();
    let mut known: Vec<_> = known
        .filter_map(|(_, (_, document))| document.as_ref().map(text))
        .collect();
    known.sort();
    let lacking: Vec<_> = there
        .iter()
        .filter(|one| !known.contains(one))
        .take(3)
        .collect();
    let strange: Vec<_> = known
        .iter()
        .filter(|one| !there.contains(one))
        .take(3)
        .collect();
    assert!(
        known == there,
        "{collection}: {} there, {} by the records; lacking {lacking:#?}; strange {strange:#?}",
        there.len(),
        known.len()
    );
}

/// How often rows came.
pub(super) struct Chunks {
    pub(super) snapshots: usize,
    pub(super) rows: usize,
    pub(super) again: u64,
}

impl Chunks {
    pub(super) fn of(records: &[Record], collections: &[&str]) -> Self {
        let of = |record: &&Record| {
            let collection = record.value["collection"].as_str().unwrap_or_default();
            is_row(record) && collections.contains(&collection)
        };
        let rows: Vec<_> = records.iter().filter(of).collect();
        let snapshots: BTreeSet<_> = rows.iter().map(|row| row.header("tw-snapshot")).collect();
        let distinct: BTreeSet<_> = rows.iter().map(|row| row.header("tw-id")).collect();
        Self {
            snapshots: snapshots.len(),
            rows: rows.len(),
            again: (rows.len() - distinct.len()) as u64,
        }
    }
}
