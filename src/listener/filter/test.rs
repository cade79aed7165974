//! What is asked of one value.

use super::bits::Bits;
use super::number::Number;
use super::operand::{Comparison, Operand, Operands};
use super::order::fields;
use super::path::Ending;
use super::pattern::Pattern;
use super::query::Query;
use super::types::Types;
use crate::change::raw::Element;
use bson::spec::ElementType;

/// One operator with its operand.
#[derive(Debug)]
pub(super) enum Test {
    Compare(Comparison, Operand),
    In(Operands, Box<[Pattern]>),
    Exists,
    Types(Types),
    /// The dividend without its fraction, divided by the first, leaves the second.
    Modulo(i64, i64),
    Bits(Bits),
    Pattern(Pattern),
    /// How many elements an array has.
    Size(usize),
    /// An array of which one element, a document or an array, matches.
    ElementMatches(Box<Query>),
    /// An array of which one element meets the conditions.
    ElementMeets(Box<Condition>),
    /// `$all` of nothing.
    Never,
}

/// Tests of one value, or of the values that one path leads to.
#[derive(Debug)]
pub(super) enum Condition {
    All(Box<[Condition]>),
    Not(Box<Condition>),
    Test(Test),
}

impl Condition {
    pub(super) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether it holds where `decide` answers each test. A test is asked by itself: `{$gt: 1, $lt: 3}`
    /// is met by an array in which one element is greater and another one less.
    pub(super) fn holds(&self, decide: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|each| each.holds(decide)),
            Self::Not(condition) => !condition.holds(decide),
            Self::Test(test) => decide(test),
        }
    }
}

impl Test {
    /// Tests of an array as such do not look at its elements one by one.
    pub(super) fn ending(&self) -> Ending {
        match self {
            Self::Size(_) | Self::ElementMatches(_) | Self::ElementMeets(_) => Ending::Whole,
            _ => Ending::Spread,
        }
    }

    /// `None` is a field that is missing.
    pub(super) fn accepts(&self, value: Option<&Element<'_>>) -> bool {
        match self {
            Self::Compare(comparison, operand) => return operand.accepts(*comparison, value),
            Self::In(operands, patterns) => {
                return operands.contain(value)
                    || value.is_some_and(|value| patterns.iter().any(|each| each.accepts(value)));
            }
            _ => {}
        }
        let Some(value) = value else {
            return false;
        };
        match self {
            Self::Compare(..) | Self::In(..) | Self::Never => false,
            Self::Exists => true,
            Self::Types(types) => types.contain(value.kind),
            Self::Modulo(divisor, remainder) => Number::of(value)
                .and_then(Number::truncated)
                .is_some_and(|dividend| dividend.wrapping_rem(*divisor) == *remainder),
            Self::Bits(bits) => bits.accept(value),
            Self::Pattern(pattern) => pattern.accepts(value),
            Self::Size(size) => elements(value).is_some_and(|array| array.count() == *size),
            Self::ElementMatches(query) => elements(value).is_some_and(|mut array| {
                array.any(|each| {
                    // An array is a document whose fields are named 0, 1, ….
                    let inner = each.as_document().or_else(|| each.as_array());
                    inner.is_some_and(|inner| query.matches(inner))
                })
            }),
            Self::ElementMeets(condition) => elements(value).is_some_and(|mut array| {
                array.any(|each| condition.holds(&|test: &Self| test.accepts(Some(&each))))
            }),
        }
    }
}

fn elements<'a>(value: &Element<'a>) -> Option<impl Iterator<Item = Element<'a>>> {
    (value.kind == ElementType::Array).then(|| fields(value.value))
}
