//! As a position holds it: BSON, for every store of checkpoints.

use super::counts::{Counts, Open};
use super::{Span, State};
use crate::change::extra::Extra;
use crate::change::position::{ClusterTime, Seq};
use crate::error::{Code, Error};
use bson::{Bson, Document, RawDocument, Timestamp, doc};
use std::sync::Arc;

/// What positions hold around one event: those before it do not count it yet.
#[derive(Debug, Clone)]
pub struct Held {
    before: Arc<State>,
    behind: Arc<State>,
    /// The event's number.
    seq: Seq,
}

impl Held {
    /// None where there is nothing to hold.
    pub(super) fn new(before: &Arc<State>, behind: &Arc<State>, seq: Seq) -> Option<Self> {
        (!before.is_empty() || !behind.is_empty()).then(|| Self {
            before: Arc::clone(before),
            behind: Arc::clone(behind),
            seq,
        })
    }

    /// The parts of the position whose last event is `seq`.
    #[must_use]
    pub fn put(&self, extra: &Extra, seq: Seq) -> Extra {
        let state = match seq >= self.seq {
            true => &self.behind,
            false => &self.before,
        };
        let part = (!state.is_empty()).then(|| state.to_bson());
        extra.with(Extra::TRANSACTIONS, part)
    }
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.counts.open.is_empty() && self.span.is_none()
    }

    pub(super) fn of(extra: &Extra) -> Result<Self, Error> {
        match extra.get(Extra::TRANSACTIONS) {
            None => Ok(Self::default()),
            Some(part) => Self::read(part).ok_or_else(|| {
                Error::new(
                    Code::CheckpointFailed,
                    "what the checkpoint says of a transaction cannot be read; restore it, or remove it to make this a \
                     first start",
                )
            }),
        }
    }

    pub(super) fn to_bson(&self) -> Bson {
        let open: Vec<_> = self.counts.open.iter().map(Open::to_document).collect();
        let mut state = doc! {"open": open};
        if let Some(span) = &self.span {
            state.insert("inProgress", span.to_document());
        }
        state.into()
    }

    fn read(part: &Bson) -> Option<Self> {
        let part = part.as_document()?;
        let open = match part.get("open") {
            None => &Vec::new(),
            Some(open) => open.as_array()?,
        };
        let open = open.iter().map(|open| Open::read(open.as_document()?));
        Some(Self {
            counts: Counts {
                open: open.collect::<Option<_>>()?,
            },
            span: match part.get("inProgress") {
                None => None,
                Some(span) => Some(Span::read(span.as_document()?)?),
            },
        })
    }
}

impl Open {
    fn to_document(&self) -> Document {
        let mut document = doc! {
            "lsid": document(&self.lsid),
            "txnNumber": self.number,
            "order": as_number(self.order),
        };
        if let Some(time) = self.time {
            document.insert("clusterTime", Timestamp::from(time));
        }
        document
    }

    fn read(document: &Document) -> Option<Self> {
        let time = match document.get("clusterTime") {
            None => None,
            Some(time) => Some(time.as_timestamp()?),
        };
        Some(Self {
            lsid: bytes(document.get("lsid")?)?,
            number: number(document.get("txnNumber")?)?,
            order: count(document.get("order")?)?,
            time: time.map(|time| ClusterTime::new(time.time, time.increment)),
        })
    }
}

impl Span {
    fn to_document(&self) -> Document {
        let collections = self.collections.iter();
        let collections = collections.map(|(name, events)| {
            let events = as_number(*events);
            Bson::from(doc! {"collection": name, "events": events})
        });
        doc! {
            "lsid": document(&self.lsid),
            "txnNumber": self.number,
            "events": as_number(self.total),
            "collections": collections.collect::<Vec<_>>(),
        }
    }

    fn read(document: &Document) -> Option<Self> {
        let collections = document.get("collections")?.as_array()?.iter();
        let collections = collections.map(|of| {
            let of = of.as_document()?;
            Some((
                of.get_str("collection").ok()?.to_owned(),
                count(of.get("events")?)?,
            ))
        });
        Some(Self {
            lsid: bytes(document.get("lsid")?)?,
            number: number(document.get("txnNumber")?)?,
            total: count(document.get("events")?)?,
            collections: collections.collect::<Option<_>>()?,
        })
    }
}

/// A session as people can read it.
fn document(lsid: &[u8]) -> Bson {
    let read = RawDocument::from_bytes(lsid).and_then(Document::try_from);
    // What is no document names a transaction all the same.
    read.map_or_else(|_| binary(lsid), Bson::Document)
}

fn bytes(lsid: &Bson) -> Option<Vec<u8>> {
    match lsid {
        Bson::Document(lsid) => lsid.to_vec().ok(),
        Bson::Binary(lsid) => Some(lsid.bytes.clone()),
        _ => None,
    }
}

fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

fn as_number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(value: &Bson) -> Option<u64> {
    u64::try_from(number(value)?).ok()
}

/// In whichever type a shell or a driver has stored it.
fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Some(*number as i64)
        }
        _ => None,
    }
}
