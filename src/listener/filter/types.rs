//! `$type`: BSON's types by their names and numbers.

use super::error::{At, FilterError};
use super::number::Number;
use super::order::fields;
use crate::change::raw::Element;
use bson::spec::ElementType;

const NAMES: [(&str, ElementType); 21] = [
    ("double", ElementType::Double),
    ("string", ElementType::String),
    ("object", ElementType::EmbeddedDocument),
    ("array", ElementType::Array),
    ("binData", ElementType::Binary),
    ("undefined", ElementType::Undefined),
    ("objectId", ElementType::ObjectId),
    ("bool", ElementType::Boolean),
    ("date", ElementType::DateTime),
    ("null", ElementType::Null),
    ("regex", ElementType::RegularExpression),
    ("dbPointer", ElementType::DbPointer),
    ("javascript", ElementType::JavaScriptCode),
    ("symbol", ElementType::Symbol),
    ("javascriptWithScope", ElementType::JavaScriptCodeWithScope),
    ("int", ElementType::Int32),
    ("timestamp", ElementType::Timestamp),
    ("long", ElementType::Int64),
    ("decimal", ElementType::Decimal128),
    ("minKey", ElementType::MinKey),
    ("maxKey", ElementType::MaxKey),
];

const NUMBERS: [ElementType; 4] = [
    ElementType::Double,
    ElementType::Int32,
    ElementType::Int64,
    ElementType::Decimal128,
];

/// A set of types.
#[derive(Debug, Default)]
pub(super) struct Types(u32);

impl Types {
    /// A name, a number, or an array of them.
    pub(super) fn read(element: &Element<'_>, at: &At<'_>) -> Result<Self, FilterError> {
        let mut types = Self::default();
        match element.as_array() {
            None => types.add(element, at)?,
            Some(array) => {
                for each in fields(array) {
                    types.add(&each, &at.below(each.name))?;
                }
            }
        }
        match types.0 {
            0 => at.refuse("$type names no type; give at least one, such as [\"string\"]"),
            _ => Ok(types),
        }
    }

    fn add(&mut self, element: &Element<'_>, at: &At<'_>) -> Result<(), FilterError> {
        if element.kind == ElementType::String {
            if element.as_str() == Some("number") {
                NUMBERS.iter().for_each(|kind| self.0 |= bit(*kind));
                return Ok(());
            }
            let named = NAMES
                .iter()
                .find(|(name, _)| element.string_bytes() == Some(name.as_bytes()));
            let Some((_, kind)) = named else {
                return at.refuse(
                    "$type does not know this name; give one of MongoDB's, such as \"string\", \
                     \"objectId\", \"bool\", \"date\", \"number\" (for a field that is not there, \
                     use {$exists: false})",
                );
            };
            self.0 |= bit(*kind);
            return Ok(());
        }
        let code = Number::of(element).and_then(Number::whole);
        let kind = NAMES
            .iter()
            .map(|(_, kind)| *kind)
            .find(|kind| code == Some(i64::from(*kind as i8)));
        let Some(kind) = kind else {
            return at.refuse(
                "$type takes a type's name or its number: 1 to 19, 127, or -1 (for a field that is \
                 not there, use {$exists: false})",
            );
        };
        self.0 |= bit(kind);
        Ok(())
    }

    pub(super) fn contain(&self, kind: ElementType) -> bool {
        self.0 & bit(kind) != 0
    }
}

/// Types 1 to 19 have their own bit, the two keys those around them.
fn bit(kind: ElementType) -> u32 {
    1 << match kind {
        ElementType::MinKey => 0,
        ElementType::MaxKey => 31,
        other => other as u32,
    }
}
