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
    /// Collections of the servers' own that are asked for by name, beside `watch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) internal: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) own: Vec<String>,
    /// Document operations that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) expanded: bool,
    /// Where the listeners are; they change what takes a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listeners: Option<String>,
    /// Whether the configuration's own topics get records, too; of a stream with listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beside_topics: Option<bool>,
    /// A hash: the stages themselves may hold values that belong in no checkpoint and no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pipeline: Option<String>,
}

/// What is different between the filter of a checkpoint and the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterChange {
    pub sentence: String,
    /// Whether the new filter may let through what the old one did not: of that, no earlier change has a record.
    pub adds: bool,
}

impl FilterChange {
    fn new(what: &str, adds: bool) -> Self {
        let missing = match adds {
            true => "; earlier changes of what was added have no records",
            false => "",
        };
        Self {
            sentence: format!(
                "the filter is not the one the checkpoint was made under ({what}); the stream resumes at the \
                 checkpoint{missing}"
            ),
            adds,
        }
    }
}

/// What is different between the filter of a checkpoint and the one in force; `None` when they are equal or
/// the checkpoint does not say.
pub(crate) fn describe_change(stored: &Filter, current: &Filter) -> Option<FilterChange> {
    if stored.fingerprint.is_empty() || stored.fingerprint == current.fingerprint {
        return None;
    }
    let parsed = serde_json::from_str::<Summary>(&stored.summary)
        .and_then(|old| Ok((old, serde_json::from_str::<Summary>(&current.summary)?)));
    let Ok((old, new)) = parsed else {
        return Some(FilterChange::new("what it watched cannot be read", true));
    };
    let (mut changes, mut adds) = (Vec::new(), false);
    let mut change = |is_new: bool, what: &str, names: &[String]| {
        if !names.is_empty() {
            changes.push(format!("{what} {}", list(names)));
            adds |= is_new;
        }
    };
    if old.watch.is_empty() != new.watch.is_empty() {
        match new.watch.is_empty() {
            true => change(true, "all collections instead of", &old.watch),
            false => change(false, "instead of all collections only", &new.watch),
        }
    } else {
        change(true, "now also watched:", &less(&new.watch, &old.watch));
        change(false, "no longer watched:", &less(&old.watch, &new.watch));
    }
    change(
        true,
        "now also watched:",
        &less(&new.internal, &old.internal),
    );
    change(
        false,
        "no longer watched:",
        &less(&old.internal, &new.internal),
    );
    for (more, fewer, old, new) in [
        (
            "databases now also watched:",
            "databases no longer watched:",
            &old.databases,
            &new.databases,
        ),
        (
            "operations now also watched:",
            "operations no longer watched:",
            &new.without,
            &old.without,
        ),
    ] {
        change(true, more, &less(new, old));
        change(false, fewer, &less(old, new));
    }
    let excluded = [(&old.exclude, &new.exclude), (&old.own, &new.own)];
    for ((old, current), (more, fewer)) in excluded.into_iter().zip(EXCLUDED) {
        // Where the new filter names what it watches, exclusions of other things have only become needless.
        let ended = less(old, current);
        let is_watched = ended.iter().any(|name| may_watch(&new.watch, name));
        change(is_watched, more, &ended);
        change(false, fewer, &less(current, old));
    }
    match (old.expanded, new.expanded) {
        (false, true) => {
            changes.push("expanded events are now shown".into());
            adds = true;
        }
        (true, false) => changes.push("expanded events are no longer shown".into()),
        _ => {}
    }
    if (&old.listeners, old.beside_topics) != (&new.listeners, new.beside_topics) {
        changes.push(match (&old.listeners, &new.listeners) {
            (_, None) => "there are no listeners any more".into(),
            (None, Some(at)) => format!("listeners are now in {at}"),
            (Some(_), Some(at)) => {
                format!("listeners are in {at}, and other topics get records beside them or not")
            }
        });
        adds = true;
    }
    if old.pipeline != new.pipeline {
        changes.push("CHANGE_STREAM_PIPELINE is another".into());
        // What it lets through cannot be compared, but without one nothing is held back.
        adds |= old.pipeline.is_some();
    }
    if old.scope != new.scope {
        changes.push(format!("{} is watched instead of {}", new.scope, old.scope));
        adds = true;
    }
    Some(FilterChange::new(&changes.join("; "), adds))
}

/// What is said when exclusions end, and when they begin: the user's, and Tailwater's own.
const EXCLUDED: [(&str, &str); 2] = [
    ("no longer excluded:", "now excluded:"),
    (
        "no longer Tailwater's own:",
        "Tailwater's own, now excluded:",
    ),
];

/// Whether a filter that watches `watch` (all, where it is empty) may watch something of this name or pattern.
fn may_watch(watch: &[String], name: &str) -> bool {
    let is_pattern = |text: &str| text.contains(['*', '?']);
    watch.is_empty()
        || is_pattern(name)
        || watch
            .iter()
            .any(|watched| is_pattern(watched) || watched == name)
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
