//! Which changes are wanted: as stages for the server, and the same decision in this process.
//!
//! The server filters, so that what is not wanted never crosses the wire. `ns.coll` with `$in` is
//! compared because the server turns that into a cheap condition on the oplog entry itself; a
//! pattern becomes an anchored regular expression. Exclude beats watch, `system.*` and Tailwater's
//! own collections never count, and a rename is wanted when either of its names is.

use super::internal;
use super::listeners;
use super::pattern::{self, Pattern};
use super::user_stages;
use crate::change::event::{Event, Operation};
use crate::change::namespace::Namespace;
use crate::change::raw;
use crate::config::{Resume, ResumeBackend, Scope, Source, StreamSpec};
use bson::{Bson, Document, doc};
use std::collections::{BTreeMap, BTreeSet};

/// Databases of the server itself: never watched.
const INTERNAL: [&str; 3] = ["admin", "config", "local"];

/// The operations that `WATCH_OPERATIONS` chooses from.
pub(super) const DOCUMENT_OPERATIONS: [&str; 4] = ["insert", "update", "replace", "delete"];

/// A compiled filter. Immutable; reopening a stream uses the same one.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Patterns of databases; `None` when the stream is of one database.
    pub(super) databases: Option<BTreeSet<Pattern>>,
    /// The watched database, or `*`.
    pub(super) scope: String,
    /// Empty: everything.
    pub(super) watch: BTreeSet<Namespaces>,
    pub(super) exclude: BTreeSet<Namespaces>,
    /// Tailwater's own collections, excluded as well.
    pub(super) own: BTreeSet<Namespaces>,
    /// The database with the leases. No part of the identity: what is in it was never wanted.
    leases: Option<String>,
    /// Document operations that are not wanted. Whatever is no document operation always passes.
    pub(super) unwanted: BTreeSet<&'static str>,
    pub(super) expanded: bool,
    /// Collections of the servers' own that are watched by name; no part of what the server is asked.
    pub(super) internal: BTreeSet<Namespaces>,
    pub(super) user_pipeline: Vec<Document>,
    /// Where the listeners are, and whether the configuration's own topics get records beside them.
    pub(super) listeners: Option<(Namespace, bool)>,
    /// The database, where the stream is of the deployment only for the sake of listeners that are elsewhere.
    pub(super) only: Option<String>,
}

/// A pattern of namespaces; `database` is `None` when the stream is of one database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Namespaces {
    pub(super) database: Option<Pattern>,
    pub(super) collection: Pattern,
}

impl Namespaces {
    fn of_collection(text: &str) -> Self {
        Self {
            database: None,
            collection: Pattern::new(text),
        }
    }

    /// `db.collection`; a database's name holds no dot. Without a dot: the whole database.
    fn of_namespace(text: &str) -> Self {
        let (database, collection) = text.split_once('.').unwrap_or((text, "*"));
        Self {
            database: Some(Pattern::new(database)),
            collection: Pattern::new(collection),
        }
    }

    fn in_database(&self, database: &str) -> bool {
        self.database
            .as_ref()
            .is_none_or(|pattern| pattern.matches(database))
    }

    pub(super) fn matches(&self, database: &str, collection: &str) -> bool {
        self.in_database(database) && self.collection.matches(collection)
    }

    /// As it is configured.
    pub(super) fn text(&self) -> String {
        match &self.database {
            Some(database) => format!("{}.{}", database.as_str(), self.collection.as_str()),
            None => self.collection.as_str().to_owned(),
        }
    }

    pub(super) fn is_literal(&self) -> bool {
        self.database.as_ref().is_none_or(Pattern::is_literal) && self.collection.is_literal()
    }

    fn is_any(&self) -> bool {
        self.database.as_ref().is_none_or(Pattern::is_any) && self.collection.is_any()
    }
}

/// The collections, as (database, collection), that Tailwater writes itself: its changes to them
/// would come back as events for ever.
pub fn own_collections(resume: &Resume) -> Vec<(String, String)> {
    match &resume.backend {
        ResumeBackend::MongoDb {
            database,
            collection,
            ..
        } => vec![(database.clone(), collection.clone())],
        ResumeBackend::Kafka { .. } | ResumeBackend::File { .. } => Vec::new(),
    }
}

impl Filter {
    /// The filter of a stream: what its own topics get.
    pub fn of(stream: &StreamSpec) -> Self {
        Self::new(&stream.source, &own_collections(&stream.resume))
    }

    /// What listeners may have of a stream, and what the server is asked for where there are some: all that is not
    /// excluded. Without listeners as [`of`](Self::of).
    pub fn of_listeners(stream: &StreamSpec) -> Self {
        let mut source = stream.source.clone();
        if source.listeners.is_some() {
            source.watch.clear();
            source.operations.clear();
        }
        Self::new(&source, &own_collections(&stream.resume))
    }

    /// Compiles the lists. `own` are the collections, as (database, collection), that Tailwater
    /// itself writes.
    pub fn new(source: &Source, own: &[(String, String)]) -> Self {
        let (databases, parse): (_, fn(&str) -> Namespaces) = match &source.scope {
            Scope::Database(_) => (None, Namespaces::of_collection),
            Scope::Deployment { databases } => {
                let patterns = databases.iter().map(|text| Pattern::new(text)).collect();
                (Some(patterns), Namespaces::of_namespace)
            }
        };
        let of_listeners = source.listeners.as_ref().map(|listeners| &listeners.at);
        let of_listeners = of_listeners.map(|at| (at.database.clone(), at.collection.clone()));
        let of_schedules = source.schedules.as_ref();
        let of_schedules = of_schedules.map(|at| (at.database.clone(), at.collection.clone()));
        let of_workers = source.of_workers.iter();
        let of_workers: Vec<_> = of_workers
            .map(|at| (at.database.clone(), at.collection.clone()))
            .collect();
        let own = own
            .iter()
            .chain(&of_listeners)
            .chain(&of_schedules)
            .chain(&of_workers)
            .filter_map(|(database, collection)| match &source.scope {
                // A `*` in such a name would exclude too much, which beats feeding on itself.
                Scope::Database(watched) => {
                    (watched == database).then(|| Namespaces::of_collection(collection))
                }
                Scope::Deployment { .. } => Some(Namespaces {
                    database: Some(Pattern::new(database)),
                    collection: Pattern::new(collection),
                }),
            })
            .collect();
        let wanted = |operation: &&str| source.operations.iter().any(|name| name == operation);
        let mut filter = Self {
            databases,
            scope: source.scope.name().to_owned(),
            watch: source.watch.iter().map(|text| parse(text)).collect(),
            exclude: source.exclude.iter().map(|text| parse(text)).collect(),
            own,
            leases: source.lease_database.clone(),
            unwanted: match source.operations.as_slice() {
                [] => BTreeSet::new(),
                _ => DOCUMENT_OPERATIONS
                    .into_iter()
                    .filter(|op| !wanted(op))
                    .collect(),
            },
            expanded: source.show_expanded_events,
            internal: internal::named(source, parse),
            user_pipeline: source.user_pipeline.clone(),
            listeners: source
                .listeners
                .as_ref()
                .map(|listeners| (listeners.at.clone(), listeners.beside_topics)),
            only: source.only().map(str::to_owned),
        };
        filter.reduce();
        filter
    }

    /// Brings filters that mean the same to one form, which is also the cheapest for the server:
    /// a list of plain names needs no exclusions, they are taken out of it here.
    fn reduce(&mut self) {
        if self.watch.is_empty() {
            return;
        }
        if self.watch.iter().all(Namespaces::is_literal) {
            let wanted = self.watch.iter().filter(|name| {
                let database = name.database.as_ref().map_or("", Pattern::as_str);
                self.watches(database, name.collection.as_str())
            });
            self.watch = wanted.cloned().collect();
            if self.watch.is_empty() {
                // No name is left, which must not come to mean every name.
                self.watch.insert(Namespaces {
                    database: self.databases.as_ref().map(|_| Pattern::new("")),
                    collection: Pattern::new(""),
                });
            }
            self.exclude.clear();
            self.own.clear();
        } else if self.watch.iter().any(Namespaces::is_any) {
            self.watch.clear();
        }
    }

    /// Whether no collection can match: every watched name is excluded as well.
    pub fn watches_nothing(&self) -> bool {
        !self.watch.is_empty()
            && self
                .watch
                .iter()
                .all(|name| name.collection.as_str().is_empty())
    }

    /// Whether collections are chosen by name or pattern, and not simply all of them.
    pub fn names_collections(&self) -> bool {
        !self.watch.is_empty()
    }

    /// Whether changes of this collection are wanted.
    pub fn watches(&self, database: &str, collection: &str) -> bool {
        // An expanded event may be about no collection; no pattern speaks of it then.
        let any = |patterns: &BTreeSet<Namespaces>| {
            !collection.is_empty() && patterns.iter().any(|p| p.matches(database, collection))
        };
        self.watches_database(database)
            && !collection.starts_with("system.")
            && (self.watch.is_empty() || any(&self.watch))
            && !any(&self.exclude)
            && !any(&self.own)
    }

    /// Whether a stream of the deployment looks at this database at all.
    pub fn watches_database(&self, database: &str) -> bool {
        if let Some(only) = &self.only {
            return only == database;
        }
        self.databases.as_ref().is_none_or(|patterns| {
            !INTERNAL.contains(&database)
                && !self.is_of_leases(database)
                && patterns.iter().any(|p| p.matches(database))
        })
    }

    /// Whether the database holds leases, which say nothing of anybody's data.
    #[inline]
    pub(super) fn is_of_leases(&self, database: &str) -> bool {
        self.leases.as_deref() == Some(database)
    }

    /// Decides as the server's `$match` does. The user's own stages are not looked at.
    pub fn matches(&self, event: &Event<'_>) -> bool {
        match event.operation {
            Operation::Invalidate => true,
            Operation::DropDatabase => {
                self.watches_database(event.database)
                    && (self.databases.is_none()
                        || self.watch.is_empty()
                        || self
                            .watch
                            .iter()
                            .any(|name| name.in_database(event.database)))
            }
            Operation::Rename => {
                let to = |name| {
                    event
                        .rename_to
                        .and_then(|to| raw::find(to, name).ok().flatten()?.as_str())
                };
                !event.collection.starts_with("system.")
                    && (self.watches(event.database, event.collection)
                        || to("db")
                            .zip(to("coll"))
                            .is_some_and(|(db, coll)| self.watches(db, coll)))
            }
            _ => {
                !self.unwanted.contains(event.operation_name)
                    && self.watches(event.database, event.collection)
            }
        }
    }

    /// Whether an event of a stream that listeners change is for this filter: the server sends more by then.
    #[inline]
    pub fn takes(&self, event: &Event<'_>) -> bool {
        self.matches(event) && !self.leaves_out(event)
    }

    /// The stages after `$changeStream`: the filter, then the user's own.
    ///
    /// None where all of one database is wanted: servers leave `system.*` out of such a stream by
    /// themselves, the pump does so again, and even a filter that lets everything through costs the
    /// server time for each event.
    pub fn stages(&self) -> Vec<Document> {
        if self.user_pipeline.is_empty() {
            return self.own_stages();
        }
        let mut stages = vec![doc! {"$match": self.condition()}];
        let at = self.listeners.as_ref().map(|(at, _)| at);
        let user_stages = self.user_pipeline.iter();
        stages.extend(user_stages.map(|stage| user_stages::mended(stage, at)));
        stages
    }

    /// The filter without the user's own stages.
    pub fn own_stages(&self) -> Vec<Document> {
        if self.is_everything() && self.unwanted.is_empty() && !self.expanded {
            return Vec::new();
        }
        vec![doc! {"$match": self.condition()}]
    }

    /// Whether every collection of one database is wanted.
    fn is_everything(&self) -> bool {
        self.databases.is_none()
            && self.listeners.is_none()
            && self.watch.is_empty()
            && self.exclude.is_empty()
            && self.own.is_empty()
    }

    /// What the server is asked for: what is wanted, and all changes of listeners.
    fn condition(&self) -> Document {
        let Some((at, _)) = &self.listeners else {
            return self.wanted();
        };
        let mut branches = vec![self.scoped()];
        branches.extend(listeners::changes(at));
        doc! {"$or": branches}
    }

    /// What is wanted, of a stream that is of the deployment only for the listeners' sake as well.
    pub(super) fn scoped(&self) -> Document {
        match &self.only {
            None => self.wanted(),
            Some(only) => {
                let into = doc! {"operationType": "rename", "to.db": only};
                doc! {"$and": [{"$or": [{"ns.db": only}, into]}, self.wanted()]}
            }
        }
    }

    fn wanted(&self) -> Document {
        let mut condition = Document::new();
        if !self.unwanted.is_empty() {
            let unwanted: Vec<&str> = self.unwanted.iter().copied().collect();
            condition.insert("operationType", doc! {"$nin": unwanted});
        }
        if self.is_everything() {
            // Also matches events without `ns.coll`: dropDatabase and invalidate.
            condition.insert("ns.coll", doc! {"$not": pattern::system()});
            return condition;
        }
        let mut into = doc! {"operationType": "rename", "ns.coll": {"$not": pattern::system()}};
        into.extend(self.namespace("to"));
        let mut branches = vec![self.namespace("ns"), into];
        if self.databases.is_none() {
            branches.push(doc! {"operationType": {"$in": ["dropDatabase", "invalidate"]}});
        } else {
            let mut dropped = doc! {"operationType": "dropDatabase", "ns.db": self.database()};
            if !self.watch.is_empty() {
                let named = self
                    .watch
                    .iter()
                    .filter_map(|name| name.database.as_ref()?.to_bson());
                dropped.insert("$or", [doc! {"ns.db": {"$in": named.collect::<Vec<_>>()}}]);
            }
            branches.push(dropped);
            branches.push(doc! {"operationType": "invalidate"});
        }
        condition.insert("$or", branches);
        condition
    }

    /// The condition that the namespace under `field` (`ns` or `to`) is watched.
    fn namespace(&self, field: &str) -> Document {
        let (db, coll) = (format!("{field}.db"), format!("{field}.coll"));
        let only_names = !self.watch.is_empty() && self.watch.iter().all(Namespaces::is_literal);
        if self.databases.is_none() {
            let mut condition = Document::new();
            if !self.watch.is_empty() {
                condition.insert("$in", names(&self.watch));
            }
            if !only_names {
                let mut excluded = names(&self.exclude);
                excluded.extend(names(&self.own));
                excluded.push(pattern::system());
                condition.insert("$nin", excluded);
            }
            return doc! {coll: condition};
        }
        let mut condition = Document::new();
        if !only_names {
            condition.insert(db.as_str(), self.database());
            condition.insert(coll.as_str(), doc! {"$not": pattern::system()});
            let excluded: BTreeSet<_> = self.exclude.union(&self.own).cloned().collect();
            if !excluded.is_empty() {
                condition.insert("$nor", grouped(&excluded, &db, &coll));
            }
        }
        if !self.watch.is_empty() {
            condition.insert("$or", grouped(&self.watch, &db, &coll));
        }
        condition
    }

    /// The condition on a database's name in a stream of the deployment.
    fn database(&self) -> Document {
        let patterns = self.databases.iter().flatten();
        let mut left_out = INTERNAL.to_vec();
        left_out.extend(self.leases.as_deref());
        let mut condition = doc! {"$nin": left_out};
        if !patterns.clone().any(Pattern::is_any) {
            condition.insert(
                "$in",
                patterns.filter_map(Pattern::to_bson).collect::<Vec<_>>(),
            );
        }
        condition
    }
}

fn names(patterns: &BTreeSet<Namespaces>) -> Vec<Bson> {
    patterns
        .iter()
        .filter_map(|name| name.collection.to_bson())
        .collect()
}

/// `db` and `coll` conditions, one for all databases that share their collections: hundreds of
/// alternatives have slowed servers below their own write rate.
fn grouped(patterns: &BTreeSet<Namespaces>, db: &str, coll: &str) -> Vec<Document> {
    let mut collections: BTreeMap<&Pattern, BTreeSet<&Pattern>> = BTreeMap::new();
    for name in patterns {
        if let Some(database) = &name.database {
            collections
                .entry(database)
                .or_default()
                .insert(&name.collection);
        }
    }
    let mut databases: BTreeMap<BTreeSet<&Pattern>, Vec<&Pattern>> = BTreeMap::new();
    for (database, collections) in collections {
        databases.entry(collections).or_default().push(database);
    }
    let list = |patterns: &mut dyn Iterator<Item = &Pattern>| -> Vec<Bson> {
        patterns.filter_map(Pattern::to_bson).collect()
    };
    databases
        .iter()
        .map(|(collections, databases)| {
            let mut condition = Document::new();
            if !databases.iter().any(|database| database.is_any()) {
                condition.insert(db, doc! {"$in": list(&mut databases.iter().copied())});
            }
            condition.insert(coll, doc! {"$in": list(&mut collections.iter().copied())});
            condition
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
