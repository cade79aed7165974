//! What a checkpoint says of the filter it was made under, and what to say when another is in force.

use super::Filter;
use serde::{Deserialize, Serialize};

/// The filter in words: JSON, so that it can be read back, with its lists in order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) databases: Vec<String>,
    /// Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) watch: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) own: Vec<String>,
    /// Document operations that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) expanded: bool,
    /// A hash: the stages themselves may hold values that belong in no checkpoint and no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,
}

/// What is different between the filter of a checkpoint and the one in force, as a sentence for a
/// warning; `None` when they are equal or the checkpoint does not say.
pub(crate) fn describe_change(stored: &Filter, current: &Filter) -> Option<String> {
    if stored.fingerprint.is_empty() || stored.fingerprint == current.fingerprint {
        return None;
    }
    let start = "the filter is not the one the checkpoint was made under";
    let parsed = serde_json::from_str::<Summary>(&stored.summary)
        .and_then(|old| Ok((old, serde_json::from_str::<Summary>(&current.summary)?)));
    let Ok((old, new)) = parsed else {
        return Some(format!("{start}; what it watched then cannot be read"));
    };
    let mut changes = Vec::new();
    let mut change = |what: &str, names: &[String]| {
        if !names.is_empty() {
            changes.push(format!("{what} {}", list(names)));
        }
    };
    if old.watch.is_empty() != new.watch.is_empty() {
        match new.watch.is_empty() {
            true => change("all collections instead of", &old.watch),
            false => change("instead of all collections only", &new.watch),
        }
    } else {
        change("now also watched:", &less(&new.watch, &old.watch));
        change("no longer watched:", &less(&old.watch, &new.watch));
    }
    change(
        "databases now also watched:",
        &less(&new.databases, &old.databases),
    );
    change(
        "databases no longer watched:",
        &less(&old.databases, &new.databases),
    );
    change("no longer excluded:", &less(&old.exclude, &new.exclude));
    change("now excluded:", &less(&new.exclude, &old.exclude));
    change("Tailwater's own, now excluded:", &less(&new.own, &old.own));
    change("no longer Tailwater's own:", &less(&old.own, &new.own));
    change(
        "operations now also watched:",
        &less(&old.without, &new.without),
    );
    change(
        "operations no longer watched:",
        &less(&new.without, &old.without),
    );
    match (old.expanded, new.expanded) {
        (false, true) => changes.push("expanded events are now shown".into()),
        (true, false) => changes.push("expanded events are no longer shown".into()),
        _ => {}
    }
    if old.pipeline != new.pipeline {
        changes.push("CHANGE_STREAM_PIPELINE is another".into());
    }
    if old.scope != new.scope {
        changes.push(format!("{} is watched instead of {}", new.scope, old.scope));
    }
    Some(format!(
        "{start} ({}); the stream goes on from the checkpoint, and what is new has no records of \
         changes before it",
        changes.join("; ")
    ))
}

fn less(these: &[String], those: &[String]) -> Vec<String> {
    these
        .iter()
        .filter(|name| !those.contains(name))
        .cloned()
        .collect()
}

/// Names for a sentence: a list of hundreds is cut.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}
