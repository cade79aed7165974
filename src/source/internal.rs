//! Collections that servers make for themselves within a user's database: left out unless they are named.
//!
//! This is decided here and not by the server. A stage that lets nearly everything through costs it time
//! for each event, and a `$match` that is not the one a checkpoint was made under would be another filter.

use super::filter::{Filter, Namespaces};
use crate::change::event::{Event, Operation, is_internal};
use crate::config::{Scope, Source};
use std::collections::BTreeSet;

/// Those of `WATCH_COLLECTIONS` that name such collections: what stands before the first `*` says it.
pub(super) fn named(source: &Source, parse: impl Fn(&str) -> Namespaces) -> BTreeSet<Namespaces> {
    let is_meant = |text: &&String| {
        let collection = match &source.scope {
            Scope::Database(_) => text.as_str(),
            Scope::Deployment { .. } => text.split_once('.').map_or("", |(_, name)| name),
        };
        collection.starts_with("tmp") || collection.starts_with("enxcol_.")
    };
    let meant = source.watch.iter().filter(is_meant);
    meant.map(|text| parse(text)).collect()
}

impl Filter {
    /// Whether no record is made of an event that the server sends by this filter: it is about what
    /// servers keep for themselves. A rename is not: it brings a result in.
    #[inline]
    pub fn leaves_out(&self, event: &Event<'_>) -> bool {
        if event.operation == Operation::Rename {
            return false;
        }
        let (database, collection) = (event.database, event.collection);
        // A stream of a whole database has no filter of ours at the server.
        collection.starts_with("system.")
            || self.is_of_leases(database)
            || (is_internal(collection)
                && !self
                    .internal
                    .iter()
                    .any(|name| name.matches(database, collection)))
    }
}

#[cfg(test)]
mod tests {
    use crate::change::event::Event;
    use crate::checkpoint::filter::describe_change;
    use crate::source::Filter;
    use crate::source::filter::tests::{deployment, source};
    use bson::{RawDocumentBuf, doc};

    fn leaves_out(filter: &Filter, collection: &str, operation: &str) -> bool {
        let raw = RawDocumentBuf::try_from(&doc! {
            "_id": {"_data": "82"}, "operationType": operation,
            "ns": {"db": "shop", "coll": collection}, "to": {"db": "shop", "coll": "report"},
        })
        .unwrap();
        filter.leaves_out(&Event::parse(raw.as_bytes()).unwrap())
    }

    const OUT: &str = "tmp.agg_out.2f0b1c5e-58a0-4b1e-9e0a-1f2d3c4b5a69";

    #[test]
    fn what_servers_make_for_themselves_is_left_out_and_a_rename_out_of_it_is_not() {
        let filter = Filter::new(&source(&[], &[], &[]), &[]);
        for operation in ["insert", "create", "createIndexes", "drop"] {
            assert!(leaves_out(&filter, OUT, operation), "{operation}");
            assert!(!leaves_out(&filter, "report", operation), "{operation}");
        }
        assert!(!leaves_out(&filter, OUT, "rename"));
        assert!(!leaves_out(&filter, "", "dropDatabase"));
    }

    #[test]
    fn they_are_carried_where_they_are_named_and_the_server_is_asked_for_the_same() {
        for watch in [
            &["tmp.agg_out.*"][..],
            &["*", "tmp.agg_out.*"],
            &[OUT],
            &["tmp*"],
        ] {
            let filter = Filter::new(&source(watch, &[], &[]), &[]);
            assert!(!leaves_out(&filter, OUT, "insert"), "{watch:?}");
        }
        for watch in [&["*"][..], &["t*"], &["*.agg_out.*"], &["enxcol_.*"]] {
            let filter = Filter::new(&source(watch, &[], &[]), &[]);
            assert!(leaves_out(&filter, OUT, "insert"), "{watch:?}");
        }
        let one = Filter::new(&deployment(&["*"], &["shop.tmp.*"]), &[]);
        let other = Filter::new(&deployment(&["*"], &["other.tmp.*"]), &[]);
        assert!(!leaves_out(&one, OUT, "insert") && leaves_out(&other, OUT, "insert"));

        // Which events have numbers is another matter, which a checkpoint remembers.
        let (all, both) = (source(&[], &[], &[]), source(&["*", "tmp.*"], &[], &[]));
        let (all, both) = (Filter::new(&all, &[]), Filter::new(&both, &[]));
        assert!(all.stages().is_empty() && both.stages().is_empty());
        let change = describe_change(&all.identity(), &both.identity()).unwrap();
        assert!(
            change.sentence.contains("now also watched: tmp.*"),
            "{change:?}"
        );
    }
}
