//! What was found, per collection: for people, and as JSON.

use super::fold::Disorder;
use super::knowledge::Unknown;
use super::paths::{Difference, How};
use crate::change::namespace::Namespace;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a document in Kafka differs from that in MongoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    Missing,
    Extra,
    Different,
}

impl Finding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
        }
    }
}

/// A document that is named.
#[derive(Debug, Clone)]
pub struct Listed {
    pub finding: Finding,
    /// Its `_id`, as relaxed Extended JSON.
    pub id: String,
    /// The topic, partition and offset of its newest record.
    pub place: Option<(String, i32, u64)>,
    /// Where it differs: first as the topic has it, second as MongoDB does.
    pub paths: Vec<Difference>,
}

/// What was found in a collection.
#[derive(Debug, Clone, Default)]
pub struct Collection {
    /// In MongoDB.
    pub documents: u64,
    pub equal: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    pub disorder: Disorder,
    pub unknown: BTreeMap<Unknown, u64>,
    /// The first ones.
    pub listed: Vec<Listed>,
}

impl Collection {
    pub fn count(&mut self, finding: Finding) {
        match finding {
            Finding::Missing => self.missing += 1,
            Finding::Extra => self.extra += 1,
            Finding::Different => self.different += 1,
        }
    }

    pub fn unknown(&mut self, why: Unknown) {
        *self.unknown.entry(why).or_default() += 1;
    }

    fn is_equal(&self) -> bool {
        let found = self.missing + self.extra + self.different;
        found + self.disorder.out_of_order == 0
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All that can be judged is equal.
    Equal,
    Different,
    /// Nothing differs for sure, and something could not be judged in time.
    Unfinished,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
            Self::Unfinished => "unfinished",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub stream: String,
    /// Where MongoDB was at the start, in milliseconds since the Unix epoch.
    pub position_millis: i64,
    pub collections: BTreeMap<Namespace, Collection>,
    /// What has to be known beside the figures.
    pub notes: Vec<String>,
    pub records: u64,
    pub documents: u64,
    /// Of documents, from MongoDB.
    pub bytes: u64,
    pub seconds: f64,
}

impl Report {
    pub fn outcome(&self) -> Outcome {
        let mut all = self.collections.values();
        if all.clone().any(|it| !it.is_equal()) {
            Outcome::Different
        } else if all.any(|it| it.unknown.contains_key(&Unknown::Unsettled)) {
            Outcome::Unfinished
        } else {
            Outcome::Equal
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn position(&self) -> String {
        Timestamp::from_millisecond(self.position_millis)
            .map_or_else(|_| "?".into(), |it| it.to_string())
    }

    /// For a program.
    pub fn to_json(&self, shows_documents: bool) -> Value {
        let collections = self.collections.iter();
        let collections: Vec<_> = collections
            .map(|(name, it)| {
                let unknown: BTreeMap<_, _> = it
                    .unknown
                    .iter()
                    .map(|(why, count)| (why.name(), count))
                    .collect();
                let listed = it.listed.iter().map(|it| listed_json(it, shows_documents));
                json!({
                    "database": name.database,
                    "collection": name.collection,
                    "documents": it.documents,
                    "equal": it.equal,
                    "missing": it.missing,
                    "extra": it.extra,
                    "different": it.different,
                    "repeated": it.disorder.repeated,
                    "outOfOrder": it.disorder.out_of_order,
                    "unknown": unknown,
                    "listed": listed.collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "stream": self.stream,
            "result": self.outcome().name(),
            "position": self.position(),
            "collections": collections,
            "notes": self.notes,
            "records": self.records,
            "documents": self.documents,
            "bytes": self.bytes,
            "seconds": self.seconds,
        })
    }

    /// For a person.
    pub fn to_text(&self, shows_documents: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for (name, it) in &self.collections {
            let _ = writeln!(
                text,
                "{name}: {} documents, {} equal, {} missing, {} extra, {} different; {} records repeated, {} out of order",
                it.documents,
                it.equal,
                it.missing,
                it.extra,
                it.different,
                it.disorder.repeated,
                it.disorder.out_of_order
            );
            for (why, count) in &it.unknown {
                let _ = writeln!(text, "  {count} unknown: {}", why.sentence());
            }
            for listed in &it.listed {
                list(&mut text, listed, shows_documents);
            }
            let found = it.missing + it.extra + it.different;
            let more = found.saturating_sub(it.listed.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "  and {more} more (--limit)");
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let rate = self.documents as f64 / self.seconds.max(0.001);
        let _ = writeln!(
            text,
            "{} as of {}: {} documents and {} records in {:.1} s ({rate:.0} documents a second)",
            match self.outcome() {
                Outcome::Equal => "equal",
                Outcome::Different => "DIFFERENT",
                Outcome::Unfinished => "not settled in time",
            },
            self.position(),
            self.documents,
            self.records,
            self.seconds,
        );
        text
    }
}

fn list(text: &mut String, listed: &Listed, shows_documents: bool) {
    let _ = write!(text, "  {:<9} {}", listed.finding.name(), listed.id);
    if let Some((topic, partition, offset)) = &listed.place {
        let _ = write!(
            text,
            "  (newest record: {topic}/{partition}, offset {offset})"
        );
    }
    text.push('\n');
    write_differences(text, &listed.paths, SIDES, shows_documents);
}

/// What the two sides of a difference are called.
const SIDES: [&str; 2] = ["Kafka", "MongoDB"];

/// Appends a line for each path.
pub fn write_differences(
    text: &mut String,
    paths: &[Difference],
    sides: [&str; 2],
    shows_documents: bool,
) {
    for it in paths {
        let path = match it.path.as_str() {
            "" => "the document",
            path => path,
        };
        let _ = write!(text, "            {path}: {}", words(it.how, sides));
        if shows_documents {
            for (value, side) in [&it.first, &it.second].into_iter().zip(sides) {
                let value = value.as_deref().unwrap_or("nothing");
                let _ = write!(text, ", {value} in {side}");
            }
        }
        text.push('\n');
    }
}

fn words(how: How, [first, second]: [&str; 2]) -> String {
    match how {
        How::OnlyFirst => format!("only in {first}"),
        How::OnlySecond => format!("only in {second}"),
        How::Value => "another value".to_owned(),
        How::Type => "another type".to_owned(),
        How::Order => "another order of fields".to_owned(),
    }
}

/// The paths, for a program.
pub fn differences_json(
    paths: &[Difference],
    sides: [&str; 2],
    shows_documents: bool,
) -> Vec<Value> {
    let [first, second] = sides.map(str::to_lowercase);
    let paths = paths.iter().map(|it| {
        let how = match it.how {
            How::OnlyFirst => format!("only_in_{first}"),
            How::OnlySecond => format!("only_in_{second}"),
            How::Value => "value".to_owned(),
            How::Type => "type".to_owned(),
            How::Order => "order".to_owned(),
        };
        let mut object = json!({"path": it.path, "how": how});
        if shows_documents {
            object[&first] = json!(it.first);
            object[&second] = json!(it.second);
        }
        object
    });
    paths.collect()
}

fn listed_json(listed: &Listed, shows_documents: bool) -> Value {
    let place = listed.place.as_ref().map(
        |(topic, partition, offset)| json!({"topic": topic, "partition": partition, "offset": offset}),
    );
    json!({
        "finding": listed.finding.name(),
        "id": listed.id,
        "record": place,
        "paths": differences_json(&listed.paths, SIDES, shows_documents),
    })
}
