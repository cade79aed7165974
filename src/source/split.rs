//! Puts the fragments of a large event together again (`$changeStreamSplitLargeEvent`).
//!
//! The server cuts an event over 16 MiB between top-level fields. Every fragment has a token of its own,
//! but only the last one's is a place from which another process can continue.

use crate::change::event::{Event, NoEvent};
use crate::change::position::ClusterTime;
use crate::change::raw::{self, Malformed};
use std::hash::{DefaultHasher, Hash, Hasher};

/// No event is larger, in bytes: two images and what was updated, each of at most 16 MiB, and their names.
pub const MOST_BYTES: usize = 64 << 20;

/// No event has more fragments: the server fills each with as many fields as fit into 16 MiB.
pub const MOST_FRAGMENTS: u32 = 1000;

/// Follows the order of fragments: none may be missing, come twice, or be of another event.
#[derive(Debug, Default)]
pub struct Sequence {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    next: u32,
    of: u32,
    bytes: usize,
    /// What the first token begins with, where tokens tell.
    time: Option<ClusterTime>,
    /// The top-level fields so far, each with a hash of its value, without those that tell fragments apart.
    fields: Vec<(Vec<u8>, u64)>,
    has_operation: bool,
}

/// What an event is in its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// An event that was not split.
    Whole,
    /// A fragment with more to come.
    Fragment,
    /// The last fragment.
    Last,
}

/// A fragment is not what the ones before let expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("fragment {got} of a split event came where {expected} was due")]
    OutOfOrder { expected: u32, got: u32 },
    #[error("a split event says that it has fragment {fragment} of {of}")]
    Impossible { fragment: u32, of: u32 },
    #[error("another event came where fragment {expected} of {of} of a split event was due")]
    Interrupted { expected: u32, of: u32 },
    #[error("fragment {got} is of another event than the one before")]
    OfAnother { got: u32 },
    #[error("the fragments of a split event hold over {} MiB", MOST_BYTES >> 20)]
    TooLarge,
    #[error(transparent)]
    NoEvent(#[from] NoEvent),
}

impl From<Malformed> for SplitError {
    fn from(malformed: Malformed) -> Self {
        Self::NoEvent(malformed.into())
    }
}

impl Sequence {
    /// Whether fragments are still to come.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next event of the stream.
    ///
    /// # Errors
    /// [`SplitError`] when it is not what must come; the sequence is closed then.
    pub fn take(&mut self, event: &Event<'_>) -> Result<Part, SplitError> {
        let open = self.open.take();
        let Some((fragment, of)) = event.split else {
            return match open {
                None => Ok(Part::Whole),
                Some(Open { next, of, .. }) => Err(SplitError::Interrupted { expected: next, of }),
            };
        };
        if fragment == 0 || fragment > of || of > MOST_FRAGMENTS {
            return Err(SplitError::Impossible { fragment, of });
        }
        let time = event.resume_token().and_then(|token| token.cluster_time());
        let mut open = open.unwrap_or_else(|| Open {
            next: 1,
            of,
            bytes: 0,
            time,
            fields: Vec::new(),
            has_operation: false,
        });
        if fragment != open.next {
            let expected = open.next;
            let got = fragment;
            return Err(SplitError::OutOfOrder { expected, got });
        }
        let of_another = SplitError::OfAnother { got: fragment };
        let same_time = open.time.zip(time).is_none_or(|(one, other)| one == other);
        if of != open.of || !same_time {
            return Err(of_another);
        }
        open.bytes += event.raw.len();
        if open.bytes > MOST_BYTES {
            return Err(SplitError::TooLarge);
        }
        for element in raw::walk(event.raw)? {
            let element = element?;
            let name = element.name;
            if matches!(name, b"_id" | b"splitEvent") {
                continue;
            }
            // The server cuts between fields, and may repeat small ones: they are then the same.
            let value = hash_of(element.kind as u8, element.value);
            match open.fields.iter().find(|(known, _)| known == name) {
                Some((_, known)) if *known != value => return Err(of_another),
                Some(_) => {}
                None => open.fields.push((name.to_vec(), value)),
            }
        }
        open.has_operation |= !event.operation_name.is_empty();
        if fragment < of {
            open.next += 1;
            self.open = Some(open);
            return Ok(Part::Fragment);
        }
        match open.has_operation {
            true => Ok(Part::Last),
            false => Err(NoEvent::Without("operationType").into()),
        }
    }
}

fn hash_of(kind: u8, value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, value).hash(&mut hasher);
    hasher.finish()
}

/// Collects fragments until the event is whole.
#[derive(Debug, Default)]
pub struct Merger {
    sequence: Sequence,
    collected: Collected,
}

/// The fields of the fragments so far, each once.
#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    names: Vec<Vec<u8>>,
}

/// What became of an event that was given to a [`Merger`].
#[derive(Debug, PartialEq, Eq)]
pub enum Merged {
    /// It was not split.
    Whole,
    /// More has to come.
    Fragment,
    /// The whole event, under the last fragment's token and without `splitEvent`.
    Complete(Vec<u8>),
}

impl Merger {
    /// Whether fragments are still to come.
    pub fn is_open(&self) -> bool {
        self.sequence.is_open()
    }

    /// Takes the next event of the stream.
    ///
    /// # Errors
    /// [`SplitError`] when it does not follow the one before; nothing is kept then.
    pub fn take(&mut self, event: &Event<'_>) -> Result<Merged, SplitError> {
        let part = self.sequence.take(event);
        let mut collected = std::mem::take(&mut self.collected);
        match part? {
            Part::Whole => Ok(Merged::Whole),
            Part::Fragment => {
                collected.add(event.raw, false)?;
                self.collected = collected;
                Ok(Merged::Fragment)
            }
            Part::Last => {
                collected.add(event.raw, true)?;
                let len = collected.bytes.len() + 5;
                let prefix = i32::try_from(len).map_err(|_| SplitError::TooLarge)?;
                let mut whole = Vec::with_capacity(len);
                whole.extend_from_slice(&prefix.to_le_bytes());
                whole.extend_from_slice(&collected.bytes);
                whole.push(0);
                Ok(Merged::Complete(whole))
            }
        }
    }
}

impl Collected {
    fn add(&mut self, raw: &[u8], is_last: bool) -> Result<(), Malformed> {
        for element in raw::walk(raw)? {
            let element = element?;
            let is_left_out = match element.name {
                b"splitEvent" => true,
                b"_id" => !is_last,
                name => self.names.iter().any(|known| known == name),
            };
            if is_left_out {
                continue;
            }
            self.names.push(element.name.to_vec());
            self.bytes.push(element.kind as u8);
            self.bytes.extend_from_slice(element.name);
            self.bytes.push(0);
            self.bytes.extend_from_slice(element.value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, RawDocumentBuf, doc};

    fn raw(document: Document) -> Vec<u8> {
        RawDocumentBuf::try_from(&document).unwrap().into_bytes()
    }

    fn take(merger: &mut Merger, document: Document) -> Result<Merged, SplitError> {
        merger.take(&Event::parse(&raw(document)).unwrap())
    }

    /// Fragment `fragment` of `of`, with a field of its own and an `operationType` in the first.
    fn fragment(fragment: i32, of: i32) -> Document {
        let mut part = doc! {
            "_id": {"_data": format!("8265A1B2C3000000010{fragment}")},
            "splitEvent": {"fragment": fragment, "of": of},
            format!("field{fragment}"): fragment,
        };
        if fragment == 1 {
            part.insert("operationType", "update");
        }
        part
    }

    fn whole() -> Document {
        doc! {"_id": {"_data": "AA"}, "operationType": "insert"}
    }

    #[test]
    fn fragments_become_the_event_under_the_last_token() {
        let mut merger = Merger::default();
        let first = doc! {"_id": {"_data": "A"}, "splitEvent": {"fragment": 1, "of": 2},
        "operationType": "update", "ns": {"db": "d", "coll": "c"}, "documentKey": {"_id": 1}};
        // Some servers repeat what is small.
        let second = doc! {"_id": {"_data": "B"}, "splitEvent": {"fragment": 2, "of": 2},
        "operationType": "update", "ns": {"db": "d", "coll": "c"}, "fullDocument": {"_id": 1, "x": "y"}};
        assert_eq!(take(&mut merger, first), Ok(Merged::Fragment));
        assert!(merger.is_open());
        let Ok(Merged::Complete(whole)) = take(&mut merger, second) else {
            panic!("the second is the last");
        };
        assert!(!merger.is_open());
        let event = Event::parse(&whole).unwrap();
        assert_eq!(event.token_data(), Some("B"));
        assert_eq!((event.collection, event.split), ("c", None));
        assert!(event.full_document.unwrap().as_document().is_some());
        assert_eq!(raw::walk(&whole).unwrap().count(), 5);
    }

    #[test]
    fn what_does_not_follow_is_an_error_and_nothing_is_kept() {
        let another_time = doc! {"_id": {"_data": "8265A1B2C40000000102"}, "x": 1,
        "splitEvent": {"fragment": 2, "of": 3}};
        let twice = doc! {"_id": {"_data": "8265A1B2C30000000102"}, "operationType": "insert",
        "splitEvent": {"fragment": 2, "of": 3}};
        for (case, second, expected) in [
            (
                "one is missing",
                fragment(3, 3),
                SplitError::OutOfOrder {
                    expected: 2,
                    got: 3,
                },
            ),
            (
                "again the first",
                fragment(1, 3),
                SplitError::OutOfOrder {
                    expected: 2,
                    got: 1,
                },
            ),
            ("of four", fragment(2, 4), SplitError::OfAnother { got: 2 }),
            (
                "of another time",
                another_time,
                SplitError::OfAnother { got: 2 },
            ),
            ("another operation", twice, SplitError::OfAnother { got: 2 }),
            (
                "ordinary",
                whole(),
                SplitError::Interrupted { expected: 2, of: 3 },
            ),
        ] {
            let mut merger = Merger::default();
            assert_eq!(take(&mut merger, fragment(1, 3)), Ok(Merged::Fragment));
            assert_eq!(take(&mut merger, second), Err(expected), "{case}");
            assert!(
                !merger.is_open() && merger.collected.bytes.is_empty(),
                "{case}"
            );
            assert_eq!(take(&mut merger, whole()), Ok(Merged::Whole), "{case}");
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_at_once() {
        for (number, of) in [(1, 0), (3, 2), (0, 2), (0, 0), (1, 2_000_000_000)] {
            let mut merger = Merger::default();
            let taken = take(&mut merger, fragment(number, of));
            let is_refused = matches!(taken, Err(SplitError::Impossible { .. }));
            assert!(is_refused, "{number} of {of}: {taken:?}");
        }
        let mut merger = Merger::default();
        let late = take(&mut merger, fragment(2, 3));
        assert_eq!(
            late,
            Err(SplitError::OutOfOrder {
                expected: 1,
                got: 2
            })
        );
    }

    #[test]
    fn fragments_that_never_end_are_given_up() {
        let mut merger = Merger::default();
        let mut taken = take(&mut merger, fragment(1, 900));
        for number in 2..900 {
            let mut part = fragment(number, 900);
            part.insert("_id", doc! {"_data": "8265A1B2C300000001"});
            part.insert(format!("large{number}"), "x".repeat(1 << 20));
            if taken != Ok(Merged::Fragment) {
                break;
            }
            taken = take(&mut merger, part);
        }
        assert_eq!(taken, Err(SplitError::TooLarge));
        assert!(merger.collected.bytes.is_empty());
    }

    #[test]
    fn an_event_whose_operation_is_in_no_fragment_is_none() {
        let mut merger = Merger::default();
        let mut first = fragment(1, 2);
        first.remove("operationType");
        assert_eq!(take(&mut merger, first), Ok(Merged::Fragment));
        let last = take(&mut merger, fragment(2, 2));
        let expected = NoEvent::Without("operationType");
        assert_eq!(last, Err(SplitError::NoEvent(expected)));
    }
}
