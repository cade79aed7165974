//! What it takes to bring the collection to what a file says, and doing it: each listener by itself, and only while it
//! is still as it was seen.

use super::collection::{collection, failed};
use super::create::{Created, create};
use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::listener::file::Item;
use crate::listener::{entry, fields, handler};
use crate::mongo::errors::{Stage, is_duplicate};
use bson::{Bson, DateTime, Document, doc};
use mongodb::Client;

/// What is to become of one document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Create(Document),
    /// What was seen, and the fields that change: to a value, or away.
    Change {
        seen: Document,
        fields: Vec<(String, Option<Bson>)>,
    },
    Unchanged(Document),
    /// It is in no file.
    Delete(Document),
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Created,
    Changed,
    Deleted,
    Unchanged,
    /// Somebody has changed it since it was seen: nothing was done.
    Overtaken,
    /// Another one has the identity that it would get: nothing was done.
    Taken,
}

/// The fields of a document that a file says.
pub fn of_file(document: &Document) -> Document {
    let fields = entry::normal(document).into_iter();
    fields.filter(|(name, _)| is_of_file(name)).collect()
}

/// Whether a file says a field. One whose name an update would take for something else stays as it is.
fn is_of_file(name: &str) -> bool {
    !fields::WRITTEN.contains(&name) && !name.contains('.') && !name.starts_with('$')
}

/// What is to be done; the documents that no file has are deleted only where `prune` says so.
pub fn plan(there: &[Document], items: &[Item], prune: bool) -> Vec<Change> {
    let mut left: Vec<_> = there.iter().collect();
    let mut changes = Vec::new();
    for item in items {
        let wanted = &item.document;
        let by_id = |seen: &&Document| {
            wanted
                .get("_id")
                .is_some_and(|id| Some(id) == of_file(seen).get("_id"))
        };
        let identity = entry::identity(wanted);
        let by_identity = |seen: &&Document| entry::identity(&of_file(seen)) == identity;
        let found = left
            .iter()
            .position(by_id)
            .or_else(|| left.iter().position(by_identity));
        let Some(found) = found else {
            changes.push(Change::Create(wanted.clone()));
            continue;
        };
        let seen = left.remove(found);
        let mut wanted = wanted.clone();
        handler::restore(&mut wanted, seen);
        let fields = difference(&of_file(seen), &wanted);
        changes.push(match fields.is_empty() {
            true => Change::Unchanged(seen.clone()),
            false => Change::Change {
                seen: seen.clone(),
                fields,
            },
        });
    }
    if prune {
        changes.extend(left.into_iter().cloned().map(Change::Delete));
    }
    changes
}

/// The fields that differ. The `_id` never does: it cannot be changed.
pub fn difference(seen: &Document, wanted: &Document) -> Vec<(String, Option<Bson>)> {
    // By their bytes: the order of a filter's fields counts, too.
    let bytes = |value: &Bson| doc! {"": value}.to_vec().ok();
    let set = wanted
        .iter()
        .filter(|(name, value)| seen.get(name.as_str()).map(bytes) != Some(bytes(value)));
    let set = set.map(|(name, value)| (name.clone(), Some(value.clone())));
    let unset = seen
        .keys()
        .filter(|name| !wanted.contains_key(name.as_str()));
    let unset = unset.map(|name| (name.clone(), None));
    set.chain(unset).filter(|(name, _)| name != "_id").collect()
}

/// The query that finds a document only while all that its users write is as it was seen.
fn as_seen(seen: &Document) -> Document {
    let mut query = Document::new();
    for field in fields::ALL.iter().map(|field| field.name) {
        if !fields::OWN.contains(&field) && !seen.contains_key(field) {
            query.insert(field, doc! {"$exists": false});
        }
    }
    for (name, value) in seen {
        if is_of_file(name) || name == "updatedAt" {
            query.insert(name.clone(), doc! {"$eq": value.clone()});
        }
    }
    query
}

impl Change {
    /// Does it.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn apply(&self, client: &Client, at: &Namespace) -> Result<Done, Error> {
        let collection = collection(client, at);
        let failed = |error: mongodb::error::Error| {
            failed(
                "changing a listener",
                "update and remove",
                at,
                Stage::Starting,
                &error,
            )
        };
        match self {
            Self::Unchanged(_) => Ok(Done::Unchanged),
            Self::Create(document) => Ok(match create(client, at, document).await? {
                Created::New(_) => Done::Created,
                Created::Kept(_) => Done::Overtaken,
            }),
            Self::Change { seen, fields } => {
                let mut set = doc! {"updatedAt": DateTime::now()};
                let mut unset = Document::new();
                for (name, value) in fields {
                    match value {
                        Some(value) => set.insert(name, value.clone()),
                        None => unset.insert(name, ""),
                    };
                }
                let mut update = doc! {"$set": set};
                if !unset.is_empty() {
                    update.insert("$unset", unset);
                }
                match collection.update_one(as_seen(seen), update).await {
                    Ok(updated) if updated.matched_count == 0 => Ok(Done::Overtaken),
                    Ok(_) => Ok(Done::Changed),
                    Err(error) if is_duplicate(&error) => Ok(Done::Taken),
                    Err(error) => Err(failed(error)),
                }
            }
            Self::Delete(seen) => {
                let deleted = collection.delete_one(as_seen(seen)).await.map_err(failed)?;
                Ok(match deleted.deleted_count {
                    0 => Done::Overtaken,
                    _ => Done::Deleted,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::file;
    use std::path::Path;

    #[test]
    fn only_what_a_file_says_is_compared() {
        let there = [
            doc! {"_id": 1, "collection": "a", "jobName": "a", "filter": {"n": 1_i64}, "status": {"x": 1}, "createdAt": 3},
            doc! {"_id": 2, "collection": "b", "jobName": "b", "priority": 1, "database": null},
            doc! {"_id": 3, "collection": "c", "jobName": "c"},
        ];
        let text = r#"[{"collection": "a", "jobName": "a", "filter": {"n": 1}},
            {"collection": "b", "jobName": "b", "isActive": false}, {"collection": "d", "jobName": "d"}]"#;
        let items = file::read(Path::new("l.json"), text).unwrap();
        let planned = plan(&there, &items, true);
        let change = Change::Change {
            seen: there[1].clone(),
            fields: vec![
                ("isActive".into(), Some(false.into())),
                ("priority".into(), None),
            ],
        };
        let create = Change::Create(doc! {"collection": "d", "jobName": "d"});
        let (same, gone) = (
            Change::Unchanged(there[0].clone()),
            Change::Delete(there[2].clone()),
        );
        assert_eq!(planned, [same, change, create, gone]);
        assert_eq!(plan(&there, &items, false).len(), 3);
    }

    /// Applying again must come to an end, whatever is in the documents.
    #[test]
    fn a_number_that_is_none_is_no_change_and_the_order_of_a_filter_is_one() {
        let there = [
            doc! {"_id": 1, "collection": "a", "jobName": "a", "filter": {"n": f64::NAN}, "a.b": 1, "$c": 2},
            doc! {"_id": 2, "collection": "b", "jobName": "b", "filter": {"n": {"x": 1, "y": 2}}},
        ];
        let text = r#"[{"collection": "a", "jobName": "a", "filter": {"n": {"$numberDouble": "NaN"}}},
            {"collection": "b", "jobName": "b", "filter": {"n": {"y": 2, "x": 1}}}]"#;
        let items = file::read(Path::new("l.json"), text).unwrap();
        let planned = plan(&there, &items, true);
        assert_eq!(planned.len(), 2);
        assert!(matches!(planned[0], Change::Unchanged(_)), "{planned:?}");
        assert!(matches!(planned[1], Change::Change { .. }), "{planned:?}");
        let names: Vec<_> = as_seen(&there[0]).keys().cloned().collect();
        assert!(!names.contains(&"a.b".to_owned()) && !names.contains(&"$c".to_owned()));
    }
}
