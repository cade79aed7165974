//! What the comparison of two watchers found.

use crate::change::namespace::Namespace;
use crate::verify::paths::Difference;
use crate::verify::report::{differences_json, write_differences};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a change of one side differs from the other side's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only a has it.
    Lost,
    /// Only b has it.
    Extra,
    Reordered,
    Different,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Extra => "extra",
            Self::Reordered => "reordered",
            Self::Different => "different",
        }
    }
}

/// Topic, partition and offset of a record.
pub type At = (String, i32, u64);

/// A change that is named.
#[derive(Debug, Clone)]
pub struct Listed {
    pub kind: Kind,
    pub action: &'static str,
    pub id: String,
    pub a: Option<At>,
    pub b: Option<At>,
    pub paths: Vec<Difference>,
}

/// What was found in a collection.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub same: u64,
    pub lost: u64,
    pub extra: u64,
    pub reordered: u64,
    pub different: u64,
    /// The same changes, whose documents were looked up at different times.
    pub looked_up: u64,
    /// Of a and of b, by their numbers.
    pub repeated: [u64; 2],
    /// What differs where the time that both cover begins and ends.
    pub at_the_edge: u64,
    pub listed: Vec<Listed>,
}

impl Tally {
    pub fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Lost => self.lost += 1,
            Kind::Extra => self.extra += 1,
            Kind::Reordered => self.reordered += 1,
            Kind::Different => self.different += 1,
        }
    }

    fn found(&self) -> u64 {
        self.lost + self.extra + self.reordered + self.different
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub collections: BTreeMap<Namespace, Tally>,
    /// The time that both cover, in milliseconds since the Unix epoch.
    pub window: Option<(i64, i64)>,
    /// Records of a and b that are no changes of documents: rows of snapshots, tombstones, events about collections.
    pub left_out: [u64; 2],
    /// Records of a and b that are not in the format that they should have.
    pub foreign: [u64; 2],
    pub records: u64,
    pub seconds: f64,
}

impl Comparison {
    pub fn is_equal(&self) -> bool {
        self.collections.values().all(|it| it.found() == 0)
    }

    /// Whether one side has nothing that could be compared.
    pub fn is_empty(&self) -> bool {
        self.window.is_none()
    }

    /// For a program.
    pub fn to_json(&self, shows_documents: bool) -> Value {
        let at = |it: &Option<At>| {
            let it = it.as_ref();
            it.map(|(topic, partition, offset)| {
                json!({"topic": topic, "partition": partition, "offset": offset})
            })
        };
        let collections = self.collections.iter().map(|(of, it)| {
            let listed = it.listed.iter().map(|it| {
                json!({
                    "kind": it.kind.name(),
                    "operation": it.action,
                    "id": it.id,
                    "a": at(&it.a),
                    "b": at(&it.b),
                    "paths": differences_json(&it.paths, ["a", "b"], shows_documents),
                })
            });
            json!({
                "database": of.database,
                "collection": of.collection,
                "same": it.same,
                "lost": it.lost,
                "extra": it.extra,
                "reordered": it.reordered,
                "different": it.different,
                "lookedUp": it.looked_up,
                "repeated": {"a": it.repeated[0], "b": it.repeated[1]},
                "atTheEdge": it.at_the_edge,
                "listed": listed.collect::<Vec<_>>(),
            })
        });
        json!({
            "result": self.result(),
            "from": self.window.map(|(begin, _)| time(begin)),
            "to": self.window.map(|(_, end)| time(end)),
            "collections": collections.collect::<Vec<_>>(),
            "leftOut": {"a": self.left_out[0], "b": self.left_out[1]},
            "foreign": {"a": self.foreign[0], "b": self.foreign[1]},
            "records": self.records,
            "seconds": self.seconds,
        })
    }

    fn result(&self) -> &'static str {
        match (self.is_empty(), self.is_equal()) {
            (true, _) => "unfinished",
            (false, true) => "equal",
            (false, false) => "different",
        }
    }

    /// For a person.
    pub fn to_text(&self, shows_documents: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        for (of, it) in &self.collections {
            let _ = writeln!(
                text,
                "{of}: {} changes the same, {} lost (only in a), {} extra (only in b), {} reordered, {} different",
                it.same, it.lost, it.extra, it.reordered, it.different
            );
            for (count, what) in [
                (
                    it.looked_up,
                    "updates show documents that were looked up at different times",
                ),
                (it.repeated[0], "records of a are repetitions"),
                (it.repeated[1], "records of b are repetitions"),
                (
                    it.at_the_edge,
                    "more differ at the edges of the time that both cover, and are not counted",
                ),
            ] {
                if count > 0 {
                    let _ = writeln!(text, "  {count} {what}");
                }
            }
            for it in &it.listed {
                let _ = write!(text, "  {:<9} {} of {}", it.kind.name(), it.action, it.id);
                for (side, at) in [("a", &it.a), ("b", &it.b)] {
                    if let Some((topic, partition, offset)) = at {
                        let _ = write!(text, "  ({side}: {topic}/{partition}, offset {offset})");
                    }
                }
                text.push('\n');
                write_differences(&mut text, &it.paths, ["a", "b"], shows_documents);
            }
            let more = it.found().saturating_sub(it.listed.len() as u64);
            if more > 0 {
                let _ = writeln!(text, "  and {more} more (--limit)");
            }
        }
        for (index, side) in ["a", "b"].into_iter().enumerate() {
            let (left, foreign) = (self.left_out[index], self.foreign[index]);
            if left > 0 {
                let _ = writeln!(
                    text,
                    "note: {left} records of {side} are no changes of documents (rows of a snapshot, tombstones, events \
                     about collections) and were left out"
                );
            }
            if foreign > 0 {
                let _ = writeln!(
                    text,
                    "note: {foreign} records of {side} are not in the format that --format-{side} says"
                );
            }
        }
        let _ = match self.window {
            None => writeln!(
                text,
                "nothing to compare: one side has no change of a document"
            ),
            Some((begin, end)) => writeln!(
                text,
                "{} from {} to {}: {} records in {:.1} s",
                match self.is_equal() {
                    true => "equal",
                    false => "DIFFERENT",
                },
                time(begin),
                time(end),
                self.records,
                self.seconds
            ),
        };
        text
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| "?".into(), |it| it.to_string())
}
