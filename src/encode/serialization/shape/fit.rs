//! Whether a value can be written as it is, by a shape that is known.

use super::{Record, Shape, Slot};
use crate::change::raw::{self, Element, Malformed};
use crate::config::SchemaKind;
use bson::spec::{BinarySubtype, ElementType};

/// Beyond this, not every whole number is a double.
const EXACT: i64 = 1 << 53;

/// Whether a value that is neither null nor holds others can be written as this type, and read as what it was.
#[inline]
pub(in crate::encode::serialization) fn fits(
    kind: SchemaKind,
    shape: &Shape,
    element: Element<'_>,
) -> bool {
    match (shape, element.kind) {
        (Shape::Boolean, ElementType::Boolean)
        | (Shape::Int | Shape::Long | Shape::Double, ElementType::Int32)
        | (Shape::Long, ElementType::Int64)
        | (Shape::Double, ElementType::Double)
        | (Shape::Date, ElementType::DateTime)
        | (Shape::AnyArray, ElementType::Array)
        | (Shape::AnyDocument, ElementType::EmbeddedDocument) => true,
        (Shape::Int, ElementType::Int64 | ElementType::Double) => {
            whole(element).is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Shape::Long, ElementType::Double) => whole(element).is_some(),
        // A number in JSON is of any length.
        (Shape::Double, ElementType::Int64) => {
            kind == SchemaKind::JsonSchema
                || whole(element).is_some_and(|number| (-EXACT..=EXACT).contains(&number))
        }
        (Shape::String, ElementType::Binary) => is_uuid(element),
        // JSON has a UUID as text that is no base64.
        (Shape::Bytes, ElementType::Binary) => kind != SchemaKind::JsonSchema || !is_uuid(element),
        (
            Shape::String,
            ElementType::String
            | ElementType::Symbol
            | ElementType::ObjectId
            | ElementType::Decimal128,
        ) => true,
        (Shape::String, seldom) => kind != SchemaKind::JsonSchema && is_seldom(seldom),
        (Shape::AnyDocument, seldom) => kind == SchemaKind::JsonSchema && is_seldom(seldom),
        _ => false,
    }
}

/// What has no type of its own: as Extended JSON it is a document in JSON, and text elsewhere.
pub(super) fn is_seldom(kind: ElementType) -> bool {
    matches!(
        kind,
        ElementType::Timestamp
            | ElementType::RegularExpression
            | ElementType::JavaScriptCode
            | ElementType::JavaScriptCodeWithScope
            | ElementType::DbPointer
            | ElementType::MinKey
            | ElementType::MaxKey
    )
}

/// A whole number, also where it is a double; none where it is no number, or is `-0.0`.
#[inline]
pub(in crate::encode::serialization) fn whole(element: Element<'_>) -> Option<i64> {
    match element.kind {
        ElementType::Double => {
            let double = f64::from_le_bytes(element.value.try_into().ok()?);
            let is_whole = double.fract() == 0.0 && double.abs() <= EXACT as f64;
            let is_negative_zero = double == 0.0 && double.is_sign_negative();
            (is_whole && !is_negative_zero).then_some(double as i64)
        }
        _ => element.as_i64(),
    }
}

/// Whether it is binary of the subtype of UUIDs, and as long as one.
pub(in crate::encode::serialization) fn is_uuid(element: Element<'_>) -> bool {
    let subtype = u8::from(BinarySubtype::Uuid);
    element.kind == ElementType::Binary
        && element.value.len() == 4 + 1 + 16
        && element.value[4] == subtype
}

/// Whether it is written as null: also a number that JSON has not.
#[inline]
pub(in crate::encode::serialization) fn is_null(kind: SchemaKind, element: Element<'_>) -> bool {
    match element.kind {
        ElementType::Null | ElementType::Undefined => true,
        ElementType::Double if kind == SchemaKind::JsonSchema => {
            let bytes = element.value.try_into();
            !bytes.is_ok_and(|bytes| f64::from_le_bytes(bytes).is_finite())
        }
        _ => false,
    }
}

/// Whether it is as good as missing where the schema has no such field. JSON writes every null; Protobuf has neither
/// null nor an empty list.
#[inline]
pub(in crate::encode::serialization) fn is_nothing(kind: SchemaKind, element: Element<'_>) -> bool {
    /// The length of a document without elements.
    const EMPTY: usize = 5;
    match kind {
        SchemaKind::Avro => is_null(kind, element),
        SchemaKind::JsonSchema => false,
        SchemaKind::Protobuf => {
            is_null(kind, element)
                || (element.kind == ElementType::Array && element.value.len() <= EMPTY)
        }
    }
}

/// Whether a document can be written by this shape, in a language that needs no other look at it than this.
///
/// # Errors
/// [`Malformed`].
pub fn fits_document(
    kind: SchemaKind,
    record: &Record,
    document: &[u8],
) -> Result<bool, Malformed> {
    in_record(kind, record, document, 1)
}

fn in_record(
    kind: SchemaKind,
    record: &Record,
    document: &[u8],
    depth: usize,
) -> Result<bool, Malformed> {
    if depth > super::MAX_DEPTH {
        return Ok(false);
    }
    let mut expected = 0;
    for element in raw::walk(document)? {
        let element = element?;
        match record.find(element.name, expected) {
            Some(index) => {
                expected = index + 1;
                if !in_slot(kind, &record.fields()[index].slot, element, depth)? {
                    return Ok(false);
                }
            }
            None if record.is_open => {}
            None if is_nothing(kind, element) => {}
            None => return Ok(false),
        }
    }
    let fields = record.fields().iter();
    for required in fields.filter(|field| field.slot.null.is_none()) {
        if !has(document, &required.name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn has(document: &[u8], name: &[u8]) -> Result<bool, Malformed> {
    for element in raw::walk(document)? {
        if element?.name == name {
            return Ok(true);
        }
    }
    Ok(false)
}

fn in_slot(
    kind: SchemaKind,
    slot: &Slot,
    element: Element<'_>,
    depth: usize,
) -> Result<bool, Malformed> {
    if is_null(kind, element) {
        return Ok(slot.takes_null());
    }
    match (&slot.shape, element.kind) {
        (Shape::Record(record), ElementType::EmbeddedDocument) => {
            in_record(kind, record, element.value, depth + 1)
        }
        (Shape::Map(values), ElementType::EmbeddedDocument) => {
            in_elements(kind, values, element.value, depth + 1)
        }
        (Shape::Array(items), ElementType::Array) => {
            in_elements(kind, items, element.value, depth + 1)
        }
        (shape, _) => Ok(fits(kind, shape, element)),
    }
}

fn in_elements(
    kind: SchemaKind,
    slot: &Slot,
    array: &[u8],
    depth: usize,
) -> Result<bool, Malformed> {
    if depth > super::MAX_DEPTH {
        return Ok(false);
    }
    for element in raw::walk(array)? {
        if !in_slot(kind, slot, element?, depth)? {
            return Ok(false);
        }
    }
    Ok(true)
}
