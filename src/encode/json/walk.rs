//! The pass over a document: structure, names, and which value goes to which writer.
//!
//! Documents and arrays are followed without recursion, so that depth costs no stack; what is open
//! is remembered in [`Nest`]. Every value is checked against the end of the document it lies in.

use super::output::Output;
use super::{EncodeError, MAX_DEPTH, MAX_SCOPES, extended, text};
use crate::change::raw::{Element, Malformed};
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
    if document_len(bytes) != Some(bytes.len()) {
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
            let name = &members[1..];
            let name_len = match inside {
                Container::Document => text::name(out, name),
                Container::Array => name.iter().position(|byte| *byte == 0),
            }
            .ok_or_else(|| malformed(at))?;
            let body = &name[name_len + 1..];
            let nested = match ElementType::from(members[0]) {
                Some(ElementType::EmbeddedDocument) => Container::Document,
                Some(ElementType::Array) => Container::Array,
                Some(kind) => {
                    let len = scalar::<D>(out, kind, body, scopes)?.ok_or_else(|| malformed(at))?;
                    out.push(b',');
                    at += name_len + 2 + len;
                    continue;
                }
                None => return Err(malformed(at)),
            };
            let len = document_len(body)
                .filter(|len| *len <= body.len())
                .ok_or_else(|| malformed(at))?;
            nest.push(end, inside)?;
            inside = nested;
            at += name_len + 2;
            end = at + len - 1;
            at += 4;
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
    let bytes = element.value;
    match element.kind {
        ElementType::EmbeddedDocument => container::<D>(out, bytes, Container::Document, 0),
        ElementType::Array => container::<D>(out, bytes, Container::Array, 0),
        kind => match scalar::<D>(out, kind, bytes, 0)? {
            Some(len) if len == bytes.len() => Ok(()),
            _ => Err(EncodeError::Malformed(Malformed {
                offset: 0,
                len: bytes.len(),
            })),
        },
    }
}

/// Writes the value that begins `body`, any but a document or array, and returns how many bytes it
/// has there; `None` when it is not whole or not what its type wants.
#[inline(always)]
fn scalar<D: Dialect>(
    out: &mut Output<'_>,
    kind: ElementType,
    body: &[u8],
    scopes: usize,
) -> Result<Option<usize>, EncodeError> {
    if kind == ElementType::JavaScriptCodeWithScope {
        return code_with_scope::<D>(out, body, scopes);
    }
    Ok(plain_scalar::<D>(out, kind, body))
}

#[inline(always)]
fn plain_scalar<D: Dialect>(out: &mut Output<'_>, kind: ElementType, body: &[u8]) -> Option<usize> {
    Some(match kind {
        ElementType::String => {
            let len = string_len(body)?;
            text::terminated(out, &body[4..], len)?;
            len + 5
        }
        ElementType::Int32 => {
            D::int32(out, i32::from_le_bytes(*body.first_chunk()?));
            4
        }
        ElementType::Int64 => {
            D::int64(out, i64::from_le_bytes(*body.first_chunk()?));
            8
        }
        ElementType::Double => {
            D::double(out, f64::from_le_bytes(*body.first_chunk()?));
            8
        }
        ElementType::Boolean => {
            match body.first()? {
                0 => out.extend(b"false"),
                _ => out.extend(b"true"),
            }
            1
        }
        ElementType::ObjectId => {
            D::object_id(out, body.first_chunk()?);
            12
        }
        ElementType::DateTime => {
            D::date(out, i64::from_le_bytes(*body.first_chunk()?));
            8
        }
        ElementType::Null => {
            out.extend(b"null");
            0
        }
        ElementType::Decimal128 => {
            D::decimal(out, body.first_chunk()?);
            16
        }
        ElementType::Binary => {
            let len = usize::try_from(i32::from_le_bytes(*body.first_chunk()?)).ok()?;
            D::binary(out, *body.get(4)?, body.get(5..)?.get(..len)?);
            len + 5
        }
        ElementType::Timestamp => {
            extended::timestamp(out, u64::from_le_bytes(*body.first_chunk()?));
            8
        }
        ElementType::RegularExpression => {
            let pattern = memchr::memchr(0, body)?;
            let rest = &body[pattern + 1..];
            let options = memchr::memchr(0, rest)?;
            extended::regex(out, &body[..pattern], &rest[..options]);
            pattern + options + 2
        }
        ElementType::JavaScriptCode => {
            let code = string(body)?;
            extended::code(out, code);
            code.len() + 5
        }
        ElementType::Symbol => {
            let symbol = string(body)?;
            D::symbol(out, symbol);
            symbol.len() + 5
        }
        ElementType::DbPointer => {
            let namespace = string(body)?;
            let id = body[namespace.len() + 5..].first_chunk()?;
            extended::db_pointer(out, namespace, id);
            namespace.len() + 17
        }
        ElementType::Undefined => {
            D::undefined(out);
            0
        }
        ElementType::MinKey => {
            extended::min_key(out);
            0
        }
        ElementType::MaxKey => {
            extended::max_key(out);
            0
        }
        ElementType::EmbeddedDocument
        | ElementType::Array
        | ElementType::JavaScriptCodeWithScope => return None,
    })
}

#[cold]
fn code_with_scope<D: Dialect>(
    out: &mut Output<'_>,
    body: &[u8],
    scopes: usize,
) -> Result<Option<usize>, EncodeError> {
    if scopes >= MAX_SCOPES {
        return Err(EncodeError::TooDeep);
    }
    let Some((code, scope, len)) = code_and_scope(body) else {
        return Ok(None);
    };
    extended::scoped_code(out, code, |out| {
        container::<D::Scope>(out, scope, Container::Document, scopes + 1)
    })?;
    Ok(Some(len))
}

/// The text and the scope document of a code with scope, and the length of it all, which comes first.
fn code_and_scope(body: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let len = document_len(body)?;
    let inner = body.get(4..len)?;
    let code = string(inner)?;
    Some((code, &inner[code.len() + 5..], len))
}

/// The string that begins `body`, without its length prefix and closing zero; both must be right.
fn string(body: &[u8]) -> Option<&[u8]> {
    let len = string_len(body)?;
    let (text, rest) = body[4..].split_at_checked(len)?;
    (rest.first() == Some(&0)).then_some(text)
}

/// The length of the text of a string, from its prefix, which counts the closing zero too.
#[inline(always)]
fn string_len(body: &[u8]) -> Option<usize> {
    let declared = i32::from_le_bytes(*body.first_chunk()?);
    usize::try_from(declared).ok()?.checked_sub(1)
}

/// The length a document, or what else counts its own prefix, claims; `None` where it cannot be one.
#[inline(always)]
fn document_len(bytes: &[u8]) -> Option<usize> {
    let declared = i32::from_le_bytes(*bytes.first_chunk::<4>()?);
    usize::try_from(declared).ok().filter(|len| *len >= 5)
}
