//! The collections that are there and whose changes are wanted.

use super::filter::Filter;
use crate::change::event::Event;
use crate::change::namespace::Namespace;
use crate::config::Scope;
use bson::{Document, doc};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::Client;

/// How many databases are asked side by side.
const AT_ONCE: usize = 8;

/// Something that is there under a name of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub namespace: Namespace,
    /// Views and time-series collections have no changes of their own.
    pub has_changes: bool,
}

/// The collections that a stream of this scope and filter would have changes of, as far as this user may see
/// them. Names alone: no collection is opened for it.
///
/// # Errors
/// The driver's, when a list may not be read.
pub async fn watched(
    client: &Client,
    scope: &Scope,
    filter: &Filter,
) -> mongodb::error::Result<Vec<Namespace>> {
    let found = found(client, scope, filter).await?.into_iter();
    let found = found.filter(|found| found.has_changes);
    Ok(found.map(|found| found.namespace).collect())
}

/// The same with what has no changes of its own.
///
/// # Errors
/// As [`watched`].
pub async fn found(
    client: &Client,
    scope: &Scope,
    filter: &Filter,
) -> mongodb::error::Result<Vec<Found>> {
    let databases = match scope {
        Scope::Database(name) => vec![name.clone()],
        Scope::Deployment { .. } => {
            let names = client
                .list_database_names()
                .authorized_databases(true)
                .await?;
            let wanted = names.into_iter();
            wanted
                .filter(|name| filter.watches_database(name))
                .collect()
        }
    };
    let lists = futures_util::stream::iter(databases)
        .map(async |database| {
            let found = found_in(client, &database).await?;
            let watched = found.into_iter();
            let watched = watched.filter(|found| filter.has_changes_of(&found.namespace));
            Ok::<_, mongodb::error::Error>(watched.collect::<Vec<_>>())
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>();
    Ok(lists.await?.into_iter().flatten().collect())
}

/// What is behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Collection,
    /// A view, or a time-series collection: what it is, for people.
    Without(String),
    Absent,
}

/// What is behind a name.
///
/// # Errors
/// The driver's, when the list may not be read.
pub async fn kind(client: &Client, at: &Namespace) -> mongodb::error::Result<Kind> {
    let list = doc! {
        "listCollections": 1, "filter": {"name": &at.collection}, "nameOnly": true, "authorizedCollections": true,
        "cursor": {},
    };
    let listed: Vec<Document> = client
        .database(&at.database)
        .run_cursor_command(list)
        .await?
        .try_collect()
        .await?;
    Ok(match listed.first() {
        None => Kind::Absent,
        Some(listed) => match listed.get_str("type").unwrap_or("collection") {
            "collection" => Kind::Collection,
            "timeseries" => Kind::Without("time-series collection".to_owned()),
            other => Kind::Without(other.to_owned()),
        },
    })
}

async fn found_in(client: &Client, database: &str) -> mongodb::error::Result<Vec<Found>> {
    let list =
        doc! {"listCollections": 1, "nameOnly": true, "authorizedCollections": true, "cursor": {}};
    let listed: Vec<Document> = client
        .database(database)
        .run_cursor_command(list)
        .await?
        .try_collect()
        .await?;
    let found = listed.iter().filter_map(|listed| {
        Some(Found {
            namespace: Namespace {
                database: database.to_owned(),
                collection: listed.get_str("name").ok()?.to_owned(),
            },
            has_changes: listed.get_str("type").unwrap_or("collection") == "collection",
        })
    });
    Ok(found.collect())
}

impl Filter {
    /// Whether records are made of this collection's changes.
    fn has_changes_of(&self, found: &Namespace) -> bool {
        let Namespace {
            database,
            collection,
        } = found;
        self.watches(database, collection)
            && !self.leaves_out(&Event::about("insert", database, collection))
    }

    /// The operations whose events may come: those of documents that are wanted, then the others.
    pub fn operations(&self) -> Vec<&'static str> {
        let documents = ["insert", "update", "replace", "delete"].into_iter();
        let mut operations: Vec<_> = documents
            .filter(|operation| !self.unwanted.contains(operation))
            .collect();
        operations.extend(["drop", "rename", "dropDatabase"]);
        if self.expanded {
            operations.extend(["create", "createIndexes", "dropIndexes", "modify"]);
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::filter::tests::source;

    #[test]
    fn only_collections_that_records_come_of_count() {
        let filter = Filter::new(&source(&[], &["*_log"], &[]), &[]);
        let counts = |collection: &str| {
            filter.has_changes_of(&Namespace {
                database: "shop".into(),
                collection: collection.into(),
            })
        };
        assert!(counts("orders") && counts("tmp"));
        for name in [
            "audit_log",
            "system.views",
            "tmp.agg_out.1",
            "enxcol_.a.esc",
        ] {
            assert!(!counts(name), "{name}");
        }
        let named = Filter::new(&source(&["tmp.agg_out.*"], &[], &[]), &[]);
        assert!(named.has_changes_of(&Namespace {
            database: "shop".into(),
            collection: "tmp.agg_out.1".into(),
        }));
    }

    #[test]
    fn operations_that_are_not_wanted_are_left_out() {
        let all = Filter::new(&source(&[], &[], &[]), &[]);
        assert_eq!(all.operations().len(), 7);
        let mut wanted = source(&[], &[], &["insert"]);
        let few = Filter::new(&wanted, &[]);
        assert_eq!(
            few.operations(),
            ["insert", "drop", "rename", "dropDatabase"]
        );
        wanted.show_expanded_events = true;
        let expanded = Filter::new(&wanted, &[]);
        assert!(expanded.operations().contains(&"createIndexes"));
    }
}
