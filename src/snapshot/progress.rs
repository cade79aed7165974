//! How far a snapshot is: the part of a position that a restart continues from.

use crate::change::extra::Extra;
use crate::change::namespace::Namespace;
use crate::error::{Code, Error};
use bson::{Bson, Document, doc};

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

impl State {
    /// What a position says.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] where it cannot be read.
    pub fn of(extra: &Extra) -> Result<Self, Error> {
        match extra.get(Extra::SNAPSHOT) {
            None => Ok(Self::default()),
            Some(part) => Self::read(part).ok_or_else(|| {
                Error::new(
                    Code::CheckpointFailed,
                    "what the checkpoint says of a snapshot cannot be read; restore it, or remove it to make this \
                     a first start",
                )
            }),
        }
    }

    /// The same position, saying this.
    #[must_use]
    pub fn put(&self, extra: &Extra) -> Extra {
        let is_nothing = self.running.is_none() && self.last.is_none() && self.whole.is_none();
        extra.with(Extra::SNAPSHOT, (!is_nothing).then(|| self.to_bson()))
    }

    fn to_bson(&self) -> Bson {
        let mut state = Document::new();
        if let Some(progress) = &self.running {
            state.insert("running", progress.to_document());
        }
        if let Some(ended) = &self.last {
            state.insert("last", ended.to_document());
        }
        if let Some(whole) = &self.whole {
            state.insert("whole", whole);
        }
        state.into()
    }

    fn read(part: &Bson) -> Option<Self> {
        let part = part.as_document()?;
        let inner = |name| part.get(name).map(Bson::as_document);
        Some(Self {
            running: match inner("running") {
                Some(running) => Some(Progress::read(running?)?),
                None => None,
            },
            last: match inner("last") {
                Some(last) => Some(Ended::read(last?)?),
                None => None,
            },
            whole: part.get_str("whole").ok().map(str::to_owned),
        })
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(document: &Document, name: &str) -> Option<u64> {
    u64::try_from(document.get_i64(name).ok()?).ok()
}

fn reason(document: &Document) -> Option<Reason> {
    let name = document.get_str("reason").ok()?;
    Reason::ALL.into_iter().find(|reason| reason.name() == name)
}

fn namespace(document: &Document) -> Option<Namespace> {
    Some(Namespace {
        database: document.get_str("db").ok()?.to_owned(),
        collection: document.get_str("coll").ok()?.to_owned(),
    })
}

fn of_namespace(at: &Namespace) -> Document {
    doc! {"db": &at.database, "coll": &at.collection}
}

impl Progress {
    fn to_document(&self) -> Document {
        let mut document = doc! {
            "id": &self.id,
            "reason": self.reason.name(),
            "started": self.started,
            "paused": self.is_paused,
            "next": self.next,
            "rows": count(self.rows),
            "bytes": count(self.bytes),
            "leftOut": count(self.left_out),
            "collections": count(self.collections),
            "parts": self.parts.iter().map(Part::to_document).collect::<Vec<_>>(),
        };
        if let Some(scan) = &self.scan {
            let after = scan.after.as_ref().map(of_namespace);
            document.insert("scan", doc! {"after": after});
        }
        document
    }

    fn read(document: &Document) -> Option<Self> {
        let parts = document.get_array("parts").ok()?.iter();
        let scan = document.get_document("scan").ok();
        Some(Self {
            id: document.get_str("id").ok()?.to_owned(),
            reason: reason(document)?,
            started: document.get_i64("started").ok()?,
            is_paused: document.get_bool("paused").ok()?,
            scan: scan.map(|scan| Scan {
                after: scan.get_document("after").ok().and_then(namespace),
            }),
            parts: parts
                .map(|part| Part::read(part.as_document()?))
                .collect::<Option<_>>()?,
            next: document.get_i64("next").ok()?,
            rows: counted(document, "rows")?,
            bytes: counted(document, "bytes")?,
            left_out: counted(document, "leftOut")?,
            collections: counted(document, "collections")?,
        })
    }
}

impl Part {
    fn to_document(&self) -> Document {
        let mut document = of_namespace(&self.at);
        document.extend(doc! {
            "number": self.number,
            "ranges": self.ranges.iter().map(Range::to_document).collect::<Vec<_>>(),
            "again": &self.again,
            "rounds": self.rounds,
            "rows": count(self.rows),
            "bytes": count(self.bytes),
            "total": self.total.map(count),
        });
        if let Some(filter) = &self.filter {
            document.insert("filter", filter.clone());
        }
        document
    }

    fn read(document: &Document) -> Option<Self> {
        let ranges = document.get_array("ranges").ok()?.iter();
        Some(Self {
            number: document.get_i64("number").ok()?,
            at: namespace(document)?,
            filter: document.get_document("filter").ok().cloned(),
            ranges: ranges
                .map(|range| Range::read(range.as_document()?))
                .collect::<Option<_>>()?,
            again: document.get_array("again").ok()?.clone(),
            rounds: document.get_i64("rounds").ok()?,
            rows: counted(document, "rows")?,
            bytes: counted(document, "bytes")?,
            total: counted(document, "total"),
        })
    }
}

impl Range {
    fn to_document(&self) -> Document {
        let mut document = doc! {"number": self.number};
        match &self.of {
            Bounds::Between { after, until } => {
                // An absent bound is none; null is one.
                document.extend(after.clone().map(|after| ("after".to_owned(), after)));
                document.extend(until.clone().map(|until| ("until".to_owned(), until)));
            }
            Bounds::Ids(ids) => {
                document.insert("ids", ids.clone());
            }
        }
        document
    }

    fn read(document: &Document) -> Option<Self> {
        Some(Self {
            number: document.get_i64("number").ok()?,
            of: match document.get_array("ids") {
                Ok(ids) => Bounds::Ids(ids.clone()),
                Err(_) => Bounds::Between {
                    after: document.get("after").cloned(),
                    until: document.get("until").cloned(),
                },
            },
        })
    }
}

impl Ended {
    fn to_document(&self) -> Document {
        doc! {
            "id": &self.id,
            "reason": self.reason.name(),
            "started": self.started,
            "ended": self.ended,
            "complete": self.is_complete,
            "rows": count(self.rows),
            "bytes": count(self.bytes),
            "leftOut": count(self.left_out),
            "collections": count(self.collections),
        }
    }

    fn read(document: &Document) -> Option<Self> {
        Some(Self {
            id: document.get_str("id").ok()?.to_owned(),
            reason: reason(document)?,
            started: document.get_i64("started").ok()?,
            ended: document.get_i64("ended").ok()?,
            is_complete: document.get_bool("complete").ok()?,
            rows: counted(document, "rows")?,
            bytes: counted(document, "bytes")?,
            left_out: counted(document, "leftOut")?,
            collections: counted(document, "collections")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(collection: &str) -> Namespace {
        Namespace {
            database: "shop".into(),
            collection: collection.into(),
        }
    }

    fn progress() -> Progress {
        Progress::new(Reason::Initial, 7).of_all()
    }

    #[test]
    fn it_comes_back_from_a_position_as_it_went_in() {
        let mut running = progress();
        let ids = Bounds::Ids(vec![1.into(), "a".into(), Bson::Null]);
        running.add(named("a"), Some(doc! {"x": {"$gt": 1}}), ids);
        let between = Bounds::Between {
            after: Some(Bson::Null),
            until: None,
        };
        let part = running.add(named("b"), None, between);
        running.part(part).unwrap().again.push(f64::NAN.into());
        running.part(part).unwrap().total = Some(9);
        let state = State {
            last: Some(running.ended(true, 9)),
            running: Some(running),
            whole: Some("1f".into()),
        };
        let extra = state.put(&Extra::default());
        let read = State::of(&Extra::from(extra.to_document().unwrap())).unwrap();
        // NaN is not equal to itself.
        assert_eq!(format!("{read:?}"), format!("{state:?}"));
        assert!(State::default().put(&extra).is_empty());
        let damaged = Extra::default().with(Extra::SNAPSHOT, Some(doc! {"running": 1}.into()));
        assert_eq!(
            State::of(&damaged).unwrap_err().code,
            Code::CheckpointFailed
        );
    }

    #[test]
    fn a_range_continues_behind_its_last_row_and_ends_its_part() {
        let mut progress = progress();
        let number = progress.add(named("a"), None, Bounds::ALL);
        let range = progress.parts[0].ranges[0].number;
        let produced = Produced {
            rows: 2,
            bytes: 20,
            left_out: 1,
        };
        progress.advance(number, range, Some(5.into()), &produced);
        let long = "x".repeat(LONGEST_BOUND + 1);
        progress.advance(number, range, Some(long.into()), &produced);
        let expected = Bounds::Between {
            after: Some(5.into()),
            until: None,
        };
        assert_eq!(progress.parts[0].ranges[0].of, expected);
        assert_eq!((progress.rows, progress.left_out), (4, 2));
        progress.parts[0].again.push(3.into());
        assert!(progress.end_range(number, range), "some are read again");
        let again = progress.parts[0].ranges[0].clone();
        assert_eq!(again.of, Bounds::Ids(vec![3.into()]));
        assert!(!progress.end_range(number, again.number));
        assert!(progress.is_done() && progress.collections == 1);
    }

    #[test]
    fn a_renamed_collection_is_read_under_its_new_name() {
        let mut progress = progress();
        progress.add(named("m"), None, Bounds::ALL);
        progress.scan = Some(Scan {
            after: Some(named("m")),
        });
        assert!(progress.rename(&named("m"), &named("z"), true));
        assert_eq!(progress.parts[0].at, named("z"));
        // The walk has passed the new name, and not come to the old one.
        assert!(progress.rename(&named("n"), &named("b"), true));
        assert_eq!(progress.parts[1].at, named("b"));
        // It will come to the new name, or has been at the old one.
        assert!(!progress.rename(&named("n"), &named("x"), true));
        assert!(!progress.rename(&named("c"), &named("d"), true));
        assert!(progress.rename(&named("z"), &named("elsewhere"), false));
        assert_eq!(progress.parts.len(), 1);
        assert!(progress.forget("shop", None));
        assert!(!progress.forget("shop", None));
    }
}
