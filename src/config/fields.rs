//! `FIELDS_EXCLUDE`, `FIELDS_INCLUDE`, `FIELDS_MASK`, `FIELDS_RENAME`: which fields of documents leave the process, and
//! how.

use super::Secret;
use super::patterns::covers;

/// What is done to the fields of documents before anything of them is written anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub exclude: Vec<FieldPath>,
    /// Where one of them is for a collection, its other fields stay out.
    pub include: Vec<FieldPath>,
    pub mask: Vec<(FieldPath, MaskKind)>,
    /// The last name of a path, and what it becomes.
    pub rename: Vec<(FieldPath, String)>,
    /// `FIELDS_MASK_TEXT`.
    pub text: String,
    /// `FIELDS_MASK_SALT`: there where anything is hashed.
    pub salt: Option<Secret>,
}

/// A field, in the collections that the pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// A pattern of databases; none where streams are of one database.
    pub database: Option<String>,
    /// A pattern of collections.
    pub collection: String,
    /// The names on the way to the field.
    pub names: Vec<String>,
}

impl FieldPath {
    /// Whether it is a field of this collection.
    pub fn is_in(&self, database: &str, collection: &str) -> bool {
        let pattern = self.database.as_deref().unwrap_or("*");
        covers(pattern, database) && covers(&self.collection, collection)
    }
}

/// What stands in the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskKind {
    /// `FIELDS_MASK_TEXT`.
    Text,
    /// The HMAC-SHA-256 of the value: equal values have equal ones.
    Hash,
    /// Four asterisks and the last four characters.
    LastFour,
}
