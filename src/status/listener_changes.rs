//! What has changed of the listeners, as a stream of this process has seen it.

use bson::{Bson, doc};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many changes of a stream's listeners are kept.
pub const MOST: usize = 200;

/// How many bytes the values of all of them may have; those of one may have an eighth.
const LARGEST: usize = 256 << 10;

/// What became of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Created,
    Changed,
    /// `isActive` has changed, and nothing else.
    Enabled,
    Disabled,
    Deleted,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// One field of a listener's document, before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub before: Option<Bson>,
    pub after: Option<Bson>,
}

/// One change of one listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerChange {
    /// The listener's `_id` as text.
    pub listener: String,
    /// What a person calls it.
    pub title: String,
    pub kind: Kind,
    /// When it was written, in ms since the Unix epoch.
    pub at_millis: i64,
    pub fields: Vec<Field>,
    /// Whether the values were too large to be kept.
    pub is_without_values: bool,
}

impl ListenerChange {
    fn bytes(&self) -> usize {
        let values = self
            .fields
            .iter()
            .flat_map(|field| [&field.before, &field.after]);
        let of = |value: &Bson| doc! {"": value}.to_vec().map_or(0, |bytes| bytes.len());
        values.flatten().map(of).sum()
    }

    fn within(mut self, largest: usize) -> Self {
        if self.bytes() > largest {
            self.is_without_values = true;
            for field in &mut self.fields {
                (field.before, field.after) = (None, None);
            }
        }
        self
    }
}

/// The last changes, the oldest first. They are kept in memory, and begin with the process.
#[derive(Debug, Default)]
pub struct ListenerChanges(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    changes: VecDeque<ListenerChange>,
    bytes: usize,
}

impl ListenerChanges {
    /// Takes note of a change. One that is known comes again where a stream is read again from an earlier position.
    pub fn add(&self, change: ListenerChange) {
        let change = change.within(LARGEST / 8);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes.contains(&change) {
            return;
        }
        kept.bytes += change.bytes();
        kept.changes.push_back(change);
        while kept.changes.len() > MOST || kept.bytes > LARGEST {
            let Some(oldest) = kept.changes.pop_front() else {
                break;
            };
            kept.bytes -= oldest.bytes();
        }
    }

    pub fn all(&self) -> Vec<ListenerChange> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.changes.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at_millis: i64, value: &str) -> ListenerChange {
        ListenerChange {
            listener: "a".to_owned(),
            title: "a -> b".to_owned(),
            kind: Kind::Changed,
            at_millis,
            fields: vec![Field {
                name: "filter".to_owned(),
                before: None,
                after: Some(value.into()),
            }],
            is_without_values: false,
        }
    }

    #[test]
    fn so_many_are_kept_and_none_twice() {
        let changes = ListenerChanges::default();
        for at in 0..300 {
            changes.add(change(at, "x"));
            changes.add(change(at, "x"));
        }
        let all = changes.all();
        assert_eq!(all.len(), MOST);
        assert_eq!((all[0].at_millis, all[MOST - 1].at_millis), (100, 299));
    }

    #[test]
    fn their_values_are_bounded_each_and_together() {
        let changes = ListenerChanges::default();
        for at in 0..20 {
            changes.add(change(at, &"x".repeat(30_000)));
        }
        assert_eq!(changes.all().len(), 8);
        changes.add(change(20, &"x".repeat(40_000)));
        let last = changes.all().pop().unwrap();
        assert!(last.is_without_values && last.fields[0].after.is_none());
        assert_eq!(last.fields[0].name, "filter");
    }
}
