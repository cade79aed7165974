//! What is asked of a document.

use super::path::Path;
use super::test::{Condition, Test};

/// A compiled query.
#[derive(Debug)]
pub(super) enum Query {
    All(Box<[Query]>),
    Any(Box<[Query]>),
    None(Box<[Query]>),
    Field(Path, Condition),
}

impl Query {
    pub(super) fn matches(&self, document: &[u8]) -> bool {
        match self {
            Self::All(queries) => queries.iter().all(|query| query.matches(document)),
            Self::Any(queries) => queries.iter().any(|query| query.matches(document)),
            Self::None(queries) => !queries.iter().any(|query| query.matches(document)),
            Self::Field(path, condition) => condition.holds(&|test: &Test| {
                path.leads_to(document, test.ending(), &|value| test.accepts(value))
            }),
        }
    }

    /// Whether each path begins with a field that `is_there` knows.
    pub(super) fn reads_only(&self, is_there: &impl Fn(&[u8]) -> bool) -> bool {
        match self {
            Self::All(queries) | Self::Any(queries) | Self::None(queries) => {
                queries.iter().all(|query| query.reads_only(is_there))
            }
            Self::Field(path, _) => is_there(path.root()),
        }
    }
}
