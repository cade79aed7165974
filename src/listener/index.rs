//! Which listeners may want an event: found by namespace, and by the value of a field that many of them ask for.
//!
//! A thousand listeners on one collection mostly differ in one field, `{status: "received"}`. Each listener whose
//! filter asks for equality of a field stands under that value, so that an event looks only at those that its own
//! values lead to. What is found is still decided by the whole filter.

use super::filter::key::Key;
use crate::change::event::{Event, Operation};
use crate::change::operations::Operations;
use crate::change::raw;
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::collections::HashMap;

type Map<K, V> = HashMap<K, V, RandomState>;

/// Places of listeners, in the set's own order.
pub(super) type Places = SmallVec<[u32; 8]>;

/// What an index must know of a listener.
pub(super) struct Entry<'a> {
    pub(super) place: u32,
    pub(super) collection: &'a str,
    pub(super) database: Option<&'a str>,
    /// None: as the database's settings say.
    pub(super) operations: Option<Operations>,
    /// A field and the value that it must have, of the document.
    pub(super) equality: Option<(&'a str, Key)>,
    /// The `_id` that it must have.
    pub(super) id: Option<Key>,
}

/// All active listeners.
#[derive(Debug, Default)]
pub(super) struct Index {
    collections: Map<String, Collection>,
    /// Those of any collection: a `dropDatabase` has none.
    all: Collection,
}

#[derive(Debug, Default)]
struct Collection {
    /// What is wanted of every database, and of those that are named.
    everywhere: Wanted,
    databases: Map<String, Wanted>,
    /// By `_id`, then by each field that some filter asks for.
    ids: Map<Key, Places>,
    fields: Vec<(String, Map<Key, Places>)>,
    others: Places,
    every: Places,
}

#[derive(Debug, Default, Clone, Copy)]
struct Wanted {
    operations: Operations,
    /// Whether some listener takes the operations of the database's settings.
    by_settings: bool,
}

impl Wanted {
    fn add(&mut self, operations: Option<Operations>) {
        match operations {
            Some(operations) => self.operations = self.operations.and(operations),
            None => self.by_settings = true,
        }
    }

    fn holds(self, event: &Event<'_>, by_settings: Operations) -> bool {
        self.operations.hold(event) || (self.by_settings && by_settings.hold(event))
    }
}

impl Index {
    pub(super) fn add(&mut self, entry: Entry<'_>) {
        self.all.want(entry.database, entry.operations);
        self.all.every.push(entry.place);
        let collection = self.collections.entry(entry.collection.to_owned());
        let collection = collection.or_default();
        collection.want(entry.database, entry.operations);
        collection.add(entry);
    }

    /// Whether some listener wants the event's namespace and operation; `by_settings` are the operations of
    /// those that name none.
    #[inline]
    pub(super) fn wants(&self, event: &Event<'_>, by_settings: Operations) -> bool {
        self.parts(event).any(|part| part.wants(event, by_settings))
    }

    /// The listeners that may want the event, each once and in order; of `document` where its fields are known.
    pub(super) fn candidates(&self, event: &Event<'_>, document: Option<&[u8]>) -> Places {
        let mut places = Places::new();
        for part in self.parts(event) {
            part.candidates(event, document, &mut places);
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    fn parts(&self, event: &Event<'_>) -> impl Iterator<Item = &Collection> {
        let named = |name: &str| self.collections.get(name);
        let renamed = match event.operation {
            Operation::Rename => event.rename_to.and_then(|to| {
                let name = raw::find(to, "coll").ok()??;
                named(name.as_str()?)
            }),
            _ => None,
        };
        let own = match event.collection.is_empty() {
            true => Some(&self.all),
            false => named(event.collection),
        };
        own.into_iter().chain(renamed)
    }
}

impl Collection {
    fn want(&mut self, database: Option<&str>, operations: Option<Operations>) {
        match database {
            None => self.everywhere.add(operations),
            Some(name) => {
                let wanted = self.databases.entry(name.to_owned()).or_default();
                wanted.add(operations);
            }
        }
    }

    fn add(&mut self, entry: Entry<'_>) {
        self.every.push(entry.place);
        let places = match (entry.id, entry.equality) {
            (Some(id), _) => self.ids.entry(id).or_default(),
            (None, Some((field, key))) => {
                let known = self.fields.iter().position(|(name, _)| name == field);
                let at = known.unwrap_or_else(|| {
                    self.fields.push((field.to_owned(), Map::default()));
                    self.fields.len() - 1
                });
                self.fields[at].1.entry(key).or_default()
            }
            (None, None) => &mut self.others,
        };
        places.push(entry.place);
    }

    fn wants(&self, event: &Event<'_>, by_settings: Operations) -> bool {
        self.everywhere.holds(event, by_settings)
            || self
                .databases
                .get(event.database)
                .is_some_and(|wanted| wanted.holds(event, by_settings))
    }

    fn candidates(&self, event: &Event<'_>, document: Option<&[u8]>, found: &mut Places) {
        // A document that is not there decides nothing: each listener says what it can do without.
        let (true, Some(document)) = (event.operation.is_document(), document) else {
            found.extend_from_slice(&self.every);
            return;
        };
        found.extend_from_slice(&self.others);
        if !self.ids.is_empty() {
            match event.document_id().map(|id| Key::of(&id)) {
                Some(Some(key)) => found.extend(self.ids.get(&key).into_iter().flatten().copied()),
                _ => found.extend(self.ids.values().flatten().copied()),
            }
        }
        for (field, values) in &self.fields {
            let Ok(Some(value)) = raw::find(document, field) else {
                continue;
            };
            match value.as_array() {
                None => look_up(values, &value, found),
                Some(array) => {
                    for each in raw::walk(array).into_iter().flatten().map_while(Result::ok) {
                        look_up(values, &each, found);
                    }
                }
            }
        }
    }
}

fn look_up(values: &Map<Key, Places>, value: &raw::Element<'_>, found: &mut Places) {
    match Key::of(value) {
        Some(key) => found.extend(values.get(&key).into_iter().flatten().copied()),
        // Of a kind that may equal a key and is none itself.
        None if Key::may_equal(value) => found.extend(values.values().flatten().copied()),
        None => {}
    }
}
