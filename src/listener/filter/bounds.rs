//! How large a filter may be, checked before anything is compiled.

use super::error::{At, FilterError};
use crate::change::raw;
use bson::spec::ElementType;

/// Bytes of a filter's BSON. An `$in` of 4,000 ids still fits.
const BYTES: usize = 128 * 1024;
/// Documents and arrays within each other, the operands' own included. Compiling, and comparing with
/// an operand, recurse no deeper.
const DEPTH: usize = 32;
/// Conditions: an event is compared with each of them at worst.
pub(super) const CONDITIONS: usize = 500;
/// Regular expressions: each has up to a megabyte of tables for every thread that evaluates it.
pub(super) const PATTERNS: usize = 16;
/// Names in a dotted path.
pub(super) const PATH: usize = 32;
/// Of those, the ones that are numbers. In an array of documents each is tried as an index and as a
/// field's name, so that the work may double with each.
pub(super) const INDEXES: usize = 4;

/// Checks bytes, nesting and that it is BSON: what reads it afterwards meets no malformed element.
pub(super) fn check(filter: &[u8]) -> Result<(), FilterError> {
    if filter.len() > BYTES {
        return At::TOP.refuse(format!(
            "it has {} bytes; at most {BYTES} are allowed",
            filter.len()
        ));
    }
    nested(filter, &At::TOP, 1)
}

fn nested(document: &[u8], at: &At<'_>, depth: usize) -> Result<(), FilterError> {
    if depth > DEPTH {
        return at.refuse(format!(
            "documents and arrays are nested deeper than {DEPTH} levels; use a flatter filter"
        ));
    }
    let elements = raw::walk(document).or_else(|error| at.refuse(error.to_string()))?;
    for element in elements {
        let element = element.or_else(|error| at.refuse(error.to_string()))?;
        let inner = match element.kind {
            ElementType::EmbeddedDocument | ElementType::Array => element.value,
            ElementType::JavaScriptCodeWithScope => {
                return at
                    .below(element.name)
                    .refuse("code with a scope is not supported; use code without one");
            }
            _ => continue,
        };
        nested(inner, &at.below(element.name), depth + 1)?;
    }
    Ok(())
}
