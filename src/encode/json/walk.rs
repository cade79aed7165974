//! The pass over a document: structure, names, and which value goes to which writer.
//!
//! Documents and arrays are followed without recursion, so that depth costs no stack; what is open
//! is remembered in [`Nest`]. Every value is checked against the end of the document it lies in.

use super::output::Output;
use super::{EncodeError, MAX_DEPTH, MAX_SCOPES, extended, text};
use crate::raw::{Element, Malformed, value_len};
use bson::spec::ElementType;

/// What the types become that are not the same in every [`JsonMode`](super::JsonMode).
pub(super) trait Dialect {
    /// The dialect of the scope of a code.
    type Scope: Dialect;

    fn int32(out: &mut Output<'_>, value: i32);
    fn int64(out: &mut Output<'_>, value: i64);
    fn double(out: &mut Output<'_>, value: f64);
    fn date(out: &mut Output<'_>, millis: i64);
    fn object_id(out: &mut Output<'_>, id: &[u8; 12]);
    fn decimal(out: &mut Output<'_>, bytes: &[u8; 16]);
    fn binary(out: &mut Output<'_>, subtype: u8, bytes: &[u8]);
    fn symbol(out: &mut Output<'_>, symbol: &[u8]);
    fn undefined(out: &mut Output<'_>);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Document,
    Array,
}

impl Container {
    fn open(self) -> u8 {
        match self {
            Self::Document => b'{',
            Self::Array => b'[',
        }
    }

    fn close(self) -> u8 {
        match self {
            Self::Document => b'}',
            Self::Array => b']',
        }
    }
}

/// The containers around the one being read: where each ends, and what it is.
struct Nest {
    near: [(u32, Container); NEAR],
    depth: usize,
    far: Vec<(u32, Container)>,
}

/// Levels that need no allocation.
const NEAR: usize = 16;

impl Nest {
    fn new() -> Self {
        Self {
            near: [(0, Container::Document); NEAR],
            depth: 0,
            far: Vec::new(),
        }
    }

    fn push(&mut self, end: usize, container: Container) -> Result<(), EncodeError> {
        // The innermost container is not in here itself.
        if self.depth + 1 >= MAX_DEPTH {
            return Err(EncodeError::TooDeep);
        }
        // Lengths in BSON are 31 bits.
        let entry = (end as u32, container);
        match self.near.get_mut(self.depth) {
            Some(slot) => *slot = entry,
            None => self.far.push(entry),
        }
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<(usize, Container)> {
        self.depth = self.depth.checked_sub(1)?;
        let (end, container) = match self.near.get(self.depth) {
            Some(entry) => *entry,
            None => self.far.pop()?,
        };
        Some((end as usize, container))
    }
}

/// Writes one whole document or array; `scopes` codes with scope lie around it.
pub(super) fn container<D: Dialect>(
    out: &mut Output<'_>,
    bytes: &[u8],
    container: Container,
    scopes: usize,
) -> Result<(), EncodeError> {
    let malformed = |offset| {
        EncodeError::Malformed(Malformed {
            offset,
            len: bytes.len(),
        })
    };
    if declared_len(bytes) != Some(bytes.len()) {
        return Err(malformed(0));
    }

    let mut nest = Nest::new();
    let (mut end, mut inside) = (bytes.len() - 1, container);
    let mut at = 4;
    out.push(inside.open());
    loop {
        // `end` is the place of the closing zero; members lie before it.
        while at < end {
            let members = &bytes[at..end];
            let kind = ElementType::from(members[0]).ok_or_else(|| malformed(at))?;
            let name_len = memchr::memchr(0, &members[1..]).ok_or_else(|| malformed(at))?;
            let body = &members[name_len + 2..];
            let len = value_len(kind, body)
                .filter(|len| *len <= body.len())
                .ok_or_else(|| malformed(at))?;
            if inside == Container::Document {
                text::string(out, &members[1..=name_len]);
                out.push(b':');
            }
            let start = at + name_len + 2;
            let nested = match kind {
                ElementType::EmbeddedDocument => Container::Document,
                ElementType::Array => Container::Array,
                _ => {
                    scalar::<D>(out, kind, &body[..len], scopes)?.ok_or_else(|| malformed(at))?;
                    out.push(b',');
                    at = start + len;
                    continue;
                }
            };
            nest.push(end, inside)?;
            inside = nested;
            end = start + len - 1;
            at = start + 4;
            out.push(inside.open());
        }
        if bytes[end] != 0 {
            return Err(malformed(end));
        }
        out.close(inside.close());
        at = end + 1;
        match nest.pop() {
            Some(outer) => (end, inside) = outer,
            None => return Ok(()),
        }
        out.push(b',');
    }
}

/// Writes the value of one element.
pub(super) fn value<D: Dialect>(
    out: &mut Output<'_>,
    element: Element<'_>,
) -> Result<(), EncodeError> {
    match element.kind {
        ElementType::EmbeddedDocument => container::<D>(out, element.value, Container::Document, 0),
        ElementType::Array => container::<D>(out, element.value, Container::Array, 0),
        kind => {
            scalar::<D>(out, kind, element.value, 0)?.ok_or(EncodeError::Malformed(Malformed {
                offset: 0,
                len: element.value.len(),
            }))
        }
    }
}

/// Writes any value but a document or array; `None` when its bytes do not fit its type.
#[inline(always)]
fn scalar<D: Dialect>(
    out: &mut Output<'_>,
    kind: ElementType,
    value: &[u8],
    scopes: usize,
) -> Result<Option<()>, EncodeError> {
    if kind == ElementType::JavaScriptCodeWithScope {
        return code_with_scope::<D>(out, value, scopes);
    }
    Ok(plain_scalar::<D>(out, kind, value))
}

#[inline(always)]
fn plain_scalar<D: Dialect>(out: &mut Output<'_>, kind: ElementType, value: &[u8]) -> Option<()> {
    match kind {
        ElementType::String => text::string(out, string(value)?),
        ElementType::Int32 => D::int32(out, i32::from_le_bytes(value.try_into().ok()?)),
        ElementType::Int64 => D::int64(out, i64::from_le_bytes(value.try_into().ok()?)),
        ElementType::Double => D::double(out, f64::from_le_bytes(value.try_into().ok()?)),
        ElementType::Boolean => match value.first()? {
            0 => out.extend(b"false"),
            _ => out.extend(b"true"),
        },
        ElementType::ObjectId => D::object_id(out, value.try_into().ok()?),
        ElementType::DateTime => D::date(out, i64::from_le_bytes(value.try_into().ok()?)),
        ElementType::Null => out.extend(b"null"),
        ElementType::Decimal128 => D::decimal(out, value.try_into().ok()?),
        ElementType::Binary => D::binary(out, *value.get(4)?, value.get(5..)?),
        ElementType::Timestamp => {
            extended::timestamp(out, u64::from_le_bytes(value.try_into().ok()?));
        }
        ElementType::RegularExpression => {
            let pattern = memchr::memchr(0, value)?;
            let options = value.get(pattern + 1..value.len().checked_sub(1)?)?;
            extended::regex(out, &value[..pattern], options);
        }
        ElementType::JavaScriptCode => extended::code(out, string(value)?),
        ElementType::Symbol => D::symbol(out, string(value)?),
        ElementType::DbPointer => {
            let (namespace, id) = value.split_last_chunk::<12>()?;
            extended::db_pointer(out, string(namespace)?, id);
        }
        ElementType::Undefined => D::undefined(out),
        ElementType::MinKey => extended::min_key(out),
        ElementType::MaxKey => extended::max_key(out),
        ElementType::EmbeddedDocument
        | ElementType::Array
        | ElementType::JavaScriptCodeWithScope => return None,
    }
    Some(())
}

#[cold]
fn code_with_scope<D: Dialect>(
    out: &mut Output<'_>,
    value: &[u8],
    scopes: usize,
) -> Result<Option<()>, EncodeError> {
    if scopes >= MAX_SCOPES {
        return Err(EncodeError::TooDeep);
    }
    let Some((code, scope)) = code_and_scope(value) else {
        return Ok(None);
    };
    extended::scoped_code(out, code, |out| {
        container::<D::Scope>(out, scope, Container::Document, scopes + 1)
    })
    .map(Some)
}

/// The text and the scope document of a code with scope: its own length, a string, a document.
fn code_and_scope(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = value.get(4..)?;
    let len = value_len(ElementType::String, body)?;
    let (code, scope) = body.split_at_checked(len)?;
    Some((string(code)?, scope))
}

/// A string's bytes without its length prefix and closing zero; both must be right.
#[inline(always)]
fn string(value: &[u8]) -> Option<&[u8]> {
    let (prefix, text) = value.split_first_chunk::<4>()?;
    let (zero, text) = text.split_last()?;
    (*zero == 0 && u32::from_le_bytes(*prefix) as usize == text.len() + 1).then_some(text)
}

/// The length a document claims for itself, where it can be one at all.
fn declared_len(bytes: &[u8]) -> Option<usize> {
    let declared = i32::from_le_bytes(*bytes.first_chunk::<4>()?);
    usize::try_from(declared).ok().filter(|len| *len >= 5)
}
