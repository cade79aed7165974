//! Snapshots.

use crate::config::check::{Check, parse_bytes};
use crate::config::shown::quote;
use crate::config::{
    Listeners, OnHistoryLost, Pipeline, RowOperation, Snapshot, SnapshotMode, SnapshotRate, Topics,
    table,
};
use bson::Document;
use std::collections::BTreeMap;

/// `is_qualified` says whether collections are named with their databases.
pub(super) fn snapshot(
    check: &mut Check<'_>,
    is_qualified: bool,
    topics: &Topics,
    listeners: Option<&Listeners>,
    pipeline: &mut Pipeline,
) -> Snapshot {
    let modes = [
        ("never", SnapshotMode::Never),
        ("initial", SnapshotMode::Initial),
        ("when_needed", SnapshotMode::WhenNeeded),
        ("only", SnapshotMode::Only),
    ];
    let operations = [
        ("read", RowOperation::Read),
        ("insert", RowOperation::Insert),
    ];
    let preferences = [
        ("primary", "primary"),
        ("primaryPreferred", "primaryPreferred"),
        ("secondary", "secondary"),
        ("secondaryPreferred", "secondaryPreferred"),
        ("nearest", "nearest"),
    ];
    let mode = check
        .choose(&table::SNAPSHOT, &modes)
        .unwrap_or(SnapshotMode::Never);
    if mode == SnapshotMode::WhenNeeded {
        when_needed(check, pipeline);
    }
    let is_wanted =
        mode != SnapshotMode::Never || pipeline.on_history_lost == OnHistoryLost::Snapshot;
    let has_topic =
        topics.rows.is_some() || listeners.is_none_or(|listeners| listeners.beside_topics);
    if is_wanted && !has_topic {
        check.wrong(
            &table::SNAPSHOT_TOPIC,
            "is not set, and with LISTENERS_COLLECTION alone the rows of a snapshot have no topic; set it, or one \
             of the topics of changes",
        );
    }
    Snapshot {
        mode,
        collections: collections(check, is_qualified),
        filters: filters(check, is_qualified),
        is_qualified,
        parallelism: check.number(&table::SNAPSHOT_PARALLELISM).unwrap_or(1),
        chunk_bytes: check.bytes(&table::SNAPSHOT_CHUNK_BYTES),
        rate: rate(check),
        read_preference: check.choose(&table::SNAPSHOT_READ_PREFERENCE, &preferences),
        operation: check
            .choose(&table::SNAPSHOT_OPERATION, &operations)
            .unwrap_or(RowOperation::Read),
    }
}

/// A snapshot is what `when_needed` does about lost history.
fn when_needed(check: &mut Check<'_>, pipeline: &mut Pipeline) {
    let is_given = check.given(&table::ON_HISTORY_LOST).is_some();
    if is_given && pipeline.on_history_lost != OnHistoryLost::Snapshot {
        check.wrong(
            &table::ON_HISTORY_LOST,
            "SNAPSHOT=when_needed takes a snapshot when history is lost; leave ON_HISTORY_LOST out, or set SNAPSHOT \
             to initial",
        );
    }
    pipeline.on_history_lost = OnHistoryLost::Snapshot;
}

fn collections(check: &mut Check<'_>, is_qualified: bool) -> Vec<String> {
    let variable = &table::SNAPSHOT_COLLECTIONS;
    let names = check.list(variable);
    if is_qualified && let Some(name) = names.iter().find(|name| !name.contains(['.', '*'])) {
        let sentence = format!(
            "{name} names no database; give database.collection, since several databases are watched"
        );
        check.wrong(variable, sentence);
    }
    names
}

fn filters(check: &mut Check<'_>, is_qualified: bool) -> BTreeMap<String, Document> {
    let variable = &table::SNAPSHOT_FILTER;
    let Some(text) = check.given(variable) else {
        return BTreeMap::new();
    };
    if check.refuse_uri(variable) {
        return BTreeMap::new();
    }
    // The parser's message quotes the value.
    let filters: BTreeMap<String, Document> = match serde_json::from_str(text) {
        Ok(filters) => filters,
        Err(error) => {
            let sentence = match error.classify() {
                serde_json::error::Category::Data => {
                    "is no object of queries; give one, such as {\"orders\":{\"status\":\"open\"}}"
                        .to_owned()
                }
                _ => format!(
                    "is no JSON (at line {}, column {}); give an object of queries by collection, in a .env file in \
                     single quotes",
                    error.line(),
                    error.column()
                ),
            };
            check.wrong(variable, sentence);
            return BTreeMap::new();
        }
    };
    if let Some(name) = filters
        .keys()
        .find(|name| name.contains('*') || name.is_empty() || (is_qualified && !name.contains('.')))
    {
        let right = match is_qualified {
            true => "database.collection",
            false => "the name of a collection",
        };
        check.wrong(
            variable,
            format!(
                "{} names no collection; each query stands under {right}",
                quote(name)
            ),
        );
    }
    filters
}

/// `10MiB`, `5000docs`, or both separated by a comma.
fn rate(check: &mut Check<'_>) -> SnapshotRate {
    let variable = &table::SNAPSHOT_RATE_LIMIT;
    let mut rate = SnapshotRate::default();
    let Some(text) = check.given(variable) else {
        return rate;
    };
    if check.refuse_uri(variable) {
        return rate;
    }
    for part in text.split(',').map(str::trim) {
        let lower = part.to_ascii_lowercase();
        let lower = lower.strip_suffix("/s").unwrap_or(&lower);
        let documents = ["documents", "docs", "rows"]
            .iter()
            .find_map(|unit| lower.strip_suffix(unit));
        let is_right = match documents {
            Some(number) => {
                rate.documents = number.trim().parse().ok().filter(|number| *number > 0);
                rate.documents.is_some()
            }
            // A bare number could be either.
            None if lower.bytes().all(|byte| byte.is_ascii_digit()) => false,
            None => {
                rate.bytes = parse_bytes(lower, 1024, u64::MAX).ok();
                rate.bytes.is_some()
            }
        };
        if !is_right {
            let sentence = format!("{} is no rate; {}", quote(part), variable.right());
            check.wrong(variable, sentence);
        }
    }
    rate
}
