//! How far a snapshot is: the part of a position that a restart continues from.

mod stored;

use crate::change::namespace::Namespace;
use bson::{Bson, Document};

/// Bounds of pages longer than this are not stored, in bytes: a checkpoint must stay small. A restart reads more
/// again then.
const LONGEST_BOUND: usize = 16 << 10;

/// So many documents are read again at a time, or so many bytes of their `_id`s: they are in each checkpoint.
const MOST_AGAIN: usize = 1000;
const MOST_AGAIN_BYTES: usize = 64 << 10;

/// So many of the collections that could not be copied are named: the log has all.
const MOST_SKIPPED: usize = 200;

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
    /// Those that could not be copied.
    pub skipped: Vec<Namespace>,
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

/// What a stream makes of a collection under its new name.
#[derive(Debug, Clone, PartialEq)]
pub enum Renamed {
    Unwatched,
    /// With the query that its rows match, where not all are wanted.
    Watched(Option<Document>),
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
    /// Those that could not be copied.
    pub skipped: Vec<Namespace>,
}

impl Part {
    /// What is wanted of a collection that is read once more.
    fn whole(&self) -> Bounds {
        let mut asked = Vec::new();
        for range in &self.ranges {
            match &range.of {
                Bounds::Ids(ids) => asked.extend(ids.iter().cloned()),
                Bounds::Between { .. } => return Bounds::ALL,
            }
        }
        Bounds::Ids(asked)
    }
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
            skipped: Vec::new(),
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

    /// Documents of a range are to be read again in the end. Whether there are so many that they are read now.
    pub fn read_again(&mut self, number: i64, range: i64, ids: Vec<Bson>) -> bool {
        let next = self.number();
        let Some(part) = self.part(number) else {
            return false;
        };
        part.again.extend(ids);
        let are_many = part.again.len() >= MOST_AGAIN
            || part.again.iter().map(weight).sum::<usize>() >= MOST_AGAIN_BYTES;
        if are_many {
            let again = Range {
                number: next,
                of: Bounds::Ids(std::mem::take(&mut part.again)),
            };
            let is_of_ids =
                |known: &Range| known.number == range && matches!(known.of, Bounds::Ids(_));
            match part.ranges.iter().any(is_of_ids) {
                // What changes all the time holds up nothing else.
                true => part.ranges.push(again),
                // Or all that changes while the collection is read would gather here.
                false => part.ranges.insert(0, again),
            }
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

    /// Forgets the collections that are not watched any more: which they were. Their changes do not come, so that rows
    /// of them would stay as they are for ever.
    pub fn keep(&mut self, is_watched: impl Fn(&Namespace) -> bool) -> Vec<Namespace> {
        let all = std::mem::take(&mut self.parts).into_iter();
        let (kept, others) = all.partition::<Vec<_>, _>(|part| is_watched(&part.at));
        self.parts = kept;
        others.into_iter().map(|part| part.at).collect()
    }

    /// A collection cannot be copied: which it is.
    pub fn skip(&mut self, number: i64) -> Option<Namespace> {
        let at = self.part(number)?.at.clone();
        self.parts.retain(|part| part.number != number);
        if self.skipped.len() < MOST_SKIPPED {
            self.skipped.push(at.clone());
        }
        Some(at)
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

    /// A collection has another name now. Whether something else is to be read.
    pub fn rename(&mut self, from: &Namespace, to: &Namespace, renamed: Renamed) -> bool {
        // What had the new name is gone. Or the walk found the collection under its new name, behind the stream, which
        // comes to the change of names only now: what was read of it is void then, and it is read once more.
        let (replaced, kept) = std::mem::take(&mut self.parts)
            .into_iter()
            .partition::<Vec<_>, _>(|part| part.at == *to);
        self.parts = kept;
        let Renamed::Watched(filter) = renamed else {
            self.collections += replaced.len() as u64;
            return self.forget(&from.database, Some(&from.collection)) || !replaced.is_empty();
        };
        let mut has_moved = false;
        for part in self.parts.iter_mut().filter(|part| part.at == *from) {
            part.at = to.clone();
            has_moved = true;
        }
        let is_passed = |scan: &Scan| scan.after.as_ref().is_some_and(|after| to <= after);
        if has_moved {
            self.collections += replaced.len() as u64;
        } else if !replaced.is_empty() {
            for part in replaced {
                let bounds = part.whole();
                self.add(to.clone(), part.filter, bounds);
            }
        } else if self.scan.as_ref().is_some_and(is_passed) {
            // It may come from a collection that is not watched, as the results of `$out` do, or from one that the walk
            // would have come to.
            self.add(to.clone(), filter, Bounds::ALL);
        }
        // What the walk has listed has other names now.
        self.scan.is_some() || !self.parts.is_empty()
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
            skipped: self.skipped.clone(),
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

/// Whether a checkpoint may hold it as a bound.
pub(super) fn is_short(id: &Bson) -> bool {
    weight(id) <= LONGEST_BOUND
}

/// About how many bytes an `_id` takes in a checkpoint.
fn weight(id: &Bson) -> usize {
    let text = match id {
        Bson::String(text) | Bson::Symbol(text) | Bson::JavaScriptCode(text) => text.len(),
        Bson::Binary(binary) => binary.bytes.len(),
        Bson::Document(document) => document
            .to_vec()
            .map_or(usize::MAX / 2, |bytes| bytes.len()),
        Bson::JavaScriptCodeWithScope(code) => {
            let scope = code
                .scope
                .to_vec()
                .map_or(usize::MAX / 2, |bytes| bytes.len());
            code.code.len() + scope
        }
        _ => 0,
    };
    text + 16
}

#[cfg(test)]
mod tests;
