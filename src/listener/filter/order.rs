//! MongoDB's order of BSON values, and with it their equality.
//!
//! <https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/>

use super::number::Number;
use crate::change::raw::{self, Element};
use bson::spec::ElementType;
use std::cmp::Ordering;

/// The types that are compared by value have one rank: all numbers, strings and symbols. A range
/// matches only values of its own rank.
pub(super) fn rank(kind: ElementType) -> u8 {
    match kind {
        ElementType::MinKey => 0,
        ElementType::Undefined => 1,
        ElementType::Null => 2,
        ElementType::Double | ElementType::Int32 | ElementType::Int64 | ElementType::Decimal128 => {
            3
        }
        ElementType::String | ElementType::Symbol => 4,
        ElementType::EmbeddedDocument => 5,
        ElementType::Array => 6,
        ElementType::Binary => 7,
        ElementType::ObjectId => 8,
        ElementType::Boolean => 9,
        ElementType::DateTime => 10,
        ElementType::Timestamp => 11,
        ElementType::RegularExpression => 12,
        ElementType::DbPointer => 13,
        ElementType::JavaScriptCode => 14,
        ElementType::JavaScriptCodeWithScope => 15,
        ElementType::MaxKey => 16,
    }
}

/// The order over all values. Fields' names count within documents, those of the two values not.
pub(super) fn compare(left: &Element<'_>, right: &Element<'_>) -> Ordering {
    rank(left.kind)
        .cmp(&rank(right.kind))
        .then_with(|| of_one_rank(left, right))
}

/// Both values are of one rank.
fn of_one_rank(left: &Element<'_>, right: &Element<'_>) -> Ordering {
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return left.compare(right);
    }
    match left.kind {
        ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode => {
            left.string_bytes().cmp(&right.string_bytes())
        }
        ElementType::EmbeddedDocument | ElementType::Array => documents(left.value, right.value),
        ElementType::DateTime => left.as_date_millis().cmp(&right.as_date_millis()),
        ElementType::Timestamp => left.as_timestamp().cmp(&right.as_timestamp()),
        // The length first, then subtype and bytes.
        ElementType::Binary | ElementType::DbPointer => left
            .value
            .len()
            .cmp(&right.value.len())
            .then_with(|| left.value.cmp(right.value)),
        // Pattern and options each end with a zero, so that a shorter pattern is below its continuation.
        _ => left.value.cmp(right.value),
    }
}

/// Field by field: type, name, value. What ends first is below.
fn documents(left: &[u8], right: &[u8]) -> Ordering {
    let mut right = fields(right);
    for left in fields(left) {
        let Some(right) = right.next() else {
            return Ordering::Greater;
        };
        let order = rank(left.kind)
            .cmp(&rank(right.kind))
            .then_with(|| left.name.cmp(right.name))
            .then_with(|| of_one_rank(&left, &right));
        if order != Ordering::Equal {
            return order;
        }
    }
    match right.next() {
        Some(_) => Ordering::Less,
        None => Ordering::Equal,
    }
}

/// The elements of a document or an array up to what is malformed: who encodes the event reports that.
pub(super) fn fields(document: &[u8]) -> impl Iterator<Item = Element<'_>> {
    raw::walk(document)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
}
