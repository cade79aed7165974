//! How far a snapshot is: the part of a position that a restart continues from.

mod stored;

use crate::change::namespace::Namespace;
use bson::{Bson, Document};

/// Bounds of pages longer than this are not stored, in bytes: a checkpoint must stay small. A restart reads more
/// again then.
const LONGEST_BOUND: usize = 16 << 10;

/// So many documents are read again at a time.
const MOST_AGAIN: usize = 1000;

/// How often documents are read again that change without their images.
const MOST_ROUNDS: i64 = 100;

/// Why a snapshot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The stream first began.
    Initial,
    /// Somebody asked for it.
    Requested,
    /// History was lost.
    HistoryLost,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Initial, Self::Requested, Self::HistoryLost];

    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Requested => "requested",
            Self::HistoryLost => "history_lost",
        }
    }
}

/// What a position says of snapshots.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub running: Option<Progress>,
    pub last: Option<Ended>,
    /// The id of the last one that was of all collections and came to its end: what it has no row of was not there.
    pub whole: Option<String>,
}

/// A snapshot that is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Names it, also in each of its rows.
    pub id: String,
    pub reason: Reason,
    /// Milliseconds since the Unix epoch.
    pub started: i64,
    pub is_paused: bool,
    /// Where all collections are wanted: those up to this one are done or among the parts.
    pub scan: Option<Scan>,
    /// The collections that are being read, or wait for it.
    pub parts: Vec<Part>,
    /// Numbers the parts.
    next: i64,
    pub rows: u64,
    /// Of the rows' documents.
    pub bytes: u64,
    /// Documents that were read and left out, because the stream brought them.
    pub left_out: u64,
    /// Collections that are done.
    pub collections: u64,
}

/// The walk over the collections, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scan {
    /// The last one that was taken.
    pub after: Option<Namespace>,
}

/// One collection of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub number: i64,
    pub at: Namespace,
    /// The query that its rows match.
    pub filter: Option<Document>,
    /// What is left to be read.
    pub ranges: Vec<Range>,
    /// Documents that the stream has touched without bringing them whole: read again, in the end.
    pub again: Vec<Bson>,
    /// How often that was done.
    pub rounds: i64,
    pub rows: u64,
    pub bytes: u64,
    /// How many documents there were, as the server estimates.
    pub total: Option<u64>,
}

/// A range of `_id`s, or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    pub number: i64,
    pub of: Bounds,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// Those behind `after`, up to and with `until`; without bounds all.
    Between {
        after: Option<Bson>,
        until: Option<Bson>,
    },
    Ids(Vec<Bson>),
}

impl Bounds {
    pub const ALL: Self = Self::Between {
        after: None,
        until: None,
    };
}

/// A snapshot that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub id: String,
    pub reason: Reason,
    pub started: i64,
    pub ended: i64,
    /// Whether it came to its end, and was not stopped.
    pub is_complete: bool,
    pub rows: u64,
    pub bytes: u64,
    pub left_out: u64,
    pub collections: u64,
}

impl Progress {
    /// A snapshot that begins at a time, in milliseconds since the Unix epoch.
    pub fn new(reason: Reason, now: i64) -> Self {
        // As the first number of a stream: never given out twice.
        let id = format!("{:x}", crate::change::position::Seq::renewed(None).0);
        Self {
            id,
            reason,
            started: now,
            is_paused: false,
            scan: None,
            parts: Vec::new(),
            next: 1,
            rows: 0,
            bytes: 0,
            left_out: 0,
            collections: 0,
        }
    }

    /// The same for all collections that are watched.
    #[must_use]
    pub fn of_all(mut self) -> Self {
        self.scan = Some(Scan::default());
        self
    }

    /// Adds a collection.
    pub fn add(&mut self, at: Namespace, filter: Option<Document>, bounds: Bounds) -> i64 {
        let number = self.number();
        let range = Range {
            number: self.number(),
            of: bounds,
        };
        self.parts.push(Part {
            number,
            at,
            filter,
            ranges: vec![range],
            again: Vec::new(),
            rounds: 0,
            rows: 0,
            bytes: 0,
            total: None,
        });
        number
    }

    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    pub fn part(&mut self, number: i64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.number == number)
    }

    /// A part that the walk over the collections has come to, with numbers of its own.
    pub fn begin(&mut self, part: Part) {
        let last = part.ranges.iter().map(|range| range.number).max();
        self.next = self.next.max(last.unwrap_or(0).max(part.number) + 1);
        if let Some(scan) = &mut self.scan {
            scan.after = Some(part.at.clone());
        }
        self.parts.push(part);
    }

    /// The numbers that the walk over the collections may give out.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Removes a part and counts it as done.
    fn done(&mut self, number: i64) {
        self.parts.retain(|part| part.number != number);
        self.collections += 1;
    }

    /// Takes note of rows that are on their way.
    pub fn advance(&mut self, part: i64, range: i64, last: Option<Bson>, produced: &Produced) {
        self.rows += produced.rows;
        self.bytes += produced.bytes;
        self.left_out += produced.left_out;
        let Some(part) = self.part(part) else {
            return;
        };
        part.rows += produced.rows;
        part.bytes += produced.bytes;
        if let Some(range) = part.ranges.iter_mut().find(|known| known.number == range)
            && let Bounds::Between { after, .. } = &mut range.of
            && let Some(last) = last.filter(is_short)
        {
            *after = Some(last);
        }
    }

    /// Documents are to be read again in the end. Whether there are so many that they are read now.
    pub fn read_again(&mut self, number: i64, ids: Vec<Bson>) -> bool {
        let next = self.number();
        let Some(part) = self.part(number) else {
            return false;
        };
        part.again.extend(ids);
        let are_many = part.again.len() >= MOST_AGAIN;
        if are_many {
            part.ranges.push(Range {
                number: next,
                of: Bounds::Ids(std::mem::take(&mut part.again)),
            });
        }
        are_many
    }

    /// A range was read to its end. Whether there is something new to be read.
    pub fn end_range(&mut self, number: i64, range: i64) -> bool {
        let next = self.number();
        let Some(part) = self.part(number) else {
            return false;
        };
        part.ranges.retain(|known| known.number != range);
        if !part.ranges.is_empty() {
            return false;
        }
        let again = std::mem::take(&mut part.again);
        if again.is_empty() || part.rounds >= MOST_ROUNDS {
            if !again.is_empty() {
                tracing::warn!(
                    collection = %part.at,
                    documents = again.len(),
                    "documents change too often to be read between two changes; their rows are left out"
                );
            }
            self.done(number);
            return false;
        }
        part.rounds += 1;
        part.ranges.push(Range {
            number: next,
            of: Bounds::Ids(again),
        });
        true
    }

    /// A collection is gone, or a whole database. Whether it was among the parts.
    pub fn forget(&mut self, database: &str, collection: Option<&str>) -> bool {
        let is_gone = |part: &Part| {
            part.at.database == database && collection.is_none_or(|name| part.at.collection == name)
        };
        let before = self.parts.len();
        self.parts.retain(|part| !is_gone(part));
        self.collections += (before - self.parts.len()) as u64;
        before != self.parts.len()
    }

    /// A collection has another name now; `is_wanted` says whether it is still watched. Whether what is to be read has
    /// changed.
    pub fn rename(&mut self, from: &Namespace, to: &Namespace, is_wanted: bool) -> bool {
        // What had the new name is gone.
        let was_there = self.forget(&to.database, Some(&to.collection));
        if !is_wanted {
            return self.forget(&from.database, Some(&from.collection)) || was_there;
        }
        let mut is_part = false;
        for part in self.parts.iter_mut().filter(|part| part.at == *from) {
            part.at = to.clone();
            is_part = true;
        }
        let after = self.scan.as_ref().map(|scan| scan.after.as_ref());
        // The walk has not come to it under its old name, and would not under the new one.
        if let Some(Some(after)) = after
            && !is_part
            && from > after
            && to <= after
        {
            self.add(to.clone(), None, Bounds::ALL);
            is_part = true;
        }
        is_part || was_there
    }

    /// How many bytes it takes in a position.
    pub fn size(&self) -> usize {
        self.to_document()
            .to_vec()
            .map_or(usize::MAX, |bytes| bytes.len())
    }

    /// Whether everything is done, once the walk over the collections has ended.
    pub fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    /// The end of it at a time, in milliseconds since the Unix epoch.
    pub fn ended(&self, is_complete: bool, now: i64) -> Ended {
        Ended {
            id: self.id.clone(),
            reason: self.reason,
            started: self.started,
            ended: now,
            is_complete,
            rows: self.rows,
            bytes: self.bytes,
            left_out: self.left_out,
            collections: self.collections,
        }
    }
}

/// What has become of rows that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    pub rows: u64,
    pub bytes: u64,
    pub left_out: u64,
}

fn is_short(id: &Bson) -> bool {
    match id {
        Bson::String(text) => text.len() <= LONGEST_BOUND,
        Bson::Binary(binary) => binary.bytes.len() <= LONGEST_BOUND,
        Bson::Document(document) => document.to_vec().is_ok_and(|d| d.len() <= LONGEST_BOUND),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
