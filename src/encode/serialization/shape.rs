//! What the documents of a collection look like: the types of their fields, whatever language a schema of them is
//! written in.
//!
//! A shape only ever grows, and only to what reads everything that was written before: a field is added, and a
//! number gets a wider type. What would change the type of a field is a [`Drift`].

mod fit;
mod validator;
mod widen;

pub use fit::fits_document;
pub(super) use fit::{fits, is_nothing, is_null, is_uuid, whole};
pub use validator::of_validator;
pub use widen::{Drift, MAX_DEPTH, MOST_MESSAGES, widen_document};

use crate::config::SchemaKind;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The type of a value. Several types of BSON that are read as the same are one here.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Nothing but nulls came so far.
    Unknown,
    Boolean,
    /// 32 bits. Only schemas that somebody else has registered have it.
    Int,
    /// 64 bits: int32, int64, and doubles that are whole.
    Long,
    Double,
    /// Strings and symbols; an ObjectId, a UUID and a Decimal128 as text; and what is seldom, as Extended JSON.
    String,
    /// Binary other than UUIDs.
    Bytes,
    /// Milliseconds since 1970.
    Date,
    Array(Box<Slot>),
    /// A document whose names are values of their own.
    Map(Box<Slot>),
    Record(Record),
    /// An array of whatever comes, where a language has no better.
    AnyArray,
    /// The same of a document.
    AnyDocument,
}

impl Shape {
    /// What a person calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Boolean => "a boolean",
            Self::Int => "a 32-bit integer",
            Self::Long => "an integer",
            Self::Double => "a double",
            Self::String => "a string",
            Self::Bytes => "binary",
            Self::Date => "a date",
            Self::Array(_) | Self::AnyArray => "an array",
            Self::Map(_) | Self::Record(_) | Self::AnyDocument => "a document",
        }
    }
}

/// A place for a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub shape: Shape,
    /// How it is when there is no value; none where there has to be one.
    pub null: Option<Branch>,
}

/// How a place is that is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// Null is the first branch of a union of two. Languages without unions have no other.
    First,
    /// It is the second.
    Second,
    /// The field is left out, and must not be null. Schemas of others in JSON have it.
    Absent,
}

impl Branch {
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second | Self::Absent => Self::First,
        }
    }
}

impl Slot {
    /// Whether null may be written there.
    pub fn takes_null(&self) -> bool {
        matches!(self.null, Some(Branch::First | Branch::Second))
    }

    /// A place that may be empty.
    pub fn optional(shape: Shape) -> Self {
        Self {
            shape,
            null: Some(Branch::First),
        }
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As in the document.
    pub name: Vec<u8>,
    /// As in the schema, whose names have no other characters than letters, digits and `_`.
    pub alias: String,
    /// Its number, where the language has them. It is never another's.
    pub number: u32,
    pub slot: Slot,
}

/// A document with known fields, in the schema's order.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Its name in the schema, without a namespace.
    pub name: String,
    /// Whether it may have fields that are not known. Schemas of others in JSON have such documents.
    pub is_open: bool,
    /// The greatest number that a field has or had.
    pub(super) last_number: u32,
    /// Where it is among the types of its schema, where their order counts.
    pub(super) order: usize,
    /// What its schema says of numbers and names that must not come again, as it is written there.
    pub(super) reserved: Vec<String>,
    fields: Vec<Field>,
    by_name: HashMap<Vec<u8>, usize, foldhash::fast::FixedState>,
    /// The aliases, and what is left of them where case and `_` do not count.
    aliases: Box<[HashSet<String, foldhash::fast::FixedState>; 2]>,
    /// Which number an alias got last that was wanted and taken: names in other scripts are all the same here.
    numbered: HashMap<String, u64, foldhash::fast::FixedState>,
}

/// The index follows from the fields.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.is_open == other.is_open && self.fields == other.fields
    }
}

impl Record {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn fields_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        self.fields.iter_mut()
    }

    /// Where the field of this name is. Documents mostly have their fields in the same order: `expected` is looked
    /// at first.
    #[inline]
    pub fn find(&self, name: &[u8], expected: usize) -> Option<usize> {
        match self.fields.get(expected) {
            Some(field) if field.name == name => Some(expected),
            _ => self.by_name.get(&*legible(name)).copied(),
        }
    }

    /// The place of a field; the field is made where it is missing.
    pub fn slot(&mut self, name: &[u8]) -> Option<&mut Slot> {
        let index = *self.by_name.get(&*legible(name))?;
        self.fields.get_mut(index).map(|field| &mut field.slot)
    }

    /// Adds a field that is not there yet, under an alias that is free.
    pub fn add(&mut self, name: &[u8], slot: Slot, kind: SchemaKind) {
        let wanted = alias(name);
        let reserved = |alias: &str| {
            let quoted = format!("\"{alias}\"");
            self.reserved.iter().any(|names| names.contains(&quoted))
        };
        let [aliases, folded_ones] = &*self.aliases;
        let is_taken = |alias: &str| match kind {
            // Names in JSON are made of them, and must differ, too. Older compilers take no two that differ in case alone.
            SchemaKind::Protobuf => reserved(alias) || folded_ones.contains(&folded(alias)),
            SchemaKind::Avro | SchemaKind::JsonSchema => aliases.contains(alias),
        };
        let alias = match is_taken(&wanted) {
            false => wanted,
            true => {
                let last = self.numbered.get(&wanted).copied().unwrap_or(1);
                let (alias, number) = numbered(&wanted, last, is_taken);
                self.numbered.insert(wanted, number);
                alias
            }
        };
        self.add_as(name, alias, slot);
    }

    /// Adds a field under an alias that a schema gives.
    pub fn add_as(&mut self, name: &[u8], alias: String, slot: Slot) {
        let number = match self.last_number + 1 {
            // Protobuf keeps these for itself.
            19_000..=19_999 => 20_000,
            next => next,
        };
        self.add_numbered(name, alias, number, slot);
    }

    /// The same with a number that a schema gives.
    pub fn add_numbered(&mut self, name: &[u8], alias: String, number: u32, slot: Slot) {
        self.last_number = self.last_number.max(number);
        let name = legible(name).into_owned();
        self.by_name.insert(name.clone(), self.fields.len());
        let [aliases, folded_ones] = &mut *self.aliases;
        aliases.insert(alias.clone());
        folded_ones.insert(folded(&alias));
        self.fields.push(Field {
            name,
            alias,
            number,
            slot,
        });
    }
}

/// A field's name as schemas can have it, which are text: what is not UTF-8 becomes U+FFFD, as in values.
fn legible(name: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(name) {
        Ok(_) => Cow::Borrowed(name),
        Err(_) => Cow::Owned(String::from_utf8_lossy(name).into_owned().into_bytes()),
    }
}

/// What is left of an alias where case and `_` do not count.
fn folded(alias: &str) -> String {
    let letters = alias.chars().filter(|c| *c != '_');
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// A name that is allowed in a schema: what is no letter, digit or `_` becomes `_`, and no digit is first.
pub fn alias(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut alias = String::with_capacity(text.len() + 1);
    if text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit()) {
        alias.push('_');
    }
    let legal = |c: char| match c.is_ascii_alphanumeric() {
        true => c,
        false => '_',
    };
    alias.extend(text.chars().map(legal));
    alias
}

/// A field's name in JSON, as Protobuf makes it of the name in its schema.
pub fn camel_case(name: &str) -> String {
    let mut is_raised = false;
    let mut camel = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => is_raised = true,
            c if is_raised => {
                camel.push(c.to_ascii_uppercase());
                is_raised = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// The name itself, or the first of `name_2`, `name_3`… that is free.
pub fn free(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(wanted) {
        return wanted.to_owned();
    }
    numbered(wanted, 1, is_taken).0
}

/// The first of `name_2`, `name_3`… behind the number `last` that is free, and its number.
fn numbered(wanted: &str, last: u64, is_taken: impl Fn(&str) -> bool) -> (String, u64) {
    let mut number = last + 1;
    loop {
        let name = format!("{wanted}_{number}");
        if !is_taken(&name) {
            return (name, number);
        }
        number += 1;
    }
}

/// Where a value is: names joined by dots, `[]` for the elements of an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// Goes down; what is returned goes back up with [`pop`](Self::pop).
    pub fn push(&mut self, name: &[u8]) -> usize {
        let before = self.0.len();
        if before > 0 {
            self.0.push('.');
        }
        self.0.push_str(&String::from_utf8_lossy(name));
        before
    }

    pub fn push_element(&mut self) -> usize {
        let before = self.0.len();
        self.0.push_str("[]");
        before
    }

    pub fn pop(&mut self, before: usize) {
        self.0.truncate(before);
    }
}

/// Names of fields are the schema's, too; values never are in it.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How much of it is shown, in characters.
        const MOST: usize = 200;
        let shown: String = self.0.chars().take(MOST).collect();
        match shown.len() < self.0.len() {
            true => write!(f, "{}…", shown.escape_debug()),
            false => write!(f, "{}", shown.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_a_name_of_its_own_that_schemas_allow() {
        let mut record = Record::new("Document");
        for name in ["a-b", "a_b", "a.b", "1st", "", "ü", "plain"] {
            record.add(
                name.as_bytes(),
                Slot::optional(Shape::Long),
                SchemaKind::Avro,
            );
        }
        let aliases: Vec<_> = record.fields().iter().map(|f| f.alias.as_str()).collect();
        assert_eq!(
            aliases,
            ["a_b", "a_b_2", "a_b_3", "_1st", "_", "__2", "plain"]
        );
        assert_eq!(record.find(b"a.b", 0), Some(2));
        assert_eq!(record.find(b"other", 2), None);
        let mut record = Record::new("Document");
        for name in ["user_name", "userName", "_id", "Id"] {
            record.add(
                name.as_bytes(),
                Slot::optional(Shape::Long),
                SchemaKind::Protobuf,
            );
        }
        let aliases: Vec<_> = record.fields().iter().map(|f| f.alias.as_str()).collect();
        assert_eq!(aliases, ["user_name", "userName_2", "_id", "Id_2"]);
        let numbers: Vec<_> = record.fields().iter().map(|f| f.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
}
