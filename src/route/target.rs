//! What an event's records are for: the configuration's own topics, and listeners.

use super::table::{RouteError, TopicId};
use smallvec::SmallVec;
use std::sync::Arc;

/// Whom a record is for. The same for as long as the process runs, so that what is known of a single record
/// outlives its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(u32);

impl TargetId {
    /// The topics of the configuration.
    pub const STATIC: Self = Self(0);
    /// How many bits it takes.
    pub const BITS: u32 = 20;
    const MASK: u32 = (1 << Self::BITS) - 1;
    /// Rows of a snapshot, which take no number: what is known of one of them is kept by its id.
    pub const ROWS: Self = Self(Self::MASK);
    /// The records that say where transactions of MongoDB begin and end, before those of an event.
    pub const BOUNDS: Self = Self(Self::MASK - 1);

    /// The listener of this number, counted from 0. None for one that there is no room for.
    pub fn of_listener(number: u32) -> Option<Self> {
        let id = number.checked_add(1)?;
        (id < Self::BOUNDS.0).then_some(Self(id))
    }

    /// The id as it travels through a client library's opaque pointer.
    pub fn to_opaque(self) -> usize {
        self.0 as usize
    }

    /// The id of the lowest [`BITS`](Self::BITS).
    pub fn from_opaque(opaque: usize) -> Self {
        Self(opaque as u32 & Self::MASK)
    }
}

/// What the records for a listener say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTag {
    /// Its `_id`, as text.
    pub id: String,
    pub job: String,
    pub priority: Option<String>,
}

/// One record that an event makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub id: TargetId,
    /// Where it goes, or why it can go nowhere.
    pub topic: Result<TopicId, Box<RouteError>>,
    /// None for the configuration's own topics.
    pub listener: Option<Arc<ListenerTag>>,
}

/// The records that an event makes, in the order in which they are sent.
pub type Targets = SmallVec<[Target; 2]>;

impl Target {
    /// A record of the configuration's own topics.
    pub fn of_configuration(topic: Result<TopicId, RouteError>) -> Self {
        Self {
            id: TargetId::STATIC,
            topic: topic.map_err(Box::new),
            listener: None,
        }
    }

    /// The same for a row of a snapshot.
    #[must_use]
    pub fn of_rows(self) -> Self {
        Self {
            id: TargetId::ROWS,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_never_taken_for_the_configuration_or_another_one() {
        let last = TargetId::MASK - 3;
        for number in [0, 1, last] {
            let id = TargetId::of_listener(number).unwrap();
            assert_ne!(id, TargetId::STATIC);
            assert_ne!(id, TargetId::ROWS);
            assert_ne!(id, TargetId::BOUNDS);
            assert_eq!(TargetId::from_opaque(id.to_opaque()), id);
        }
        assert_eq!(TargetId::of_listener(last + 1), None);
        assert_eq!(TargetId::of_listener(u32::MAX), None);
    }
}
