//! Values that a filter asks for by equality, in a form that can be looked up.

use super::Filter;
use super::number::Number;
use super::operand::Comparison;
use super::query::Query;
use super::test::{Condition, Test};
use crate::change::raw::Element;
use bson::spec::ElementType;

/// A value of one of the kinds that equality is mostly asked of. Two that the server takes for equal are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Text(Box<[u8]>),
    Id([u8; 12]),
    Flag(bool),
    Whole(i64),
}

/// Above this, not every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Key {
    /// The key of a value; none for other kinds.
    pub fn of(value: &Element<'_>) -> Option<Self> {
        match value.kind {
            ElementType::String | ElementType::Symbol => {
                value.string_bytes().map(|text| Self::Text(text.into()))
            }
            ElementType::ObjectId => value.value.try_into().ok().map(Self::Id),
            ElementType::Boolean => value.value.first().map(|byte| Self::Flag(*byte != 0)),
            _ => match Number::of(value)? {
                Number::Int(whole) => Some(Self::Whole(whole)),
                Number::Double(double) if double.fract() == 0.0 && double.abs() < EXACT => {
                    Some(Self::Whole(double as i64))
                }
                Number::Double(_) | Number::Decimal(_) => None,
            },
        }
    }

    /// Whether a value that has no key may still equal one: a number of another type.
    pub fn may_equal(value: &Element<'_>) -> bool {
        Number::of(value).is_some()
    }
}

impl Filter {
    /// A field of the document, and the value that it must have for the filter to match.
    pub fn equality(&self) -> Option<(&str, Key)> {
        let parts = match &self.query {
            Query::All(parts) => parts,
            single => std::slice::from_ref(single),
        };
        parts.iter().find_map(|part| match part {
            Query::Field(path, condition) => Some((path.only()?, equal(condition)?)),
            Query::All(_) | Query::Any(_) | Query::None(_) => None,
        })
    }
}

fn equal(condition: &Condition) -> Option<Key> {
    match condition {
        Condition::All(conditions) => conditions.iter().find_map(equal),
        Condition::Test(Test::Compare(Comparison::Equal, operand)) => Key::of(&operand.element()),
        Condition::Test(_) | Condition::Not(_) => None,
    }
}
