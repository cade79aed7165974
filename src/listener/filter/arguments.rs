//! What operators take, and the sentence where they get something else.

use super::bits::{Bits, Of};
use super::error::{At, FilterError};
use super::number::Number;
use super::operand::Operand;
use super::order::fields;
use super::test::Test;
use crate::change::raw::Element;
use bson::spec::ElementType;
use std::cmp::Ordering;

pub(super) fn operand(value: &Element<'_>, at: &At<'_>) -> Result<Operand, FilterError> {
    match value.kind {
        ElementType::Undefined => at.refuse(
            "undefined, a deprecated type, is nothing to compare with; use null, or \
             {$exists: false}, or {$type: \"undefined\"}",
        ),
        _ => Ok(value.into()),
    }
}

/// Pattern and options of a value of that type, which are two strings that end with a zero.
pub(super) fn regular_expression<'a>(
    value: &Element<'a>,
    at: &At<'_>,
) -> Result<(&'a str, &'a str), FilterError> {
    let text = std::str::from_utf8(value.value).ok();
    let parts = text.and_then(|text| text.strip_suffix('\0')?.split_once('\0'));
    match parts {
        Some(parts) => Ok(parts),
        None => at.refuse("the regular expression is not valid UTF-8; use one that is"),
    }
}

/// As MongoDB takes the operand of `$exists` for true or false.
pub(super) fn is_true(value: &Element<'_>) -> bool {
    match Number::of(value) {
        Some(number) => number.compare(Number::Int(0)) != Ordering::Equal,
        None => match value.kind {
            ElementType::Boolean => value.value != [0],
            kind => !matches!(kind, ElementType::Null | ElementType::Undefined),
        },
    }
}

pub(super) fn whole(value: &Element<'_>, at: &At<'_>, what: &str) -> Result<u32, FilterError> {
    let number = Number::of(value).and_then(Number::whole);
    match number.and_then(|number| i32::try_from(number).ok()) {
        Some(number @ 0..) => Ok(number as u32),
        _ => at.refuse(format!("{what} takes a whole number from 0 to 2147483647")),
    }
}

pub(super) fn modulo(operator: &Element<'_>, at: &At<'_>) -> Result<Test, FilterError> {
    let mut parts = fields(operator.as_array().unwrap_or_default())
        .map(|part| Number::of(&part).and_then(Number::truncated));
    match [parts.next(), parts.next(), parts.next()] {
        [Some(Some(0)), ..] => at.refuse("$mod divides by 0; give another divisor"),
        [Some(Some(divisor)), Some(Some(remainder)), None] => Ok(Test::Modulo(divisor, remainder)),
        _ => at.refuse("$mod takes [divisor, remainder], two numbers of at most 64 bits"),
    }
}

pub(super) fn bits(
    operator: &Element<'_>,
    at: &At<'_>,
    of: Of,
    are: bool,
) -> Result<Test, FilterError> {
    let mut positions = Vec::new();
    let set_in = |byte: u8, from: u32| {
        (0..8)
            .filter(move |bit| byte >> bit & 1 == 1)
            .map(move |bit| from + bit)
    };
    match operator.kind {
        ElementType::Array => {
            for each in fields(operator.value) {
                positions.push(whole(&each, &at.below(each.name), "a bit's position")?);
            }
        }
        ElementType::Binary => {
            let bytes = operator.value.get(5..).unwrap_or_default();
            for (byte, from) in bytes.iter().zip((0..).step_by(8)) {
                positions.extend(set_in(*byte, from));
            }
        }
        _ => match Number::of(operator).and_then(Number::whole) {
            Some(mask @ 0..) => {
                for (byte, from) in mask.to_le_bytes().into_iter().zip((0..).step_by(8)) {
                    positions.extend(set_in(byte, from));
                }
            }
            _ => {
                return at.refuse(
                    "tests of bits take an array of positions, a whole number that is not \
                     negative, or binary",
                );
            }
        },
    }
    Ok(Test::Bits(Bits {
        of,
        are,
        positions: positions.into(),
    }))
}

/// Says of MongoDB's own operators why they are not supported.
pub(super) fn refuse_operator<T>(
    operator: &Element<'_>,
    at: &At<'_>,
    otherwise: &str,
) -> Result<T, FilterError> {
    let name = String::from_utf8_lossy(operator.name);
    let why = match &*name {
        "$expr" => "compare a field with a value instead, such as {total: {$gt: 10}}",
        "$where" | "$function" => "no JavaScript is run; compare fields with values instead",
        "$text" => "it needs an index of the server; use $regex instead",
        "$jsonSchema" => "use $type, $exists and comparisons instead",
        "$near" | "$nearSphere" | "$geoNear" | "$geoWithin" | "$geoIntersects" | "$within" => {
            "places are not compared; filter by another field"
        }
        "$maxDistance" | "$minDistance" | "$geometry" | "$box" | "$center" | "$centerSphere"
        | "$polygon" => "places are not compared; filter by another field",
        "$sampleRate" | "$rand" => {
            "an event that is read again must be decided as before; filter by a field"
        }
        "$alwaysTrue" => "an empty filter matches everything",
        "$alwaysFalse" => "set isActive to false instead",
        "$comment" => "it stands at the top of a query",
        _ => return at.refuse(format!("{name} is not known {otherwise}")),
    };
    at.refuse(format!("{name} is not supported: {why}"))
}
