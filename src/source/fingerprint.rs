//! What a checkpoint remembers of the filter.
//!
//! The fingerprint covers everything that changes which events are wanted, here or by the server, because
//! the stream's sequence numbers count those; images and formats are not part of it.

use super::filter::{Filter, Namespaces};
use crate::checkpoint::{self, filter::Summary};
use std::collections::BTreeSet;

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
            internal: texts(&self.internal.difference(&self.watch).cloned().collect()),
            exclude: texts(&self.exclude),
            own: texts(&self.own),
            without: self.unwanted.iter().map(|op| (*op).to_owned()).collect(),
            expanded: self.expanded,
            listeners: self.listeners.as_ref().map(|(at, _)| at.to_string()),
            beside_topics: self.listeners.as_ref().map(|(_, beside)| *beside),
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
    patterns.iter().map(Namespaces::text).collect()
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

#[cfg(test)]
mod tests {
    use crate::checkpoint::filter::describe_change;
    use crate::config::Scope;
    use crate::source::Filter;
    use crate::source::filter::tests::{deployment, own, source};
    use bson::doc;

    fn said(old: &crate::config::Source, new: &crate::config::Source) -> Option<String> {
        let identity = |source| Filter::new(source, &own()).identity();
        describe_change(&identity(old), &identity(new)).map(|change| change.sentence)
    }

    fn adds(old: &crate::config::Source, new: &crate::config::Source) -> bool {
        let identity = |source| Filter::new(source, &own()).identity();
        describe_change(&identity(old), &identity(new))
            .unwrap()
            .adds
    }

    /// Of what is no longer watched nothing is missing: that is no warning.
    #[test]
    fn only_a_filter_that_lets_more_through_adds_something() {
        let (wide, narrow) = (
            source(&["a", "b"], &[], &[]),
            source(&["a"], &[], &["insert"]),
        );
        assert!(!adds(&wide, &narrow));
        assert!(adds(&narrow, &wide));
        assert!(!said(&wide, &narrow).unwrap().contains("added"));
        assert_eq!(said(&narrow, &wide).unwrap().matches("added").count(), 1);
        let all = source(&[], &[], &[]);
        assert!(!adds(&all, &wide) && adds(&wide, &all));
        let without = source(&[], &["z"], &[]);
        assert!(!adds(&all, &without) && adds(&without, &all));
        let mut staged = all.clone();
        staged.user_pipeline = vec![doc! {"$match": {"operationType": "insert"}}];
        let mut other = all.clone();
        other.user_pipeline = vec![doc! {"$match": {"operationType": "delete"}}];
        assert!(!adds(&all, &staged) && adds(&staged, &all) && adds(&staged, &other));
        let mut expanded = all.clone();
        expanded.show_expanded_events = true;
        assert!(adds(&all, &expanded) && !adds(&expanded, &all));
    }

    #[test]
    fn filters_that_let_the_same_through_have_one_fingerprint() {
        let base = source(&["a", "b", "log_*"], &["x", "y"], &["insert", "delete"]);
        let other = source(
            &["log_**", "b", "a", "a"],
            &["y", "x"],
            &["delete", "insert"],
        );
        assert_eq!(said(&base, &other), None);
        assert_eq!(
            said(&source(&["*"], &[], &[]), &source(&[], &[], &[])),
            None
        );
        let every = ["insert", "update", "replace", "delete"];
        assert_eq!(
            said(&source(&["a"], &[], &every), &source(&["a"], &["b"], &[])),
            None
        );
        assert_eq!(
            said(&source(&["a", "b"], &["b"], &[]), &source(&["a"], &[], &[])),
            None
        );
    }

    #[test]
    fn images_are_no_part_of_the_fingerprint() {
        let mut images = source(&["a"], &[], &[]);
        images.full_document = crate::config::FullDocument::Default;
        images.pre_images = crate::config::PreImages::Required;
        assert_eq!(said(&source(&["a"], &[], &[]), &images), None);
    }

    #[test]
    fn the_warning_names_what_is_new() {
        let base = source(&["a", "b"], &[], &["insert"]);
        let sentence = said(&base, &source(&["a", "c"], &[], &["insert", "update"])).unwrap();
        assert!(sentence.contains("now also watched: c"), "{sentence}");
        assert!(sentence.contains("no longer watched: b"), "{sentence}");
        assert!(
            sentence.contains("operations now also watched: update"),
            "{sentence}"
        );

        let sentence = said(&base, &source(&[], &["z"], &["insert"])).unwrap();
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
        let base = source(&["a"], &[], &[]);
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
        let sentence = said(&source(&["a"], &[], &[]), &source(&names, &[], &[])).unwrap();
        assert!(sentence.contains("c019 and 280 more"), "{sentence}");

        let current = Filter::new(&source(&["a"], &[], &[]), &[]).identity();
        let old = crate::checkpoint::Filter {
            fingerprint: "1".into(),
            summary: "?".into(),
        };
        assert!(
            describe_change(&old, &current)
                .unwrap()
                .sentence
                .contains("cannot be read")
        );
        assert_eq!(
            describe_change(&crate::checkpoint::Filter::default(), &current),
            None
        );
    }
}
