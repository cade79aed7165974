//! What a filter lets through, for a person.

use super::filter::{DOCUMENT_OPERATIONS, Filter, Namespaces};
use super::pattern::Pattern;
use std::collections::BTreeSet;

impl Filter {
    /// What is watched, such as `database shop: all collections but audit; only insert, delete`. User stages are
    /// counted and not told: they may hold values of documents.
    pub fn in_words(&self) -> String {
        if self.watches_nothing() {
            return format!(
                "{}: no collection, all that are named are excluded",
                self.where_from()
            );
        }
        let excluded = listed(&self.exclude);
        let collections = match (self.watch.len(), excluded.is_empty()) {
            (0, true) => "all collections".to_owned(),
            (0, false) => format!("all collections but {excluded}"),
            (1, true) if self.watch.iter().all(Namespaces::is_literal) => {
                format!("collection {}", listed(&self.watch))
            }
            (_, true) => format!("collections {}", listed(&self.watch)),
            (_, false) => format!("collections {}, but not {excluded}", listed(&self.watch)),
        };
        let mut words = format!("{}: {collections}", self.where_from());
        if !self.unwanted.is_empty() {
            let wanted = DOCUMENT_OPERATIONS.into_iter();
            let wanted: Vec<_> = wanted
                .filter(|name| !self.unwanted.contains(name))
                .collect();
            words += &format!("; only {}", wanted.join(", "));
        }
        match self.user_pipeline.len() {
            0 => {}
            1 => words += "; as one stage of CHANGE_STREAM_PIPELINE lets through",
            count => words += &format!("; as {count} stages of CHANGE_STREAM_PIPELINE let through"),
        }
        match &self.listeners {
            None => {}
            Some((at, true)) => words += &format!("; and what listeners in {at} want"),
            Some((at, false)) => words += &format!("; of this, what listeners in {at} want"),
        }
        words
    }

    fn where_from(&self) -> String {
        let Some(databases) = &self.databases else {
            return format!("database {}", self.scope);
        };
        let names: Vec<_> = databases.iter().map(Pattern::as_str).collect();
        match names.as_slice() {
            _ if databases.iter().any(Pattern::is_any) => "all databases".to_owned(),
            [only] if databases.iter().all(Pattern::is_literal) => format!("database {only}"),
            names => format!("databases {}", names.join(", ")),
        }
    }
}

fn listed(patterns: &BTreeSet<Namespaces>) -> String {
    let texts: Vec<_> = patterns.iter().map(Namespaces::text).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::source::filter::tests::{deployment, own, source};
    use bson::doc;

    #[test]
    fn a_person_can_read_what_is_watched() {
        let mut staged = source(&[], &[], &[]);
        staged.user_pipeline = vec![doc! {"$match": {"fullDocument.card": "4111"}}];
        for (source, words) in [
            (source(&[], &[], &[]), "database shop: all collections"),
            (
                source(&["users"], &[], &[]),
                "database shop: collection users",
            ),
            (
                source(&["users", "a*"], &["ab"], &["delete", "insert"]),
                "database shop: collections a*, users, but not ab; only insert, delete",
            ),
            (
                source(&[], &["audit", "tmp_*"], &[]),
                "database shop: all collections but audit, tmp_*",
            ),
            (
                source(&["a"], &["a"], &[]),
                "database shop: no collection, all that are named are excluded",
            ),
            (
                staged,
                "database shop: all collections; as one stage of CHANGE_STREAM_PIPELINE lets through",
            ),
            (deployment(&["*"], &[]), "all databases: all collections"),
            (
                Source {
                    exclude: vec!["x.b".into(), "y".into()],
                    ..deployment(&["work_*", "x"], &["x.*"])
                },
                "databases work_*, x: collections x.*, but not x.b, y.*",
            ),
        ] {
            let said = Filter::new(&source, &own()).in_words();
            assert_eq!(said, words);
        }
    }
}
