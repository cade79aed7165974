//! Canonical Extended JSON back into BSON: what [`write_document`](super::write_document) wrote.
//!
//! As the writer, it follows documents and arrays without recursion, so that depth costs no stack: a
//! dead letter must not be harder to read than it was to write. An object that only looks like one of
//! the wrappers is a document.

use bson::spec::ElementType;
use std::borrow::Cow;

/// The text is not one JSON object, or holds what BSON cannot. Nothing of it is in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no Extended JSON at byte {at} of {len}")]
pub struct Unreadable {
    pub at: usize,
    pub len: usize,
}

/// Reads one document of canonical Extended JSON as BSON.
///
/// # Errors
/// [`Unreadable`] where the text ends early, is no JSON object, or continues behind it.
pub fn read_document(text: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut reader = Reader { text, at: 0 };
    let mut out = Vec::with_capacity(text.len() / 2);
    match reader.document(&mut out) {
        Some(()) if reader.peek().is_none() => Ok(out),
        _ => Err(Unreadable {
            at: reader.at,
            len: text.len(),
        }),
    }
}

/// A document, array or code that is being read: where its length belongs, and what is next in it.
struct Open {
    start: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Document,
    /// With the index of the next element.
    Array(usize),
    /// A code; its scope is open within it.
    Code,
}

impl Open {
    fn new(out: &mut Vec<u8>, kind: Kind) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Self { start, kind }
    }

    fn close(&self, out: &mut Vec<u8>) -> Option<()> {
        if self.kind != Kind::Code {
            out.push(0);
        }
        let len = i32::try_from(out.len() - self.start).ok()?;
        out[self.start..self.start + 4].copy_from_slice(&len.to_le_bytes());
        Some(())
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.take(b'{')?;
        let mut open = vec![Open::new(out, Kind::Document)];
        let mut is_first = true;
        while let Some(inner) = open.last_mut() {
            let close = match inner.kind {
                Kind::Array(_) => b']',
                Kind::Document | Kind::Code => b'}',
            };
            // A code ends behind its scope.
            if inner.kind == Kind::Code || self.peek()? == close {
                self.take(close)?;
                inner.close(out)?;
                open.pop();
                is_first = false;
                continue;
            }
            if !is_first {
                self.take(b',')?;
            }
            let element = out.len();
            out.push(0);
            if let Kind::Array(next) = &mut inner.kind {
                out.extend_from_slice(itoa::Buffer::new().format(*next).as_bytes());
                out.push(0);
                *next += 1;
            } else {
                self.c_string(out)?;
                self.take(b':')?;
            }
            let (kind, is_open) = self.value(out, &mut open)?;
            out[element] = kind as u8;
            is_first = is_open;
        }
        Some(())
    }

    /// Reads a value, or the beginning of one that holds others.
    fn value(&mut self, out: &mut Vec<u8>, open: &mut Vec<Open>) -> Option<(ElementType, bool)> {
        match self.peek()? {
            b'"' => {
                self.string(out)?;
                Some((ElementType::String, false))
            }
            b'[' => {
                self.at += 1;
                open.push(Open::new(out, Kind::Array(0)));
                Some((ElementType::Array, true))
            }
            b'{' => {
                let (at, len) = (self.at, out.len());
                self.at += 1;
                if let Some(kind) = self.wrapped(out) {
                    return Some((kind, false));
                }
                self.at = at + 1;
                out.truncate(len);
                if self.scoped_code(out, open).is_some() {
                    return Some((ElementType::JavaScriptCodeWithScope, true));
                }
                self.at = at + 1;
                out.truncate(len);
                open.push(Open::new(out, Kind::Document));
                Some((ElementType::EmbeddedDocument, true))
            }
            b't' => self.word("true").map(|()| {
                out.push(1);
                (ElementType::Boolean, false)
            }),
            b'f' => self.word("false").map(|()| {
                out.push(0);
                (ElementType::Boolean, false)
            }),
            b'n' => self.word("null").map(|()| (ElementType::Null, false)),
            _ => None,
        }
    }

    /// The value of a wrapper whose `{` is read already; none where it is not exactly one.
    fn wrapped(&mut self, out: &mut Vec<u8>) -> Option<ElementType> {
        let name = self.text_of_string()?;
        if !name.starts_with('$') {
            return None;
        }
        self.take(b':')?;
        let kind = match name.as_ref() {
            "$numberInt" => {
                let int: i32 = self.parsed()?;
                out.extend_from_slice(&int.to_le_bytes());
                ElementType::Int32
            }
            "$numberLong" => {
                let long: i64 = self.parsed()?;
                out.extend_from_slice(&long.to_le_bytes());
                ElementType::Int64
            }
            "$numberDouble" => {
                let double: f64 = match self.text_of_string()?.as_ref() {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    number => number.parse().ok().filter(|n: &f64| n.is_finite())?,
                };
                out.extend_from_slice(&double.to_le_bytes());
                ElementType::Double
            }
            "$numberDecimal" => {
                let decimal: bson::Decimal128 = self.parsed()?;
                out.extend_from_slice(&decimal.bytes());
                ElementType::Decimal128
            }
            "$oid" => {
                self.object_id(out)?;
                ElementType::ObjectId
            }
            "$date" => {
                self.take(b'{')?;
                self.member("$numberLong")?;
                let millis: i64 = self.parsed()?;
                self.take(b'}')?;
                out.extend_from_slice(&millis.to_le_bytes());
                ElementType::DateTime
            }
            "$binary" => {
                self.binary(out)?;
                ElementType::Binary
            }
            "$timestamp" => {
                self.take(b'{')?;
                self.member("t")?;
                let seconds = self.number()?;
                self.take(b',')?;
                self.member("i")?;
                let increment = self.number()?;
                self.take(b'}')?;
                out.extend_from_slice(&increment.to_le_bytes());
                out.extend_from_slice(&seconds.to_le_bytes());
                ElementType::Timestamp
            }
            "$regularExpression" => {
                self.take(b'{')?;
                self.member("pattern")?;
                self.c_string(out)?;
                self.take(b',')?;
                self.member("options")?;
                self.c_string(out)?;
                self.take(b'}')?;
                ElementType::RegularExpression
            }
            "$dbPointer" => {
                self.take(b'{')?;
                self.member("$ref")?;
                self.string(out)?;
                self.take(b',')?;
                self.member("$id")?;
                self.take(b'{')?;
                self.member("$oid")?;
                self.object_id(out)?;
                self.take(b'}')?;
                self.take(b'}')?;
                ElementType::DbPointer
            }
            "$symbol" => {
                self.string(out)?;
                ElementType::Symbol
            }
            "$code" => {
                self.string(out)?;
                ElementType::JavaScriptCode
            }
            "$undefined" => {
                self.word("true")?;
                ElementType::Undefined
            }
            "$minKey" => {
                self.word("1")?;
                ElementType::MinKey
            }
            "$maxKey" => {
                self.word("1")?;
                ElementType::MaxKey
            }
            _ => return None,
        };
        self.take(b'}')?;
        Some(kind)
    }

    /// A code up to the beginning of its scope.
    fn scoped_code(&mut self, out: &mut Vec<u8>, open: &mut Vec<Open>) -> Option<()> {
        let code = Open::new(out, Kind::Code);
        self.member("$code")?;
        self.string(out)?;
        self.take(b',')?;
        self.member("$scope")?;
        self.take(b'{')?;
        open.push(code);
        open.push(Open::new(out, Kind::Document));
        Some(())
    }

    fn binary(&mut self, out: &mut Vec<u8>) -> Option<()> {
        use base64::Engine;
        self.take(b'{')?;
        self.member("base64")?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(self.text_of_string()?.as_bytes())
            .ok()?;
        self.take(b',')?;
        self.member("subType")?;
        let subtype = u8::from_str_radix(&self.text_of_string()?, 16).ok()?;
        self.take(b'}')?;
        let len = i32::try_from(bytes.len()).ok()?;
        if subtype == OLD_BINARY {
            out.extend_from_slice(&len.checked_add(4)?.to_le_bytes());
            out.push(subtype);
        }
        out.extend_from_slice(&len.to_le_bytes());
        if subtype != OLD_BINARY {
            out.push(subtype);
        }
        out.extend_from_slice(&bytes);
        Some(())
    }

    fn object_id(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let id: bson::oid::ObjectId = self.parsed()?;
        out.extend_from_slice(&id.bytes());
        Some(())
    }

    /// A string as BSON has it: length, text, zero.
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let text = self.text_of_string()?;
        let len = i32::try_from(text.len()).ok()?.checked_add(1)?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
        out.push(0);
        Some(())
    }

    /// A name, or what else ends with its first zero.
    fn c_string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let text = self.text_of_string()?;
        if text.as_bytes().contains(&0) {
            return None;
        }
        out.extend_from_slice(text.as_bytes());
        out.push(0);
        Some(())
    }

    /// A value in quotes that is read as one of another type.
    fn parsed<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text_of_string()?.parse().ok()
    }

    fn number(&mut self) -> Option<u32> {
        self.peek()?;
        let digits = self.text[self.at..].iter();
        let len = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&self.text[self.at..self.at + len]).ok()?;
        self.at += len;
        digits.parse().ok()
    }

    /// The name of the next member, and its colon.
    fn member(&mut self, name: &str) -> Option<()> {
        (self.text_of_string()? == name).then_some(())?;
        self.take(b':')
    }

    fn text_of_string(&mut self) -> Option<Cow<'a, str>> {
        if self.peek()? != b'"' {
            return None;
        }
        let body = &self.text[self.at + 1..];
        let mut len = 0;
        let mut is_escaped = false;
        loop {
            len += memchr::memchr2(b'"', b'\\', &body[len..])?;
            if body[len] == b'"' {
                break;
            }
            is_escaped = true;
            len += 2;
            if len > body.len() {
                return None;
            }
        }
        let quoted = &self.text[self.at..self.at + len + 2];
        self.at += len + 2;
        match is_escaped {
            false => std::str::from_utf8(&body[..len]).ok().map(Cow::Borrowed),
            true => serde_json::from_slice(quoted).ok().map(Cow::Owned),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.peek()?;
        let is_it = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if is_it { word.len() } else { 0 };
        is_it.then_some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_it = self.peek()? == byte;
        self.at += usize::from(is_it);
        is_it.then_some(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
}

/// The binary subtype that has its length once more before its bytes.
const OLD_BINARY: u8 = 2;
