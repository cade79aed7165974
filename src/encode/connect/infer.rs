//! The schema of one document: `_id` first and the other fields by their names, each of which may be null. Names of
//! documents and arrays are the way to them.

use crate::change::raw::{self, Element};
use crate::config::connect_schema::{Field, Kind, Known, Schema};
use crate::encode::driver::MAX_DEPTH;
use crate::encode::json::EncodeError;
use bson::spec::ElementType;
use std::cmp::Ordering;

/// What the whole is called. It is no part of the names below it.
const ROOT: &str = "default";
const ID: &str = "_id";

/// The schema of a document.
///
/// # Errors
/// [`EncodeError`]: the bytes are no document, it is nested too deep, or it has a value that no schema is for.
pub fn infer(document: &[u8]) -> Result<Schema, EncodeError> {
    let mut schema = of_document(ROOT, document, 0)?;
    schema.is_optional = false;
    Ok(schema)
}

fn of_document(path: &str, document: &[u8], depth: usize) -> Result<Schema, EncodeError> {
    if depth >= MAX_DEPTH {
        return Err(EncodeError::DeeperThan(MAX_DEPTH));
    }
    let mut fields: Vec<Field> = Vec::new();
    for element in raw::walk(document)? {
        let element = element?;
        let name = String::from_utf8_lossy(element.name).into_owned();
        if name.is_empty() {
            return Err(EncodeError::Unfit(
                "a field has an empty name, which Connect does not take",
            ));
        }
        let below = match (&*name, path) {
            (ID, _) | (_, ROOT) => name.clone(),
            _ => format!("{path}_{name}"),
        };
        let schema = of_value(&below, element, depth + 1)?;
        fields.push(Field { name, schema });
    }
    // Of repeated names the last one counts.
    fields.reverse();
    fields.sort_by(|one, other| in_order(&one.name, &other.name));
    fields.dedup_by(|one, other| one.name == other.name);
    let kind = Kind::Struct(fields);
    Ok(Schema::new(kind, true, Some(path.to_owned())))
}

/// `_id` first, and then as Java compares strings: by units of UTF-16.
fn in_order(one: &str, other: &str) -> Ordering {
    let rank = |name: &str| name != ID;
    rank(one)
        .cmp(&rank(other))
        .then_with(|| match one.is_ascii() && other.is_ascii() {
            true => one.cmp(other),
            false => one.encode_utf16().cmp(other.encode_utf16()),
        })
}

fn of_value(path: &str, element: Element<'_>, depth: usize) -> Result<Schema, EncodeError> {
    let kind = match element.kind {
        ElementType::EmbeddedDocument => return of_document(path, element.value, depth),
        ElementType::Array => return of_array(path, element.value, depth),
        ElementType::Boolean => Kind::Boolean,
        ElementType::Int32 => Kind::Int32,
        ElementType::Int64 => Kind::Int64,
        ElementType::Double => Kind::Float64,
        ElementType::Decimal128 => Kind::Decimal(super::convert::scale(element)?),
        ElementType::DateTime | ElementType::Timestamp => Kind::Timestamp,
        ElementType::Binary => Kind::Bytes,
        ElementType::Null => return Ok(unknown()),
        _ => Kind::String,
    };
    Ok(Schema::optional(kind))
}

/// That of a null.
fn unknown() -> Schema {
    Schema {
        known: Known(false),
        ..Schema::optional(Kind::String)
    }
}

fn of_array(path: &str, array: &[u8], depth: usize) -> Result<Schema, EncodeError> {
    if depth >= MAX_DEPTH {
        return Err(EncodeError::DeeperThan(MAX_DEPTH));
    }
    let mut all = unknown();
    for element in raw::walk(array)? {
        all = both(all, of_value(path, element?, depth + 1)?);
        // Whatever else comes is a string, too, and need be of no schema of its own.
        if all == Schema::optional(Kind::String) && all.known.0 {
            break;
        }
    }
    let kind = Kind::Array(Box::new(all));
    Ok(Schema::new(kind, true, Some(path.to_owned())))
}

/// The schema of what is of one of these: a string where they differ.
fn both(one: Schema, other: Schema) -> Schema {
    if !one.known.0 {
        return other;
    }
    if !other.known.0 || one == other {
        return one;
    }
    let kind = match (one.kind, other.kind) {
        (Kind::Array(one), Kind::Array(other)) => Kind::Array(Box::new(both(*one, *other))),
        (Kind::Struct(one), Kind::Struct(other)) => Kind::Struct(fields_of_both(one, other)),
        _ => return Schema::optional(Kind::String),
    };
    Schema::new(kind, true, one.name)
}

fn fields_of_both(one: Vec<Field>, other: Vec<Field>) -> Vec<Field> {
    let mut fields = one;
    for Field { name, schema } in other {
        match fields.iter_mut().find(|field| field.name == name) {
            None => fields.push(Field { name, schema }),
            // Of two that are the same the first stays, even where it is that of a null.
            Some(field) if field.schema == schema => {}
            Some(field) => field.schema = both(field.schema.clone(), schema),
        }
    }
    fields.sort_by(|one, other| in_order(&one.name, &other.name));
    fields
}
