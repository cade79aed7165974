//! Listeners: routes that users keep in a collection and change while a stream runs.

use super::patterns::covers;
use crate::change::namespace::Namespace;
use std::path::PathBuf;

/// `LISTENERS_COLLECTION` and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listeners {
    /// `LISTENERS_COLLECTION`.
    pub at: Namespace,
    /// `LISTENERS_TOPICS`: patterns of the topics that a listener may name.
    pub topics: Vec<String>,
    /// `LISTENERS_BOOTSTRAP`: the listeners that are created when they are missing.
    pub bootstrap: Option<Bootstrap>,
    /// Topics of Tailwater's own that no listener may name, with all whose names continue with a dot.
    pub reserved: Vec<String>,
    /// Whether records also go to the configuration's own topics: one of them is set.
    pub beside_topics: bool,
}

/// A file with listeners, as it was at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    pub path: PathBuf,
    pub text: String,
}

impl Listeners {
    /// Whether a listener may name this topic. A `*` in it stands for what is not known yet.
    pub fn allow(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| covers(pattern, topic))
    }

    /// Whether this topic is one of Tailwater's own.
    pub fn is_reserved(&self, topic: &str) -> bool {
        self.reserved.iter().any(|own| {
            let rest = topic.strip_prefix(own.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Whether this is the collection of the listeners.
    #[inline]
    pub fn are_in(&self, database: &str, collection: &str) -> bool {
        self.at.collection == collection && self.at.database == database
    }
}
