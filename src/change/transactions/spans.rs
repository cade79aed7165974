//! Transactions as Debezium's connector takes them to begin and to end: with the first event of one, and with the next
//! event that is not of it. There is one at a time.

use super::TransactionId;

/// A transaction in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub lsid: Vec<u8>,
    pub number: i64,
    /// How many events there were.
    pub total: u64,
    /// The same by collection (`database.collection`), in the order of their first events.
    pub collections: Vec<(String, u64)>,
}

/// Which event of the transaction one is, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSpan {
    pub total: u64,
    pub of_collection: u64,
}

/// What ends and what begins at an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub ended: Option<Span>,
    pub begun: Option<Span>,
}

impl Span {
    pub fn id(&self) -> TransactionId<'_> {
        TransactionId {
            lsid: &self.lsid,
            number: self.number,
        }
    }

    fn begin(id: TransactionId<'_>) -> Self {
        Self {
            lsid: id.lsid.to_vec(),
            number: id.number,
            total: 0,
            collections: Vec::new(),
        }
    }

    fn count(&mut self, namespace: &str) -> InSpan {
        self.total += 1;
        let known = self.collections.iter_mut().find(|it| it.0 == namespace);
        let of_collection = match known {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.collections.push((namespace.to_owned(), 1));
                1
            }
        };
        InSpan {
            total: self.total,
            of_collection,
        }
    }
}

/// Counts an event in what is in progress: which one of its transaction it is, and what ends or begins with it.
pub(super) fn count(
    current: &mut Option<Span>,
    id: Option<TransactionId<'_>>,
    namespace: &str,
) -> (Option<InSpan>, Option<Bounds>) {
    let is_same = current.as_ref().map(Span::id) == id;
    let mut bounds = None;
    if !is_same {
        let ended = current.take();
        let begun = id.map(Span::begin);
        current.clone_from(&begun);
        bounds = Some(Bounds { ended, begun });
    }
    let place = current.as_mut().map(|span| span.count(namespace));
    (place, bounds)
}
