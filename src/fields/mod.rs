//! What is done to the fields of documents before anything of them leaves the process: some are left out, some have
//! their values masked, some get other names. All on the bytes as they came.
//!
//! A path goes through arrays, and an index is no part of it: `lines.price` is that field of each line, whether the line
//! is in a document or in `updatedFields` as `lines.0.price`. Names that are whole numbers count as indexes wherever
//! they stand, since a path of an update does not say which of the two it means. A name that holds dots is taken for
//! the names between them, for the same reason. `docs/formats.md` describes the result for users.

mod document;
mod event;
mod mask;
mod rules;
#[cfg(test)]
mod tests;

pub use event::Unfit;
pub use rules::Rules;

use crate::config;
use mask::Masks;
use std::collections::HashMap;
use std::sync::Arc;

/// How many collections are remembered; those of a server are seldom more, and temporary ones come and go.
const MOST: usize = 10_000;

/// The rules of all collections.
#[derive(Debug, Clone)]
pub struct Fields {
    settings: Arc<config::Fields>,
    masks: Arc<Masks>,
    /// By database and collection; none where there is no rule for it.
    known: HashMap<(String, String), Option<Arc<Rules>>, foldhash::fast::RandomState>,
}

impl Fields {
    /// Those of the configuration, where it has any.
    pub fn of(settings: Option<&Arc<config::Fields>>) -> Option<Self> {
        let settings = Arc::clone(settings?);
        let masks = Arc::new(Masks::of(&settings));
        Some(Self {
            settings,
            masks,
            known: HashMap::default(),
        })
    }

    /// The rules of a collection; none where all its fields stay as they are.
    pub fn rules(&self, database: &str, collection: &str) -> Option<Arc<Rules>> {
        let rules = Rules::of(&self.settings, &self.masks, database, collection);
        rules.map(Arc::new)
    }

    /// A hash that tells the rules of a collection from others; none where there are none.
    pub fn fingerprint(&self, database: &str, collection: &str) -> Option<String> {
        self.rules(database, collection)
            .map(|rules| rules.fingerprint())
    }

    /// The same, remembered.
    fn known(&mut self, database: &str, collection: &str) -> Option<Arc<Rules>> {
        let name = (database.to_owned(), collection.to_owned());
        if let Some(rules) = self.known.get(&name) {
            return rules.clone();
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let rules = self.rules(database, collection);
        self.known.insert(name, rules.clone());
        rules
    }
}
