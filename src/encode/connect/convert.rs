//! What becomes of a value by its schema.

use crate::change::raw::{self, Element, Malformed};
use crate::config::connect_schema::{Kind, Schema};
use crate::encode::driver::{self, Style};
use crate::encode::json::{EncodeError, Stats, binary, decimal};
use bson::spec::ElementType;
use std::borrow::Cow;

/// A value that holds no others.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// The digits of a decimal, too.
    Bytes(Cow<'a, [u8]>),
}

/// Whether it is null by this schema: missing, or null where it may be.
pub(super) fn is_null(schema: &Schema, value: Option<Element<'_>>) -> Result<bool, EncodeError> {
    match value {
        None if schema.is_optional => Ok(true),
        None => Err(EncodeError::Unfit(
            "a field that its schema requires is missing",
        )),
        Some(value) => Ok(schema.is_optional && value.kind == ElementType::Null),
    }
}

const OTHER: EncodeError = EncodeError::Unfit("a value is of another type than its schema says");

pub(super) fn scalar<'a>(
    schema: &Schema,
    value: Element<'a>,
    style: Style,
    stats: &mut Stats,
) -> Result<Scalar<'a>, EncodeError> {
    Ok(match schema.kind {
        Kind::Boolean => match value.kind {
            ElementType::Boolean => Scalar::Boolean(value.value.first() == Some(&1)),
            _ => return Err(OTHER),
        },
        Kind::String => Scalar::Text(text(value, style, stats)?),
        Kind::Bytes => Scalar::Bytes(bytes(value)?),
        Kind::Decimal(of) => {
            let (digits, scale) = unscaled(value)?;
            if scale != of {
                return Err(OTHER);
            }
            Scalar::Bytes(Cow::Owned(digits))
        }
        Kind::Timestamp | Kind::Int64 => Scalar::Long(number(value)?.long()),
        Kind::Int32 => Scalar::Int(number(value)?.long() as i32),
        Kind::Float64 => Scalar::Double(number(value)?.double()),
        Kind::Array(_) | Kind::Map(_) | Kind::Struct(_) => return Err(OTHER),
    })
}

enum Number {
    Whole(i64),
    Double(f64),
}

impl Number {
    fn long(self) -> i64 {
        match self {
            Self::Whole(number) => number,
            Self::Double(number) => number as i64,
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Double(number) => number,
        }
    }
}

fn number(value: Element<'_>) -> Result<Number, EncodeError> {
    let fixed = value.value;
    Ok(match value.kind {
        ElementType::Double => {
            Number::Double(f64::from_le_bytes(fixed.try_into().map_err(|_| OTHER)?))
        }
        ElementType::Int32 | ElementType::Int64 => Number::Whole(value.as_i64().ok_or(OTHER)?),
        ElementType::DateTime => Number::Whole(value.as_date_millis().ok_or(OTHER)?),
        ElementType::Timestamp => {
            let (seconds, _) = value.as_timestamp().ok_or(OTHER)?;
            // Java has no numbers without a sign.
            Number::Whole(i64::from(seconds as i32) * 1000)
        }
        _ => return Err(OTHER),
    })
}

/// A string as it is, and everything else as the formatter writes it, without quotes around it.
fn text<'a>(
    value: Element<'a>,
    style: Style,
    stats: &mut Stats,
) -> Result<Cow<'a, str>, EncodeError> {
    if value.kind == ElementType::String {
        let bytes = value.string_bytes().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, Cow::Owned(_)) {
            stats.replaced += 1;
        }
        return Ok(text);
    }
    let mut json = Vec::new();
    *stats += driver::write_value(&mut json, style, value)?;
    let inner = match json.as_slice() {
        [b'"', inner @ .., b'"'] => inner,
        whole => whole,
    };
    Ok(Cow::Owned(String::from_utf8_lossy(inner).into_owned()))
}

fn bytes(value: Element<'_>) -> Result<Cow<'_, [u8]>, EncodeError> {
    match value.kind {
        ElementType::String => Ok(
            match String::from_utf8_lossy(value.string_bytes().ok_or(OTHER)?) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        ),
        ElementType::Binary => match value.value {
            [_, _, _, _, subtype, rest @ ..] => Ok(Cow::Borrowed(binary::payload(*subtype, rest))),
            _ => Err(malformed(value)),
        },
        ElementType::EmbeddedDocument => Ok(Cow::Borrowed(value.value)),
        _ => Err(OTHER),
    }
}

fn malformed(value: Element<'_>) -> EncodeError {
    EncodeError::Malformed(Malformed {
        offset: 0,
        len: value.value.len(),
    })
}

/// How many digits a decimal has behind its point.
pub(super) fn scale(value: Element<'_>) -> Result<i32, EncodeError> {
    unscaled(value).map(|(_, scale)| scale)
}

/// The digits of a decimal as a number of Java's `BigInteger`, and how many of them stand behind the point.
fn unscaled(value: Element<'_>) -> Result<(Vec<u8>, i32), EncodeError> {
    let bytes = match value.kind {
        ElementType::Decimal128 => value.value.try_into().map_err(|_| malformed(value))?,
        _ => return Err(OTHER),
    };
    let decimal::Parts {
        is_negative,
        coefficient,
        exponent,
    } = decimal::parts(bytes).ok_or(EncodeError::Unfit(
        "a decimal that is no number (NaN or an infinity) has no counterpart in Connect",
    ))?;
    if is_negative && coefficient == 0 {
        return Err(EncodeError::Unfit(
            "a decimal that is a negative zero has no counterpart in Connect",
        ));
    }
    // It has 113 bits at most.
    let signed = match is_negative {
        true => -(coefficient as i128),
        false => coefficient as i128,
    };
    let all = signed.to_be_bytes();
    let filler = if is_negative { 0xff } else { 0 };
    let is_spare = |at: &usize| all[*at] == filler && (all[*at + 1] & 0x80 != 0) == is_negative;
    let first = (0..all.len() - 1)
        .find(|at| !is_spare(at))
        .unwrap_or(all.len() - 1);
    Ok((all[first..].to_vec(), -exponent))
}

/// The members of a document by their names.
pub(super) struct Members<'a> {
    sorted: Vec<Element<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn of(document: &'a [u8]) -> Result<Self, EncodeError> {
        let mut sorted = Vec::new();
        for element in raw::walk(document)? {
            sorted.push(element?);
        }
        sorted.reverse();
        sorted.sort_by(|one: &Element<'_>, other| one.name.cmp(other.name));
        sorted.dedup_by(|one, other| one.name == other.name);
        Ok(Self { sorted })
    }

    /// The member of this name; for one with dots, that of a document within, too.
    pub(super) fn get(&self, name: &str) -> Result<Option<Element<'a>>, EncodeError> {
        if let Some(found) = self.exact(name) {
            return Ok(Some(found));
        }
        match name.split_once('.') {
            Some((first, rest)) if !name.ends_with('.') => {
                match self.exact(first).and_then(|element| element.as_document()) {
                    Some(document) => Members::of(document)?.get(rest),
                    None => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn exact(&self, name: &str) -> Option<Element<'a>> {
        let found = self
            .sorted
            .binary_search_by(|element| element.name.cmp(name.as_bytes()));
        match found {
            Ok(at) => Some(self.sorted[at]),
            // A name that is not UTF-8 is called by what stands in its place.
            Err(_) if name.contains(char::REPLACEMENT_CHARACTER) => {
                let mut all = self.sorted.iter();
                all.find(|element| String::from_utf8_lossy(element.name) == name)
                    .copied()
            }
            Err(_) => None,
        }
    }
}

/// The elements of an array.
pub(super) fn elements<'a>(value: Element<'a>) -> Result<Vec<Element<'a>>, EncodeError> {
    let array = value.as_array().ok_or(OTHER)?;
    let mut elements = Vec::new();
    for element in raw::walk(array)? {
        elements.push(element?);
    }
    Ok(elements)
}

/// The document that a value is.
pub(super) fn document(value: Element<'_>) -> Result<&[u8], EncodeError> {
    value.as_document().ok_or(OTHER)
}
