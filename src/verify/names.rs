//! Namespaces by number, and what became of them: drops and renames move or end all that was there before.

use crate::change::namespace::Namespace;
use std::collections::{BTreeMap, HashMap};

/// What an event about a collection or a database did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Definition {
    Drop(Namespace),
    DropDatabase(String),
    Rename(Namespace, Namespace),
    /// It was made, as expanded events say: nothing was there before.
    Create(Namespace),
}

/// What became of a namespace with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ended,
    MovedTo(u32),
    Began,
}

/// Namespaces, each with a number.
#[derive(Debug, Default)]
pub struct Names {
    all: Vec<Namespace>,
    by_name: HashMap<String, u32>,
    /// By `tw-seq`: a repeated event counts once.
    definitions: BTreeMap<u64, Definition>,
    /// What became of each, in the order of the stream.
    fates: HashMap<u32, Vec<(u64, Fate)>>,
}

impl Names {
    /// The number of `database.collection`; none of a database alone.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.by_name.get(name) {
            return Some(*number);
        }
        let (database, collection) = name.split_once('.')?;
        let number = u32::try_from(self.all.len()).ok()?;
        self.all.push(Namespace {
            database: database.to_owned(),
            collection: collection.to_owned(),
        });
        self.by_name.insert(name.to_owned(), number);
        Some(number)
    }

    pub fn number_of(&mut self, namespace: &Namespace) -> Option<u32> {
        self.number(&namespace.to_string())
    }

    pub fn get(&self, number: u32) -> &Namespace {
        &self.all[number as usize]
    }

    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.all.len()).unwrap_or(u32::MAX)
    }

    pub fn define(&mut self, seq: u64, definition: Definition) {
        self.definitions.entry(seq).or_insert(definition);
    }

    /// To be called when all events are there, before [`fate`](Self::at_the_end).
    pub fn settle(&mut self) {
        self.fates.clear();
        for (seq, definition) in std::mem::take(&mut self.definitions) {
            match &definition {
                Definition::Drop(name) => self.befalls(seq, name, Fate::Ended),
                Definition::Create(name) => self.befalls(seq, name, Fate::Began),
                Definition::DropDatabase(database) => {
                    for number in self.numbers() {
                        if self.get(number).database == *database {
                            self.fates
                                .entry(number)
                                .or_default()
                                .push((seq, Fate::Ended));
                        }
                    }
                }
                Definition::Rename(from, to) => {
                    if let Some(number) = self.number_of(to) {
                        // What it replaces is gone.
                        self.befalls(seq, to, Fate::Ended);
                        self.befalls(seq, from, Fate::MovedTo(number));
                    }
                }
            }
            self.definitions.insert(seq, definition);
        }
    }

    fn befalls(&mut self, seq: u64, name: &Namespace, fate: Fate) {
        if let Some(number) = self.number_of(name) {
            self.fates.entry(number).or_default().push((seq, fate));
        }
    }

    /// Where a document is at the end that had a change of this number in this namespace; none where it went
    /// with its collection.
    pub fn at_the_end(&self, mut namespace: u32, mut seq: u64) -> Option<u32> {
        // Each step is of a later event.
        while let Some(fates) = self.fates.get(&namespace) {
            let behind = fates.partition_point(|(at, _)| *at <= seq);
            let next = fates[behind..]
                .iter()
                .find(|(_, fate)| *fate != Fate::Began);
            match next {
                None => break,
                Some((_, Fate::Ended | Fate::Began)) => return None,
                Some((at, Fate::MovedTo(to))) => (namespace, seq) = (*to, *at),
            }
        }
        Some(namespace)
    }

    /// Whether the stream has seen all that is in this namespace: since it was dropped or made under the
    /// stream's eyes, nothing came from elsewhere.
    pub fn is_seen_whole(&self, namespace: u32) -> bool {
        let last = self.fates.get(&namespace).and_then(|fates| fates.last());
        match last {
            Some((_, Fate::Began)) => true,
            Some((seq, Fate::Ended)) => self.renamed_into(namespace) != Some(*seq),
            _ => false,
        }
    }

    /// The number of the last rename into this namespace.
    pub fn renamed_into(&self, namespace: u32) -> Option<u64> {
        let name = self.get(namespace);
        let into = self.definitions.iter().rev();
        into.filter(|(_, it)| matches!(it, Definition::Rename(_, to) if to == name))
            .map(|(seq, _)| *seq)
            .next()
    }

    /// From where the last rename into this namespace came.
    pub fn renamed_from(&self, namespace: u32) -> Option<&Namespace> {
        match self.definitions.get(&self.renamed_into(namespace)?)? {
            Definition::Rename(from, _) => Some(from),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(collection: &str) -> Namespace {
        Namespace {
            database: "shop".into(),
            collection: collection.into(),
        }
    }

    #[test]
    fn a_rename_moves_what_was_there_and_ends_what_it_replaces() {
        let mut names = Names::default();
        let old = names.number("shop.old").unwrap();
        let new = names.number("shop.new").unwrap();
        names.define(10, Definition::Rename(name("old"), name("new")));
        names.define(10, Definition::Drop(name("new")));
        names.settle();
        assert_eq!(names.at_the_end(old, 9), Some(new));
        assert_eq!(names.at_the_end(new, 9), None);
        assert_eq!(names.at_the_end(new, 11), Some(new));
        // Made again under the old name.
        assert_eq!(names.at_the_end(old, 11), Some(old));
        assert_eq!(names.renamed_from(new), Some(&name("old")));
        assert!(!names.is_seen_whole(new));
    }

    #[test]
    fn a_drop_ends_a_collection_also_under_its_new_name() {
        let mut names = Names::default();
        let old = names.number("shop.old").unwrap();
        let new = names.number("shop.new").unwrap();
        names.define(10, Definition::Rename(name("old"), name("new")));
        names.define(20, Definition::DropDatabase("shop".into()));
        names.settle();
        assert_eq!(names.at_the_end(old, 9), None);
        assert_eq!(names.at_the_end(new, 15), None);
        assert_eq!(names.at_the_end(old, 21), Some(old));
        assert!(names.is_seen_whole(new));
        assert!(names.is_seen_whole(old));
    }

    #[test]
    fn names_that_circle_come_to_an_end() {
        let mut names = Names::default();
        let a = names.number("shop.a").unwrap();
        for seq in [1, 3, 5] {
            names.define(seq, Definition::Rename(name("a"), name("b")));
            names.define(seq + 1, Definition::Rename(name("b"), name("a")));
        }
        names.settle();
        assert_eq!(names.at_the_end(a, 0), Some(a));
    }
}
