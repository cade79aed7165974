//! What a checkpoint holds beside a token and a number.

use bson::{Bson, Document};
use std::sync::Arc;

/// The named parts of a position beside its token and number: how far a snapshot is, which set of listeners is
/// in force. A checkpoint with none of them has form 1, and one with any form 2.
///
/// A part that this version does not know is kept as it was read. A copy costs a counter, for every batch has
/// one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extra(Option<Arc<Document>>);

impl Extra {
    /// The part that holds the listeners in force.
    pub const LISTENERS: &'static str = "listeners";

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the two are one and the same, and not only alike.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    /// The part of this name.
    pub fn get(&self, part: &str) -> Option<&Bson> {
        self.0.as_ref()?.get(part)
    }

    /// The same parts, but for this one, which is now `value`; without a value there is none.
    #[must_use]
    pub fn with(&self, part: &str, value: Option<Bson>) -> Self {
        let mut parts = self.0.as_deref().cloned().unwrap_or_default();
        match value {
            Some(value) => parts.insert(part, value),
            None => parts.remove(part),
        };
        Self::from(parts)
    }

    pub(crate) fn as_document(&self) -> Option<&Document> {
        self.0.as_deref()
    }
}

impl From<Document> for Extra {
    fn from(parts: Document) -> Self {
        Self((!parts.is_empty()).then(|| Arc::new(parts)))
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
        let none = two.with("listeners", None).with("snapshot", None);
        assert!(none.is_empty());
        assert_eq!(none, Extra::default());
    }
}
