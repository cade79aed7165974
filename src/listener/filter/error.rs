//! Why a filter is refused.

use std::fmt;

/// A sentence: where, what is wrong, and what would be right. It names fields and operators, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    at: String,
    problem: String,
}

impl FilterError {
    pub(super) fn new(at: &At<'_>, problem: impl Into<String>) -> Self {
        Self {
            at: at.to_string(),
            problem: problem.into(),
        }
    }

    /// Where in the filter, as a dotted path; empty for the filter as a whole.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong, and what would be right.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.is_empty() {
            true => write!(f, "in the filter: {}", self.problem),
            false => write!(f, "in the filter at {}: {}", self.at, self.problem),
        }
    }
}

impl std::error::Error for FilterError {}

/// A place in the filter, as a chain of names that is put together only for an error.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    name: &'a [u8],
}

impl<'a> At<'a> {
    pub(super) const TOP: At<'static> = At {
        parent: None,
        name: b"",
    };

    pub(super) fn below(&'a self, name: &'a [u8]) -> At<'a> {
        At {
            parent: Some(self),
            name,
        }
    }

    pub(super) fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError::new(self, problem))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else {
            return Ok(());
        };
        if parent.parent.is_some() {
            write!(f, "{parent}.")?;
        }
        f.write_str(&String::from_utf8_lossy(self.name))
    }
}
