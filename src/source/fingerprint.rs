//! What a checkpoint remembers of the filter, and what to say when it has changed.
//!
//! The fingerprint covers everything that changes which events the server sends, because the
//! stream's sequence numbers count those; images and formats are not part of it.

use super::filter::{Filter, Namespaces};
use crate::checkpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The filter in words: JSON, so that it can be read back, with its lists in order.
#[derive(Debug, Serialize, Deserialize)]
struct Summary {
    scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    databases: Vec<String>,
    /// Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    watch: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own: Vec<String>,
    /// Document operations that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expanded: bool,
    /// A hash: the stages themselves may hold values that belong in no checkpoint and no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
}

impl Filter {
    /// What a checkpoint stores of this filter.
    pub fn identity(&self) -> checkpoint::Filter {
        let mut pipeline = Hash::default();
        for stage in &self.user_pipeline {
            // A stage that was read from JSON can be written as BSON.
            pipeline.update(&stage.to_vec().unwrap_or_default());
        }
        let summary = Summary {
            scope: self.scope.clone(),
            databases: self
                .databases
                .iter()
                .flatten()
                .map(|p| p.as_str().to_owned())
                .collect(),
            watch: texts(&self.watch),
            exclude: texts(&self.exclude),
            own: texts(&self.own),
            without: self.unwanted.iter().map(|op| (*op).to_owned()).collect(),
            expanded: self.expanded,
            pipeline: (!self.user_pipeline.is_empty()).then(|| pipeline.hex()),
        };
        // Strings, lists and a flag always serialize.
        let summary = serde_json::to_string(&summary).unwrap_or_default();
        let mut hash = Hash::default();
        hash.update(summary.as_bytes());
        checkpoint::Filter {
            fingerprint: hash.hex(),
            summary,
        }
    }
}

fn texts(patterns: &BTreeSet<Namespaces>) -> Vec<String> {
    let text = |name: &Namespaces| match &name.database {
        Some(database) => format!("{}.{}", database.as_str(), name.collection.as_str()),
        None => name.collection.as_str().to_owned(),
    };
    patterns.iter().map(text).collect()
}

/// FNV-1a, 64 bits: the same on every machine and in every version, and no secret depends on it.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn hex(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// What is different between the filter of a checkpoint and the one in force, as a sentence for a
/// warning; `None` when they are equal or the checkpoint does not say.
pub fn describe_change(
    stored: &checkpoint::Filter,
    current: &checkpoint::Filter,
) -> Option<String> {
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
pub(super) fn list(names: &[String]) -> String {
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

#[cfg(test)]
mod tests {
    use crate::config::Scope;
    use crate::source::filter::tests::{deployment, mongo, own};
    use crate::source::{Filter, describe_change};
    use bson::doc;

    fn said(old: &crate::config::Mongo, new: &crate::config::Mongo) -> Option<String> {
        let identity = |mongo| Filter::new(mongo, &own()).identity();
        describe_change(&identity(old), &identity(new))
    }

    #[test]
    fn filters_that_let_the_same_through_have_one_fingerprint() {
        let base = mongo(&["a", "b", "log_*"], &["x", "y"], &["insert", "delete"]);
        let other = mongo(
            &["log_**", "b", "a", "a"],
            &["y", "x"],
            &["delete", "insert"],
        );
        assert_eq!(said(&base, &other), None);
        assert_eq!(said(&mongo(&["*"], &[], &[]), &mongo(&[], &[], &[])), None);
        let every = ["insert", "update", "replace", "delete"];
        assert_eq!(
            said(&mongo(&["a"], &[], &every), &mongo(&["a"], &["b"], &[])),
            None
        );
        assert_eq!(
            said(&mongo(&["a", "b"], &["b"], &[]), &mongo(&["a"], &[], &[])),
            None
        );
    }

    #[test]
    fn images_are_no_part_of_the_fingerprint() {
        let mut images = mongo(&["a"], &[], &[]);
        images.full_document = crate::config::FullDocument::Default;
        images.pre_images = crate::config::PreImages::Required;
        assert_eq!(said(&mongo(&["a"], &[], &[]), &images), None);
    }

    #[test]
    fn the_warning_names_what_is_new() {
        let base = mongo(&["a", "b"], &[], &["insert"]);
        let sentence = said(&base, &mongo(&["a", "c"], &[], &["insert", "update"])).unwrap();
        assert!(sentence.contains("now also watched: c"), "{sentence}");
        assert!(sentence.contains("no longer watched: b"), "{sentence}");
        assert!(
            sentence.contains("operations now also watched: update"),
            "{sentence}"
        );

        let sentence = said(&base, &mongo(&[], &["z"], &["insert"])).unwrap();
        assert!(
            sentence.contains("all collections instead of a, b"),
            "{sentence}"
        );
        assert!(sentence.contains("now excluded: z"), "{sentence}");

        let sentence = said(&deployment(&["a"], &[]), &deployment(&["a", "b*"], &[])).unwrap();
        assert!(
            sentence.contains("databases now also watched: b*"),
            "{sentence}"
        );
    }

    #[test]
    fn the_users_stages_scope_and_expanded_events_count() {
        let base = mongo(&["a"], &[], &[]);
        let mut staged = base.clone();
        staged.user_pipeline = vec![doc! {"$match": {"fullDocument.card": "4111"}}];
        let sentence = said(&base, &staged).unwrap();
        assert!(sentence.contains("CHANGE_STREAM_PIPELINE"), "{sentence}");
        assert!(
            !Filter::new(&staged, &[])
                .identity()
                .summary
                .contains("4111")
        );

        let mut expanded = base.clone();
        expanded.show_expanded_events = true;
        assert!(
            said(&base, &expanded)
                .unwrap()
                .contains("expanded events are now shown")
        );

        let mut moved = base.clone();
        moved.scope = Scope::Database("other".into());
        assert!(
            said(&base, &moved)
                .unwrap()
                .contains("other is watched instead of shop")
        );
    }

    #[test]
    fn a_long_list_is_cut_and_an_unreadable_summary_is_said_to_be_one() {
        let names: Vec<String> = (0..300).map(|n| format!("c{n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sentence = said(&mongo(&["a"], &[], &[]), &mongo(&names, &[], &[])).unwrap();
        assert!(sentence.contains("c019 and 280 more"), "{sentence}");

        let current = Filter::new(&mongo(&["a"], &[], &[]), &[]).identity();
        let old = crate::checkpoint::Filter {
            fingerprint: "1".into(),
            summary: "?".into(),
        };
        assert!(
            describe_change(&old, &current)
                .unwrap()
                .contains("cannot be read")
        );
        assert_eq!(
            describe_change(&crate::checkpoint::Filter::default(), &current),
            None
        );
    }
}
