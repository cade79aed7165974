//! Listeners in a file: YAML or JSON, with Extended JSON for the types that neither has.

mod text;

pub use text::value;

use super::definition::Problem;
use super::entry::{self, Entry};
use super::fields;
use bson::{Bson, Document};
use std::fmt;
use std::path::Path;

/// One document of a file, checked.
#[derive(Debug)]
pub struct Item {
    /// Where it is: `listeners[2]`.
    pub place: String,
    /// What is to be in the collection: without what whoever writes it sets.
    pub document: Document,
    pub entry: Entry,
}

/// What is wrong with a file, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which document; empty for the file as a whole.
    pub place: String,
    pub sentence: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.is_empty() {
            true => f.write_str(&self.sentence),
            false => write!(f, "{}: {}", self.place, self.sentence),
        }
    }
}

/// Reads a file's text; its name says whether that is JSON. Otherwise it is YAML, which JSON is as well.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn read(path: &Path, text: &str) -> Result<Vec<Item>, Vec<Wrong>> {
    let whole = value(path, text).map_err(|sentence| vec![wrong("", sentence)])?;
    let mut problems = Vec::new();
    let found = listed(whole, &mut problems);
    let mut items: Vec<Item> = Vec::new();
    for (place, document) in found {
        let document = match document {
            Bson::Document(document) => stripped(document),
            _ => {
                problems.push(wrong(&place, "is no object; give a listener's fields"));
                continue;
            }
        };
        match entry::read(&document) {
            Ok(entry) => {
                if let Some(other) = items.iter().find(|item| is_same(&item.document, &document)) {
                    let what = entry::title(&document);
                    let sentence = format!(
                        "is the same as {}: {what}; no two have database, collection, jobName and documentKey, or the _id, in common",
                        other.place
                    );
                    problems.push(wrong(&place, sentence));
                }
                items.push(Item {
                    place,
                    document,
                    entry,
                });
            }
            Err(more) => {
                let sentence = |problem: &Problem| wrong(&place, problem.to_string());
                problems.extend(more.iter().map(sentence));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(items),
        false => Err(problems),
    }
}

/// Something is wrong at a place.
pub fn wrong(place: &str, sentence: impl Into<String>) -> Wrong {
    Wrong {
        place: place.to_owned(),
        sentence: sentence.into(),
    }
}

/// The documents that a file lists, each with its place.
fn listed(whole: Bson, problems: &mut Vec<Wrong>) -> Vec<(String, Bson)> {
    let numbered = |name: &str, list: Vec<Bson>| -> Vec<(String, Bson)> {
        let places = (0..list.len()).map(|index| format!("{name}[{index}]"));
        places.zip(list).collect()
    };
    let mut object = match whole {
        Bson::Array(list) => return numbered("listeners", list),
        Bson::Document(object) => object,
        _ => {
            problems.push(wrong(
                "",
                "holds no listeners; give a list of them, or {listeners: [...], databases: [...]}",
            ));
            return Vec::new();
        }
    };
    let lists = ["listeners", "databases"];
    if !lists.iter().any(|name| object.contains_key(name)) {
        return vec![("listener".to_owned(), Bson::Document(object))];
    }
    let mut found = Vec::new();
    for name in lists {
        match object.remove(name) {
            None | Some(Bson::Null) => {}
            Some(Bson::Array(mut list)) => {
                for each in &mut list {
                    if name == "databases"
                        && let Bson::Document(each) = each
                        && !each.contains_key("kind")
                    {
                        each.insert("kind", "database");
                    }
                }
                found.extend(numbered(name, list));
            }
            Some(_) => problems.push(wrong(name, "is no list")),
        }
    }
    for other in object.keys() {
        problems.push(wrong(other, "is neither listeners nor databases"));
    }
    found
}

/// Without what whoever writes it sets, and with whole numbers as the shell would insert them.
fn stripped(document: Document) -> Document {
    let mut document = entry::normal(&document);
    for field in fields::WRITTEN {
        document.remove(field);
    }
    document
}

fn is_same(one: &Document, other: &Document) -> bool {
    let has_id = one.get("_id").is_some() && one.get("_id") == other.get("_id");
    has_id || entry::identity(one) == entry::identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn documents(name: &str, text: &str) -> Vec<Document> {
        let items = read(Path::new(name), text).unwrap();
        items.into_iter().map(|item| item.document).collect()
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "\
listeners:
  - collection: batches
    jobName: process
    operationType: [insert, update]
    filter: {status: received, at: {$gt: {$date: '2026-01-01T00:00:00Z'}}, n: 3, no: no, z: 1, a: 2.5}
    createdAt: {$date: '2026-01-01T00:00:00Z'}
databases:
  - database: '*'
    enabled: true
";
        let json = r#"{"listeners": [{"collection": "batches", "jobName": "process",
            "operationType": ["insert", "update"],
            "filter": {"status": "received", "at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}, "n": 3, "no": "no", "z": 1, "a": 2.5}}],
            "databases": [{"database": "*", "enabled": true}]}"#;
        let read = documents("l.yaml", yaml);
        assert_eq!(read, documents("l.json", json));
        assert_eq!(read, documents("-", json));
        let at = bson::DateTime::parse_rfc3339_str("2026-01-01T00:00:00Z").unwrap();
        let filter =
            doc! {"status": "received", "at": {"$gt": at}, "n": 3, "no": "no", "z": 1, "a": 2.5};
        // In their order, too: the order of the fields of an embedded document counts.
        assert_eq!(
            read[0].get_document("filter").unwrap().to_string(),
            filter.to_string()
        );
        assert_eq!(
            read[1],
            doc! {"database": "*", "enabled": true, "kind": "database"}
        );
    }

    #[test]
    fn the_example_is_right() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/listeners.example.json");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(documents(path, &text).len(), 2);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let text = r#"{"listeners": [{"collection": "a"}, 3, {"collection": "b", "jobName": "j", "topic": "x y"},
            {"collection": "c", "jobName": "c"}, {"collection": "c", "jobName": "c", "filter": {"a": 1}}],
            "databases": {}, "listener": []}"#;
        let wrong = read(Path::new("l.json"), text).unwrap_err();
        let all: Vec<_> = wrong.iter().map(Wrong::to_string).collect();
        let all = all.join("\n");
        for part in [
            "listeners[0]: jobName: is missing",
            "listeners[1]: is no object",
            "listeners[2]: topic: ",
            "listeners[4]: is the same as listeners[3]",
            "databases: is no list",
            "listener: is neither",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        for (name, text) in [
            ("l.json", "[1,"),
            ("l.yaml", "a: [1"),
            ("l.yaml", "a: 1\na: 2"),
            ("l.yaml", "7"),
        ] {
            assert_eq!(
                read(Path::new(name), text).unwrap_err()[0].place,
                "",
                "{text}"
            );
        }
    }
}
