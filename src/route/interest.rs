//! What listeners want of a stream, so that the server need not send the rest.

use crate::change::operations::Operations;
use std::collections::BTreeMap;

/// Collections, and the operations that somebody wants of each, whatever the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interest {
    /// Nothing is known of what is not wanted.
    Everything,
    Only(BTreeMap<String, Operations>),
}

/// With more collections than this, everything is asked for: a filter of the server's costs time for each event.
const MOST: usize = 500;

impl Interest {
    /// That of these collections.
    pub fn of(collections: BTreeMap<String, Operations>) -> Self {
        match collections.len() > MOST {
            true => Self::Everything,
            false => Self::Only(collections),
        }
    }

    /// Whether all that `other` wants is wanted here, too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Only(_), Self::Everything) => false,
            (Self::Only(ours), Self::Only(theirs)) => theirs
                .iter()
                .all(|(name, wanted)| ours.get(name).is_some_and(|ours| ours.contain(*wanted))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::Bson;

    fn only(collections: &[(&str, &str)]) -> Interest {
        let read = |name: &str| Operations::read(&Bson::from(name)).unwrap();
        let mut map = BTreeMap::<String, Operations>::new();
        for (name, operation) in collections {
            let wanted = map.entry((*name).to_owned()).or_default();
            *wanted = wanted.and(read(operation));
        }
        Interest::of(map)
    }

    #[test]
    fn more_collections_or_operations_are_not_covered() {
        let some = only(&[("a", "insert"), ("a", "update"), ("b", "delete")]);
        for narrower in [
            only(&[]),
            only(&[("a", "update")]),
            only(&[("a", "insert"), ("b", "delete")]),
        ] {
            assert!(some.covers(&narrower));
            assert!(!narrower.covers(&some));
        }
        for other in [only(&[("c", "insert")]), only(&[("b", "insert")])] {
            assert!(!some.covers(&other));
        }
        assert!(Interest::Everything.covers(&some) && !some.covers(&Interest::Everything));
    }

    #[test]
    fn too_many_collections_are_everything() {
        let names = Vec::from_iter((0..=MOST).map(|number| number.to_string()));
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "insert")).collect();
        assert_eq!(only(&many), Interest::Everything);
        assert_ne!(only(&many[1..]), Interest::Everything);
    }
}
