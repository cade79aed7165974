//! A collection of a database, by its names.

/// `database.collection`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    pub database: String,
    pub collection: String,
}
