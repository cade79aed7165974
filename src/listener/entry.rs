//! One whole document of the collection, of either kind: for those who write listeners and want to hear everything
//! that is wrong. A stream asks less: what it does not know is the users' own.

use super::definition::{Definition, Problem, told};
use super::document::{id_text, plain};
use super::fields::{self, Kind};
use super::settings::Settings;
use crate::config::{covers, nearest_of};
use crate::status::listeners::State;
use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use sha2::{Digest, Sha256};

/// What a document is.
#[derive(Debug)]
pub enum Entry {
    Listener(Box<Definition>),
    Database(Settings),
}

/// What no two documents have in common.
const IDENTITY: [&str; 4] = ["database", "collection", "jobName", "documentKey"];

/// What a document is by its `kind`.
///
/// # Errors
/// Where that is neither of the two.
pub fn kind_of(document: &Document) -> Result<Kind, Problem> {
    match document.get("kind") {
        None | Some(Bson::Null) => Ok(Kind::Listener),
        Some(Bson::String(kind)) if kind == "listener" => Ok(Kind::Listener),
        Some(Bson::String(kind)) if kind == "database" => Ok(Kind::Database),
        Some(_) => Err(Problem {
            field: "kind",
            sentence: "is neither \"listener\" nor \"database\"".to_owned(),
        }),
    }
}

/// Whether a document is the settings of a database.
pub fn is_of_database(document: &Document) -> bool {
    kind_of(document) == Ok(Kind::Database)
}

/// Reads a document of either kind.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read(document: &Document) -> Result<Entry, Vec<Problem>> {
    let kind = kind_of(document).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let read = match kind {
        Kind::Listener => Definition::read(document).map(|read| Entry::Listener(Box::new(read))),
        Kind::Database => Settings::read(document).map(Entry::Database),
    };
    problems.extend(misspelt(document, kind));
    match read {
        Ok(entry) if problems.is_empty() => Ok(entry),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
    }
}

/// A field that is probably meant for us. Others are the users' own.
fn misspelt(document: &Document, kind: Kind) -> Vec<Problem> {
    let names = || fields::of(kind).map(|field| field.name);
    let mut problems = Vec::new();
    for name in document.keys() {
        if names().any(|known| known == name) {
            continue;
        }
        let sentence = match (kind, name.as_str()) {
            (Kind::Listener, "enabled") => {
                "enabled is of a database; a listener has isActive".into()
            }
            (Kind::Database, "isActive") => {
                "isActive is of a listener; a database has enabled".into()
            }
            _ => match nearest_of(name, names()) {
                Some(meant) => format!("{name} is no field; did you mean {meant}?"),
                None => continue,
            },
        };
        let field = "";
        problems.push(Problem { field, sentence });
    }
    problems
}

/// The query that finds the document with the same identity.
pub fn identity(document: &Document) -> Document {
    let value = |field: &str| document.get(field).cloned().unwrap_or(Bson::Null);
    if is_of_database(document) {
        return doc! {"kind": "database", "database": {"$eq": value("database")}};
    }
    let mut query = doc! {"kind": {"$ne": "database"}};
    for field in IDENTITY {
        query.insert(field, doc! {"$eq": value(field)});
    }
    query
}

/// The `_id` of one that is created without: always the same for the same identity, so that two who create it at
/// once create one.
pub fn id_of(document: &Document) -> Bson {
    if let Some(id) = document.get("_id") {
        return id.clone();
    }
    let bytes = normal(&identity(document)).to_vec().unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    let mut id = [0; 12];
    id.copy_from_slice(&digest[..12]);
    ObjectId::from_bytes(id).into()
}

/// A document's `_id` as text; empty where it has none.
pub fn name(document: &Document) -> String {
    document.get("_id").map(id_text).unwrap_or_default()
}

/// What the document says, and whether that is right.
pub fn state(document: &Document) -> State {
    match read(document) {
        Ok(Entry::Listener(listener)) if listener.is_active => State::Active,
        Ok(Entry::Listener(_)) => State::Disabled,
        Ok(Entry::Database(settings)) if settings.enabled == Some(false) => State::Disabled,
        Ok(Entry::Database(_)) => State::Active,
        Err(problems) => State::Invalid(told(&problems)),
    }
}

/// Why a listener's topic is none of these patterns; without patterns it is not known which are allowed.
pub fn not_allowed(entry: &Entry, topics: &[String]) -> Option<Problem> {
    let Entry::Listener(listener) = entry else {
        return None;
    };
    let shape = listener.topic.with_wildcards();
    let is_allowed = topics.is_empty() || topics.iter().any(|pattern| covers(pattern, &shape));
    (!is_allowed).then(|| Problem {
        field: "topic",
        sentence: format!(
            "{} is none that listeners may name; LISTENERS_TOPICS allows {}",
            listener.topic_text,
            topics.join(", ")
        ),
    })
}

/// What a person calls it.
pub fn title(document: &Document) -> String {
    let text = |field: &str| plain(document.get_str(field).unwrap_or("?"));
    if is_of_database(document) {
        return format!("database {}", text("database"));
    }
    let collection = text("collection");
    let at = match document.get_str("database") {
        Ok(database) => format!("{}.{collection}", plain(database)),
        Err(_) => collection,
    };
    let key = document
        .get("documentKey")
        .filter(|key| **key != Bson::Null);
    let key = key.map(|key| format!(" of {}", id_text(key)));
    format!("{at} -> {}{}", text("jobName"), key.unwrap_or_default())
}

/// A document to compare by: without fields that are null, whole numbers in the smallest type.
pub fn normal(document: &Document) -> Document {
    let there = document.iter().filter(|(_, value)| **value != Bson::Null);
    there
        .map(|(name, value)| (name.clone(), normal_value(value)))
        .collect()
}

fn normal_value(value: &Bson) -> Bson {
    match value {
        Bson::Int64(number) => i32::try_from(*number).map_or(Bson::Int64(*number), Bson::Int32),
        Bson::Document(inner) => {
            let inner = inner
                .iter()
                .map(|(name, value)| (name.clone(), normal_value(value)));
            Bson::Document(inner.collect())
        }
        Bson::Array(list) => Bson::Array(list.iter().map(normal_value).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(document: Document) -> String {
        told(&read(&document).unwrap_err())
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let all = problems(doc! {
            "colection": "a", "operationType": "upsert", "isActive": 1, "filter": {"$where": "1"}, "enabled": true,
        });
        for part in [
            "did you mean collection",
            "collection: is missing",
            "jobName",
            "upsert",
            "isActive",
            "$where",
            "enabled is of",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(problems(doc! {"kind": "room"}).contains("kind: is neither"));
        assert!(
            problems(doc! {"kind": "database", "isActive": true}).contains("database has enabled")
        );
        let own = doc! {"collection": "a", "jobName": "b", "__v": 3, "team": "x"};
        assert!(matches!(read(&own), Ok(Entry::Listener(_))));
    }

    #[test]
    fn the_same_identity_has_the_same_id() {
        let (one, same) = (
            doc! {"collection": "a", "jobName": "b", "documentKey": 1_i64},
            doc! {"jobName": "b", "collection": "a", "documentKey": 1, "filter": {}},
        );
        assert_eq!(id_of(&one), id_of(&same));
        assert_ne!(
            id_of(&one),
            id_of(&doc! {"collection": "a", "jobName": "b"})
        );
        assert_eq!(id_of(&doc! {"_id": 7}), Bson::Int32(7));
        assert_eq!(title(&one), "a -> b of 1");
    }
}
