//! Puts the fragments of a large event together again (`$changeStreamSplitLargeEvent`).
//!
//! The server cuts an event over 16 MiB between top-level fields. Every fragment has a token of its own,
//! but only the last one's is a place from which another process can go on.

use crate::raw::{self, Malformed};

/// Collects fragments until the event is whole.
#[derive(Debug, Default)]
pub struct Merger {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    fields: Vec<u8>,
    next: u32,
    of: u32,
}

/// A fragment does not follow the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("fragment {got} of a split event came where {expected} was due")]
    OutOfOrder { expected: u32, got: u32 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Merger {
    /// Whether fragments are still to come.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.fields.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes fragment `fragment` of `of`; returns the whole event with the last one, under the last
    /// fragment's token and without `splitEvent`.
    ///
    /// # Errors
    /// [`SplitError`] when a fragment is missing or malformed.
    pub fn push(
        &mut self,
        raw: &[u8],
        (fragment, of): (u32, u32),
    ) -> Result<Option<Vec<u8>>, SplitError> {
        let expected = self.open.as_ref().map_or(1, |open| open.next);
        if fragment != expected || self.open.as_ref().is_some_and(|open| open.of != of) {
            self.open = None;
            return Err(SplitError::OutOfOrder {
                expected,
                got: fragment,
            });
        }
        let open = self.open.get_or_insert_with(|| Open {
            fields: Vec::new(),
            next: 1,
            of,
        });
        open.next += 1;
        let last = fragment == of;
        for element in raw::walk(raw)? {
            let element = element?;
            let is_token = element.name == b"_id";
            if element.name == b"splitEvent" || (is_token && !last) {
                continue;
            }
            open.fields.push(element.kind as u8);
            open.fields.extend_from_slice(element.name);
            open.fields.push(0);
            open.fields.extend_from_slice(element.value);
        }
        if !last {
            return Ok(None);
        }
        let fields = self.open.take().map(|open| open.fields).unwrap_or_default();
        let len = fields.len() + 5;
        let prefix = i32::try_from(len).map_err(|_| Malformed { offset: 0, len })?;
        let mut whole = Vec::with_capacity(len);
        whole.extend_from_slice(&prefix.to_le_bytes());
        whole.extend_from_slice(&fields);
        whole.push(0);
        Ok(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use bson::{RawDocumentBuf, doc};

    fn raw(document: &bson::Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).unwrap().into_bytes()
    }

    #[test]
    fn fragments_become_the_event_under_the_last_token() {
        let mut merger = Merger::default();
        let first = raw(
            &doc! {"_id": {"_data": "A"}, "splitEvent": {"fragment": 1, "of": 2},
            "operationType": "update", "ns": {"db": "d", "coll": "c"}, "documentKey": {"_id": 1}},
        );
        let second = raw(
            &doc! {"_id": {"_data": "B"}, "splitEvent": {"fragment": 2, "of": 2},
            "fullDocument": {"_id": 1, "x": "y"}},
        );
        assert_eq!(merger.push(&first, (1, 2)), Ok(None));
        assert!(merger.is_open() && !merger.is_empty());
        let whole = merger.push(&second, (2, 2)).unwrap().unwrap();
        assert!(!merger.is_open());
        let event = Event::parse(&whole).unwrap();
        assert_eq!(event.token_data(), Some("B"));
        assert_eq!((event.collection, event.split), ("c", None));
        assert!(event.has_full_document());
    }

    #[test]
    fn a_missing_fragment_is_an_error_and_nothing_is_kept() {
        let mut merger = Merger::default();
        let part = raw(&doc! {"_id": {"_data": "A"}});
        merger.push(&part, (1, 3)).unwrap();
        assert!(matches!(
            merger.push(&part, (3, 3)),
            Err(SplitError::OutOfOrder {
                expected: 2,
                got: 3
            })
        ));
        assert!(!merger.is_open());
    }
}
