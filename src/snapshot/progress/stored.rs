//! As a position holds it: BSON, for every store of checkpoints.

use super::{Bounds, Ended, Part, Progress, Range, Reason, Scan, State};
use crate::change::extra::Extra;
use crate::change::namespace::Namespace;
use crate::error::{Code, Error};
use bson::{Bson, Document, doc};

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

/// Older positions do not say.
fn skipped(document: &Document) -> Option<Vec<Namespace>> {
    match document.get_array("skipped") {
        Ok(skipped) => skipped
            .iter()
            .map(|at| namespace(at.as_document()?))
            .collect(),
        Err(_) => Some(Vec::new()),
    }
}

fn of_namespaces(all: &[Namespace]) -> Vec<Document> {
    all.iter().map(of_namespace).collect()
}

impl Progress {
    pub(super) fn to_document(&self) -> Document {
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
            "skipped": of_namespaces(&self.skipped),
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
            skipped: skipped(document)?,
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
            "skipped": of_namespaces(&self.skipped),
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
            skipped: skipped(document)?,
        })
    }
}
