//! What a checkpoint holds beside a token and a number.

use bson::{Bson, Document};
use std::sync::Arc;

/// The named parts of a position beside its token and number: how far a snapshot is, which set of listeners is
/// in force. A checkpoint with none of them has form 1, and one with any form 2.
///
/// A part that this version does not know is kept as it was read. A copy costs a counter or two, for every batch
/// has one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extra {
    parts: Option<Arc<Document>>,
    /// Apart from the others: it changes with every few rows, and listeners may be many.
    snapshot: Option<Arc<Bson>>,
    /// Apart from the others: it changes with every event of a transaction.
    transactions: Option<Arc<Bson>>,
}

impl Extra {
    /// The part that holds the listeners in force.
    pub const LISTENERS: &'static str = "listeners";
    /// The part that tells how far a snapshot is.
    pub const SNAPSHOT: &'static str = "snapshot";
    /// The part that tells how far transactions of MongoDB are.
    pub const TRANSACTIONS: &'static str = "transactions";

    pub fn is_empty(&self) -> bool {
        self.parts.is_none() && self.snapshot.is_none() && self.transactions.is_none()
    }

    /// Whether the two are one and the same, and not only alike.
    pub fn is(&self, other: &Self) -> bool {
        let is_same_snapshot = match (&self.snapshot, &other.snapshot) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        // That of transactions is small, and made anew for each position.
        is_same_snapshot
            && self.transactions == other.transactions
            && self.is_but_for_snapshot(other)
    }

    /// Whether the two are one and the same, whatever they say of a snapshot and of transactions.
    pub fn is_but_for_snapshot(&self, other: &Self) -> bool {
        match (&self.parts, &other.parts) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// The part of this name.
    pub fn get(&self, part: &str) -> Option<&Bson> {
        match part {
            Self::SNAPSHOT => self.snapshot.as_deref(),
            Self::TRANSACTIONS => self.transactions.as_deref(),
            _ => self.parts.as_ref()?.get(part),
        }
    }

    /// The same parts, but for this one, which is now `value`; without a value there is none.
    #[must_use]
    pub fn with(&self, part: &str, value: Option<Bson>) -> Self {
        let mut with = self.clone();
        let apart = match part {
            Self::SNAPSHOT => Some(&mut with.snapshot),
            Self::TRANSACTIONS => Some(&mut with.transactions),
            _ => None,
        };
        if let Some(apart) = apart {
            *apart = value.map(Arc::new);
            return with;
        }
        let mut parts = self.parts.as_deref().cloned().unwrap_or_default();
        match value {
            Some(value) => parts.insert(part, value),
            None => parts.remove(part),
        };
        with.parts = (!parts.is_empty()).then(|| Arc::new(parts));
        with
    }

    /// All parts; none where there is none.
    pub(crate) fn to_document(&self) -> Option<Document> {
        if self.is_empty() {
            return None;
        }
        let mut parts = self.parts.as_deref().cloned().unwrap_or_default();
        for (name, part) in [
            (Self::SNAPSHOT, &self.snapshot),
            (Self::TRANSACTIONS, &self.transactions),
        ] {
            if let Some(part) = part {
                parts.insert(name, part.as_ref().clone());
            }
        }
        Some(parts)
    }
}

impl From<Document> for Extra {
    fn from(mut parts: Document) -> Self {
        let snapshot = parts.remove(Self::SNAPSHOT).map(Arc::new);
        let transactions = parts.remove(Self::TRANSACTIONS).map(Arc::new);
        Self {
            parts: (!parts.is_empty()).then(|| Arc::new(parts)),
            snapshot,
            transactions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_away_the_last_part_leaves_none() {
        let one = Extra::default().with("snapshot", Some(1.into()));
        assert_eq!(one.get("snapshot"), Some(&Bson::Int32(1)));
        let two = one.with("listeners", Some("9c2d".into()));
        assert_eq!(two.get("snapshot"), Some(&Bson::Int32(1)));
        let read = Extra::from(two.to_document().unwrap());
        assert_eq!(read, two);
        assert!(!read.is(&two));
        let none = two.with("listeners", None).with("snapshot", None);
        assert!(none.is_empty());
        assert_eq!(none, Extra::default());
    }

    #[test]
    fn the_progress_of_a_snapshot_leaves_the_other_parts_as_they_are() {
        let before = Extra::default().with("listeners", Some("9c2d".into()));
        let after = before.with("snapshot", Some(1.into()));
        assert!(after.is_but_for_snapshot(&before));
        assert!(!after.is(&before) && after.is(&after.clone()));
    }
}
