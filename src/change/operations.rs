//! Sets of operations, by the server's own names.

use crate::change::event::{EXPANDED, Event, Operation};
use bson::Bson;

/// The operations that every stream shows, in the order of their bits; [`EXPANDED`] ones follow.
const USUAL: [&str; 7] = [
    "insert",
    "update",
    "replace",
    "delete",
    "drop",
    "rename",
    "dropDatabase",
];

/// A set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations(u32);

impl Operations {
    /// insert, update, replace, delete.
    pub const OF_DOCUMENTS: Self = Self(0b1111);

    /// Reads `operationType`: a name or a list of names, in whichever case.
    ///
    /// # Errors
    /// A sentence that names what is no operation.
    pub fn read(value: &Bson) -> Result<Self, String> {
        const RIGHT: &str = "give a list such as [\"insert\", \"update\"]";
        let list = match value {
            Bson::String(_) => std::slice::from_ref(value),
            Bson::Array(list) => list.as_slice(),
            _ => return Err(format!("is neither a name nor a list of names; {RIGHT}")),
        };
        if list.is_empty() {
            return Err(format!("is an empty list; {RIGHT}"));
        }
        let mut operations = Self::default();
        for name in list {
            let Bson::String(name) = name else {
                return Err(format!(
                    "holds something that is no name of an operation; {RIGHT}"
                ));
            };
            let known = Self::known().position(|known| known.eq_ignore_ascii_case(name.trim()));
            match known {
                Some(bit) => operations.0 |= 1 << bit,
                None => {
                    let shown: String = name.chars().take(40).collect();
                    return Err(format!(
                        "{shown:?} is no operation; those of documents are insert, update, replace, \
                         delete, and others drop, rename, dropDatabase"
                    ));
                }
            }
        }
        Ok(operations)
    }

    /// Whether the event's operation is one of them.
    #[inline]
    pub fn hold(self, event: &Event<'_>) -> bool {
        let bit = match event.operation {
            Operation::Insert => 0,
            Operation::Update => 1,
            Operation::Replace => 2,
            Operation::Delete => 3,
            Operation::Drop => 4,
            Operation::Rename => 5,
            Operation::DropDatabase => 6,
            Operation::Invalidate | Operation::Read => return false,
            Operation::Other => {
                let named = |name: &&str| *name == event.operation_name;
                match EXPANDED.iter().position(named) {
                    Some(at) => USUAL.len() + at,
                    None => return false,
                }
            }
        };
        self.0 & (1 << bit) != 0
    }

    /// Whether all of these are among them.
    pub fn contain(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The names that can be given, in the server's own spelling and the order of their bits.
    pub fn known() -> impl Iterator<Item = &'static str> {
        USUAL.iter().chain(&EXPANDED).copied()
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The names of all.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::known()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::bson;

    #[test]
    fn a_name_or_a_list_of_names_in_any_case_is_read() {
        let names = |value: Bson| Vec::from_iter(Operations::read(&value).unwrap().names());
        assert_eq!(names(bson!("INSERT")), ["insert"]);
        assert_eq!(
            names(bson!(["dropdatabase", "Update", "update"])),
            ["update", "dropDatabase"]
        );
        for wrong in [
            bson!([]),
            bson!("upsert"),
            bson!([1]),
            bson!(null),
            bson!({}),
        ] {
            let sentence = Operations::read(&wrong).unwrap_err();
            assert!(sentence.contains("insert"), "{sentence}");
        }
    }

    #[test]
    fn an_event_is_held_by_its_own_operation_alone() {
        for name in Operations::known() {
            let only = Operations::read(&Bson::from(name)).unwrap();
            for other in Operations::known() {
                let event = Event::about(other, "d", "c");
                assert_eq!(only.hold(&event), name == other, "{name} {other}");
            }
            assert!(!only.hold(&Event::about("invalidate", "", "")));
            assert!(!only.hold(&Event::about("read", "d", "c")));
            assert!(!only.hold(&Event::about("teleport", "d", "c")));
        }
    }
}
