//! Values of the filter that those of documents are compared with.

use super::number::Number;
use super::order::{compare, rank};
use crate::change::raw::Element;
use bson::spec::ElementType;
use std::cmp::Ordering;

/// A value of its own bytes.
#[derive(Debug)]
pub(super) struct Operand {
    kind: ElementType,
    value: Box<[u8]>,
}

/// `$eq`, `$gt`…
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

impl From<&Element<'_>> for Operand {
    fn from(element: &Element<'_>) -> Self {
        Self {
            kind: element.kind,
            value: element.value.into(),
        }
    }
}

impl Operand {
    pub(super) fn element(&self) -> Element<'_> {
        Element {
            kind: self.kind,
            name: b"",
            value: &self.value,
        }
    }

    fn is_nan(&self) -> bool {
        Number::of(&self.element()).is_some_and(Number::is_nan)
    }

    /// Whether `value` stands to this operand as `comparison` says; `None` is a field that is missing.
    pub(super) fn accepts(&self, comparison: Comparison, value: Option<&Element<'_>>) -> bool {
        let of_one_rank = value.is_some_and(|value| rank(value.kind) == rank(self.kind));
        let Some(value) = value.filter(|_| of_one_rank) else {
            return match self.kind {
                // Whatever is there, or missing, is between the two.
                ElementType::MinKey => comparison.allows(Ordering::Greater),
                ElementType::MaxKey => comparison.allows(Ordering::Less),
                ElementType::Null => value.is_none() && comparison.allows(Ordering::Equal),
                _ => false,
            };
        };
        let order = compare(value, &self.element());
        // NaN is below every number in the order, and in no range of numbers.
        let is_unordered = comparison != Comparison::Equal && order.is_ne() && {
            self.is_nan() || Number::of(value).is_some_and(Number::is_nan)
        };
        !is_unordered && comparison.allows(order)
    }
}

/// The values of `$in`, sorted.
#[derive(Debug)]
pub(super) struct Operands {
    sorted: Box<[Operand]>,
    has_null: bool,
}

impl FromIterator<Operand> for Operands {
    fn from_iter<I: IntoIterator<Item = Operand>>(operands: I) -> Self {
        let mut sorted: Vec<Operand> = operands.into_iter().collect();
        sorted.sort_by(|left, right| compare(&left.element(), &right.element()));
        Self {
            has_null: sorted.iter().any(|it| it.kind == ElementType::Null),
            sorted: sorted.into(),
        }
    }
}

impl Operands {
    /// Whether one of them equals `value`; a missing field equals null.
    pub(super) fn contain(&self, value: Option<&Element<'_>>) -> bool {
        match value {
            Some(value) => self
                .sorted
                .binary_search_by(|operand| compare(&operand.element(), value))
                .is_ok(),
            None => self.has_null,
        }
    }
}
