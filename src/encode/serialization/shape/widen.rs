//! Making a shape wide enough for a document.

use super::fit::{fits, has, is_nothing, is_null, is_seldom, is_uuid};
use super::{Branch, Path, Record, Shape, Slot};
use crate::change::raw::{self, Element, Malformed};
use crate::config::SchemaKind;
use bson::spec::ElementType;
use std::fmt;

/// How many fields a collection's schema may have, those of documents in documents counted: where names are
/// values (a document by user, by day), a schema would grow with each of them.
pub const MOST_FIELDS: usize = 2000;

/// How deep documents and arrays may lie in one another.
pub const MAX_DEPTH: usize = 64;

/// How many messages may lie in one another: those who read Protobuf allow no more, unless told to.
pub const MOST_MESSAGES: usize = 100;

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
    /// A number with a fraction where Protobuf has integers, whose bytes are others.
    Fraction {
        path: Path,
    },
    /// A null in an array or a map, where Protobuf has none.
    Null {
        path: Path,
    },
    /// A name that Protobuf allows for no field in JSON.
    Name {
        path: Path,
    },
    TooManyFields {
        path: Path,
    },
    TooDeep {
        path: Path,
    },
    /// More messages in one another than those who read Protobuf allow.
    TooManyMessages {
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
            Self::Fraction { path } => write!(
                f,
                "`{path}` is an integer in the schema, and here a double, which Protobuf cannot make of it; say \
                 `bsonType: double` in the collection's $jsonSchema before its schema is registered"
            ),
            Self::Null { path } => {
                write!(
                    f,
                    "`{path}` is null, and Protobuf has no null in lists and maps"
                )
            }
            Self::Name { path } => write!(
                f,
                "`{path}` begins and ends with a bracket, which no name of a field may in Protobuf"
            ),
            Self::TooManyFields { path } => write!(
                f,
                "with `{path}` the schema would have more than {MOST_FIELDS} fields; where the names of fields are \
                 values, say so in the collection's $jsonSchema by additionalProperties"
            ),
            Self::TooDeep { path } => {
                write!(f, "`{path}` is nested deeper than {MAX_DEPTH} levels")
            }
            Self::TooManyMessages { path } => write!(
                f,
                "`{path}` is nested so deep that it would be more than {MOST_MESSAGES} messages in one another, which \
                 readers of Protobuf refuse: without types, a document is three and an array two"
            ),
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
    kind: SchemaKind,
    record: &mut Record,
    document: &[u8],
    path: &str,
) -> Result<Option<Path>, Drift> {
    let mut widening = Widening {
        kind,
        path: Path::default(),
        depth: 0,
        messages: 0,
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
    kind: SchemaKind,
    path: Path,
    depth: usize,
    /// How many messages of Protobuf this is in: a record, an entry of a map.
    messages: usize,
    fields: usize,
    changed: Option<Path>,
}

impl Widening {
    fn record(&mut self, record: &mut Record, document: &[u8]) -> Result<(), Drift> {
        self.down()?;
        self.messages += 1;
        let is_open = record.is_open;
        for element in raw::walk(document)? {
            let element = element?;
            let before = self.path.push(element.name);
            match record.slot(element.name) {
                Some(slot) => self.slot(slot, element)?,
                None if is_open => {}
                // What is null is as good as missing, but where it is written.
                None if is_nothing(self.kind, element) => {}
                None => {
                    if self.kind == SchemaKind::Protobuf && is_in_brackets(element.name) {
                        return Err(Drift::Name {
                            path: self.path.clone(),
                        });
                    }
                    self.fields += 1;
                    if self.fields > MOST_FIELDS {
                        return Err(Drift::TooManyFields {
                            path: self.path.clone(),
                        });
                    }
                    let mut slot = Slot::optional(Shape::Unknown);
                    self.slot(&mut slot, element)?;
                    record.add(element.name, slot, self.kind);
                    self.changes();
                }
            }
            self.path.pop(before);
        }
        self.missing(record, document)?;
        self.depth -= 1;
        self.messages -= 1;
        Ok(())
    }

    /// Lets fields be null that must not be, and that the document lacks. Only schemas of others have such fields.
    fn missing(&mut self, record: &mut Record, document: &[u8]) -> Result<(), Drift> {
        for field in record
            .fields_mut()
            .filter(|field| field.slot.null.is_none())
        {
            if !has(document, &field.name)? {
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
        self.messages += usize::from(is_map);
        for element in raw::walk(array)? {
            let element = element?;
            let before = match is_map {
                true => self.path.push(element.name),
                false => self.path.push_element(),
            };
            if self.kind == SchemaKind::Protobuf && is_null(self.kind, element) {
                return Err(Drift::Null {
                    path: self.path.clone(),
                });
            }
            if self.kind == SchemaKind::Protobuf
                && slot.shape == Shape::Unknown
                && element.kind == ElementType::Array
            {
                // There are no lists of lists, and no maps of them.
                slot.shape = Shape::AnyArray;
                self.changes();
            }
            self.slot(slot, element)?;
            self.path.pop(before);
        }
        self.depth -= 1;
        self.messages -= usize::from(is_map);
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
        if is_null(self.kind, element) {
            if !slot.takes_null() {
                slot.null = Some(Branch::First);
                self.changes();
            }
            return Ok(());
        }
        if slot.shape == Shape::Unknown {
            slot.shape = begin(self.kind, element);
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
            (Shape::AnyArray, ElementType::Array)
            | (Shape::AnyDocument, ElementType::EmbeddedDocument)
                if self.kind == SchemaKind::Protobuf =>
            {
                let most = MOST_MESSAGES.saturating_sub(self.messages);
                match untyped(element, most)? {
                    true => Ok(()),
                    false => Err(Drift::TooManyMessages {
                        path: self.path.clone(),
                    }),
                }
            }
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
        if fits(self.kind, shape, element) {
            return Ok(None);
        }
        match (shape, element.kind) {
            (Shape::Int, ElementType::Int64) => Ok(Some(Shape::Long)),
            (Shape::Int | Shape::Long, ElementType::Double) => match self.kind {
                SchemaKind::Protobuf => Err(Drift::Fraction {
                    path: self.path.clone(),
                }),
                SchemaKind::Avro | SchemaKind::JsonSchema => Ok(Some(Shape::Double)),
            },
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

/// Whether an array or a document without types is at most this many messages in one another.
fn untyped(element: Element<'_>, most: usize) -> Result<bool, Malformed> {
    let of_one = match element.kind {
        // The list, and what holds the value.
        ElementType::Array => 2,
        // The document, the entry, and what holds the value.
        ElementType::EmbeddedDocument => 3,
        _ => return Ok(true),
    };
    let Some(rest) = most.checked_sub(of_one) else {
        return Ok(false);
    };
    for element in raw::walk(element.value)? {
        if !untyped(element?, rest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The type that a place gets by its first value.
fn begin(kind: SchemaKind, element: Element<'_>) -> Shape {
    match element.kind {
        ElementType::Boolean => Shape::Boolean,
        ElementType::Int32 | ElementType::Int64 => Shape::Long,
        ElementType::Double => Shape::Double,
        ElementType::DateTime => Shape::Date,
        ElementType::Binary if !is_uuid(element) => Shape::Bytes,
        ElementType::Array => Shape::Array(Box::new(Slot::optional(Shape::Unknown))),
        ElementType::EmbeddedDocument => Shape::Record(Record::default()),
        seldom if kind == SchemaKind::JsonSchema && is_seldom(seldom) => Shape::AnyDocument,
        _ => Shape::String,
    }
}

/// What Protobuf keeps for extensions.
fn is_in_brackets(name: &[u8]) -> bool {
    name.starts_with(b"[") && name.ends_with(b"]")
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
