//! The filter of a listener: a MongoDB query, compiled once and decided on raw BSON.
//!
//! What MongoDB's `find` would find is the specification, as MongoDB 8 documents it; earlier servers
//! differ in one place, that there `{field: null}` also matches the deprecated type `undefined`.
//! Operators that need the server (`$expr`, `$where`, `$text`, places on a map) are refused by name,
//! and so is whatever would be decided otherwise here than there.
//!
//! A listener is a document that others write. So its filter is bounded: in bytes, nesting,
//! conditions, and in what a path can make of a document (see `bounds`).

mod arguments;
mod bits;
mod bounds;
mod compile;
mod error;
pub mod key;
mod number;
mod operand;
mod order;
mod path;
mod pattern;
mod query;
mod test;
mod types;

#[cfg(test)]
mod tests;

pub use error::FilterError;

use bson::RawDocument;
use query::Query;

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    query: Query,
}

impl Filter {
    /// Compiles a query as `find` takes it.
    ///
    /// # Errors
    /// [`FilterError`], a sentence, for what is malformed, not supported or over a bound.
    pub fn compile(query: &RawDocument) -> Result<Self, FilterError> {
        bounds::check(query.as_bytes())?;
        compile::query(query.as_bytes()).map(|query| Self { query })
    }

    /// Whether `find` would find this document. Nothing is allocated, but by the regular expressions
    /// at their first use on a thread. What is malformed counts as the end of its document.
    pub fn matches(&self, document: &RawDocument) -> bool {
        self.query.matches(document.as_bytes())
    }

    /// Whether it matches every document: such a filter needs no document to be decided.
    pub fn is_empty(&self) -> bool {
        matches!(&self.query, Query::All(parts) if parts.is_empty())
    }

    /// Whether it reads no other field of the document (the first part of a path) than those that
    /// `is_there` knows: then a document that has only those decides it as the whole one would.
    pub fn reads_only(&self, is_there: impl Fn(&str) -> bool) -> bool {
        self.query
            .reads_only(&|name| std::str::from_utf8(name).is_ok_and(&is_there))
    }
}
