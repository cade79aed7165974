//! Making a shape wide enough for a document.

use super::{Branch, Path, Record, Shape, Slot};
use crate::change::raw::{self, Element, Malformed};
use bson::spec::{BinarySubtype, ElementType};
use std::fmt;

/// How many fields a collection's schema may have, those of documents in documents counted: where names are
/// values (a document by user, by day), a schema would grow with each of them.
pub const MOST_FIELDS: usize = 2000;

/// How deep documents and arrays may lie in one another.
pub const MAX_DEPTH: usize = 64;

/// A document that does not fit, and that the shape cannot be widened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The value at this path is of another type than before.
    Type {
        path: Path,
        known: &'static str,
        comes: &'static str,
    },
    /// A whole number that no double holds.
    Precision {
        path: Path,
    },
    TooManyFields {
        path: Path,
    },
    TooDeep {
        path: Path,
    },
    Malformed(Malformed),
}

impl From<Malformed> for Drift {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { path, known, comes } => {
                write!(f, "`{path}` is {known} in the schema, and here {comes}")
            }
            Self::Precision { path } => write!(
                f,
                "`{path}` is a double in the schema, and no double holds this integer"
            ),
            Self::TooManyFields { path } => write!(
                f,
                "with `{path}` the schema would have more than {MOST_FIELDS} fields; where the names of fields are \
                 values, say so in the collection's $jsonSchema by additionalProperties"
            ),
            Self::TooDeep { path } => {
                write!(f, "`{path}` is nested deeper than {MAX_DEPTH} levels")
            }
            Self::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

/// Makes `record` wide enough for a document, which is at `path`. What had to be changed first; where nothing had,
/// the document fits as it is.
///
/// # Errors
/// [`Drift`]: it cannot. What `record` is then means nothing.
pub fn widen_document(
    record: &mut Record,
    document: &[u8],
    path: &str,
) -> Result<Option<Path>, Drift> {
    let mut widening = Widening {
        path: Path::default(),
        depth: 0,
        fields: count(record),
        changed: None,
    };
    widening.path.push(path.as_bytes());
    widening.record(record, document)?;
    Ok(widening.changed)
}

/// How many fields it has, at any depth.
fn count(record: &Record) -> usize {
    let slots = record.fields().iter().map(|field| &field.slot);
    slots.map(|slot| 1 + count_in(&slot.shape)).sum()
}

fn count_in(shape: &Shape) -> usize {
    match shape {
        Shape::Array(slot) | Shape::Map(slot) => count_in(&slot.shape),
        Shape::Record(record) => count(record),
        _ => 0,
    }
}

struct Widening {
    path: Path,
    depth: usize,
    fields: usize,
    changed: Option<Path>,
}

impl Widening {
    fn record(&mut self, record: &mut Record, document: &[u8]) -> Result<(), Drift> {
        self.down()?;
        for element in raw::walk(document)? {
            let element = element?;
            let before = self.path.push(element.name);
            match record.slot(element.name) {
                Some(slot) => self.slot(slot, element)?,
                // What is null is as good as missing.
                None if is_null(element.kind) => {}
                None => {
                    self.fields += 1;
                    if self.fields > MOST_FIELDS {
                        return Err(Drift::TooManyFields {
                            path: self.path.clone(),
                        });
                    }
                    let mut slot = Slot::optional(Shape::Unknown);
                    self.slot(&mut slot, element)?;
                    record.add(element.name, slot);
                    self.changes();
                }
            }
            self.path.pop(before);
        }
        self.missing(record, document)?;
        self.depth -= 1;
        Ok(())
    }

    /// Lets fields be null that must not be, and that the document lacks. Only schemas of others have such fields.
    fn missing(&mut self, record: &mut Record, document: &[u8]) -> Result<(), Drift> {
        for field in record
            .fields_mut()
            .filter(|field| field.slot.null.is_none())
        {
            let mut is_there = false;
            for element in raw::walk(document)? {
                is_there |= element?.name == field.name;
            }
            if !is_there {
                let before = self.path.push(&field.name);
                field.slot.null = Some(Branch::First);
                self.changes();
                self.path.pop(before);
            }
        }
        Ok(())
    }

    fn changes(&mut self) {
        self.changed.get_or_insert_with(|| self.path.clone());
    }

    fn elements(&mut self, slot: &mut Slot, array: &[u8], is_map: bool) -> Result<(), Drift> {
        self.down()?;
        for element in raw::walk(array)? {
            let element = element?;
            let before = match is_map {
                true => self.path.push(element.name),
                false => self.path.push_element(),
            };
            self.slot(slot, element)?;
            self.path.pop(before);
        }
        self.depth -= 1;
        Ok(())
    }

    fn down(&mut self) -> Result<(), Drift> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(Drift::TooDeep {
                path: self.path.clone(),
            }),
            false => Ok(()),
        }
    }

    fn slot(&mut self, slot: &mut Slot, element: Element<'_>) -> Result<(), Drift> {
        if is_null(element.kind) {
            if slot.null.is_none() {
                slot.null = Some(Branch::First);
                self.changes();
            }
            return Ok(());
        }
        if slot.shape == Shape::Unknown {
            slot.shape = begin(element);
            self.changes();
        }
        match (&mut slot.shape, element.kind) {
            (Shape::Record(record), ElementType::EmbeddedDocument) => {
                self.record(record, element.value)
            }
            (Shape::Map(slot), ElementType::EmbeddedDocument) => {
                self.elements(slot, element.value, true)
            }
            (Shape::Array(slot), ElementType::Array) => self.elements(slot, element.value, false),
            (shape, _) => {
                if let Some(wider) = self.scalar(shape, element)? {
                    *shape = wider;
                    self.changes();
                }
                Ok(())
            }
        }
    }

    /// The type that a value needs where it has not the one that is there.
    fn scalar(&self, shape: &Shape, element: Element<'_>) -> Result<Option<Shape>, Drift> {
        if fits(shape, element) {
            return Ok(None);
        }
        match (shape, element.kind) {
            (Shape::Int, ElementType::Int64) => Ok(Some(Shape::Long)),
            (Shape::Int | Shape::Long, ElementType::Double) => Ok(Some(Shape::Double)),
            (Shape::Double, ElementType::Int64) => Err(Drift::Precision {
                path: self.path.clone(),
            }),
            _ => Err(Drift::Type {
                path: self.path.clone(),
                known: shape.name(),
                comes: type_name(element),
            }),
        }
    }
}

/// The type that a place gets by its first value.
fn begin(element: Element<'_>) -> Shape {
    match element.kind {
        ElementType::Boolean => Shape::Boolean,
        ElementType::Int32 | ElementType::Int64 => Shape::Long,
        ElementType::Double => Shape::Double,
        ElementType::DateTime => Shape::Date,
        ElementType::Binary if !is_uuid(element) => Shape::Bytes,
        ElementType::Array => Shape::Array(Box::new(Slot::optional(Shape::Unknown))),
        ElementType::EmbeddedDocument => Shape::Record(Record::default()),
        _ => Shape::String,
    }
}

/// Beyond this, not every whole number is a double.
const EXACT: i64 = 1 << 53;

/// Whether a value that is neither null nor holds others can be written as this type, and read as what it was.
#[inline]
pub(in crate::encode::serialization) fn fits(shape: &Shape, element: Element<'_>) -> bool {
    match (shape, element.kind) {
        (Shape::Boolean, ElementType::Boolean)
        | (Shape::Int | Shape::Long | Shape::Double, ElementType::Int32)
        | (Shape::Long, ElementType::Int64)
        | (Shape::Double, ElementType::Double)
        | (Shape::Date, ElementType::DateTime)
        | (Shape::Bytes, ElementType::Binary) => true,
        (Shape::Int, ElementType::Int64 | ElementType::Double) => {
            whole(element).is_some_and(|number| i32::try_from(number).is_ok())
        }
        (Shape::Long, ElementType::Double) => whole(element).is_some(),
        (Shape::Double, ElementType::Int64) => {
            whole(element).is_some_and(|number| (-EXACT..=EXACT).contains(&number))
        }
        (Shape::String, ElementType::Binary) => is_uuid(element),
        (
            Shape::String,
            ElementType::String
            | ElementType::Symbol
            | ElementType::ObjectId
            | ElementType::Decimal128
            | ElementType::Timestamp
            | ElementType::RegularExpression
            | ElementType::JavaScriptCode
            | ElementType::JavaScriptCodeWithScope
            | ElementType::DbPointer
            | ElementType::MinKey
            | ElementType::MaxKey,
        ) => true,
        _ => false,
    }
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

pub(in crate::encode::serialization) fn is_null(kind: ElementType) -> bool {
    matches!(kind, ElementType::Null | ElementType::Undefined)
}

fn type_name(element: Element<'_>) -> &'static str {
    match element.kind {
        ElementType::Double => "a double",
        ElementType::String => "a string",
        ElementType::EmbeddedDocument => "a document",
        ElementType::Array => "an array",
        ElementType::Binary if is_uuid(element) => "a UUID",
        ElementType::Binary => "binary",
        ElementType::ObjectId => "an ObjectId",
        ElementType::Boolean => "a boolean",
        ElementType::DateTime => "a date",
        ElementType::Int32 | ElementType::Int64 => "an integer",
        ElementType::Decimal128 => "a Decimal128",
        ElementType::Timestamp => "a timestamp",
        _ => "of a type of its own",
    }
}
