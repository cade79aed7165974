//! A schema as Kafka Connect has it: a tree.

mod parse;

pub use parse::{CHANGE_STREAM, KEY, parse};

use std::hash::{Hash, Hasher};

/// What a value is, whether it may be null, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema {
    pub kind: Kind,
    pub is_optional: bool,
    /// Of documents and arrays. Those of decimals and dates are Connect's own.
    pub name: Option<String>,
    /// Whether anything but null was seen of it.
    pub known: Known,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    Boolean,
    Int32,
    Int64,
    Float64,
    String,
    Bytes,
    /// Digits behind the point; below zero where the last of the digits are no units.
    Decimal(i32),
    Timestamp,
    Array(Box<Schema>),
    Map(Box<Schema>),
    Struct(Vec<Field>),
}

/// A member of a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub name: String,
    pub schema: Schema,
}

/// Whether any value was seen from which a schema was inferred. Of a null alone it is a string's until something else
/// comes, but it is the same schema as that of a string.
#[derive(Debug, Clone, Copy)]
pub struct Known(pub bool);

impl PartialEq for Known {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Schema {
    /// One of which something was seen.
    pub fn new(kind: Kind, is_optional: bool, name: Option<String>) -> Self {
        Self {
            kind,
            is_optional,
            name,
            known: Known(true),
        }
    }

    /// The same, without a name, of what may be null.
    pub fn optional(kind: Kind) -> Self {
        Self::new(kind, true, None)
    }

    /// That of texts, which every record with plain JSON in it has.
    pub fn string() -> Self {
        Self::new(Kind::String, false, None)
    }

    /// The name of its logical type, and of documents and arrays their own.
    pub fn full_name(&self) -> Option<&str> {
        match self.kind {
            Kind::Decimal(_) => Some("org.apache.kafka.connect.data.Decimal"),
            Kind::Timestamp => Some("org.apache.kafka.connect.data.Timestamp"),
            _ => self.name.as_deref(),
        }
    }
}
