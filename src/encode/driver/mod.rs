//! JSON as MongoDB's Java driver writes it, which is what the connectors send: its modes, its separators, its escapes.
//!
//! Apart from [`json`](super::json), which is made for speed and for one set of rules: here each value is asked what
//! becomes of it in which mode, and values within values are followed by recursion.

mod number;
mod text;

use super::json::{EncodeError, Stats, binary, date, decimal};
use crate::change::raw::{self, Element, Malformed};
use bson::spec::ElementType;
use text::Text;

/// How many documents and arrays may lie in one another: MongoDB stores 100 levels, and each takes some of the stack.
pub const MAX_DEPTH: usize = 256;

/// What the types become: the driver's `JsonMode`, and MongoDB's connector's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `STRICT`, which is Extended JSON v1: `{"$date": 0}`, `{"$binary": "…", "$type": "00"}`.
    Strict,
    /// `RELAXED`, of Extended JSON v2.
    Relaxed,
    /// `EXTENDED`, which is canonical Extended JSON v2.
    Extended,
    /// `SimplifiedJson` of MongoDB's connector.
    Simplified,
}

/// A mode, and what stands between two members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub mode: Mode,
    /// `", "`, or `","` where the driver is told to indent by nothing.
    pub between: &'static str,
}

impl Style {
    /// With the driver's own separators.
    pub const fn plain(mode: Mode) -> Self {
        Self {
            mode,
            between: ", ",
        }
    }

    /// With no space behind commas, as Debezium has it.
    pub const fn compact(mode: Mode) -> Self {
        Self { mode, between: "," }
    }
}

/// Appends one whole document.
///
/// # Errors
/// [`EncodeError`] when the bytes are not BSON or nested too deep. What was appended means nothing then.
pub fn write_document(
    out: &mut Vec<u8>,
    style: Style,
    document: &[u8],
) -> Result<Stats, EncodeError> {
    let mut writer = Writer::new(out, style);
    writer.document(document, 0)?;
    Ok(writer.text.stats)
}

/// Appends the value of one element, without its name.
///
/// # Errors
/// As [`write_document`].
pub fn write_value(
    out: &mut Vec<u8>,
    style: Style,
    element: Element<'_>,
) -> Result<Stats, EncodeError> {
    let mut writer = Writer::new(out, style);
    writer.value(element, 0)?;
    Ok(writer.text.stats)
}

/// Appends a string with its quotes.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) -> Stats {
    let mut text = Text::new(out);
    text.string(bytes);
    text.stats
}

/// Appends a double as Java writes it: `1.0`, `1.0E21`, `NaN`.
pub fn write_double(out: &mut Vec<u8>, value: f64) {
    number::double(out, value);
}

struct Writer<'a> {
    text: Text<'a>,
    style: Style,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, style: Style) -> Self {
        Self {
            text: Text::new(out),
            style,
        }
    }

    fn document(&mut self, document: &[u8], depth: usize) -> Result<(), EncodeError> {
        self.members(document, depth, b"{}", true)
    }

    fn members(
        &mut self,
        document: &[u8],
        depth: usize,
        brackets: &[u8; 2],
        has_names: bool,
    ) -> Result<(), EncodeError> {
        if depth >= MAX_DEPTH {
            return Err(EncodeError::DeeperThan(MAX_DEPTH));
        }
        self.text.push(brackets[0]);
        let mut is_first = true;
        for element in raw::walk(document)? {
            let element = element?;
            if !is_first {
                self.raw(self.style.between);
            }
            is_first = false;
            if has_names {
                self.text.string(element.name);
                self.raw(": ");
            }
            self.value(element, depth + 1)?;
        }
        self.text.push(brackets[1]);
        Ok(())
    }

    fn value(&mut self, element: Element<'_>, depth: usize) -> Result<(), EncodeError> {
        let malformed = EncodeError::Malformed(Malformed {
            offset: 0,
            len: element.value.len(),
        });
        match element.kind {
            ElementType::EmbeddedDocument => self.document(element.value, depth),
            ElementType::Array => self.members(element.value, depth, b"[]", false),
            ElementType::JavaScriptCodeWithScope => {
                let (code, scope) = code_and_scope(element.value).ok_or(malformed)?;
                self.raw(r#"{"$code": "#);
                self.text.string(code);
                self.raw(self.style.between);
                self.raw(r#""$scope": "#);
                self.document(scope, depth + 1)?;
                self.raw("}");
                Ok(())
            }
            _ => self.scalar(element).ok_or(malformed),
        }
    }

    fn scalar(&mut self, element: Element<'_>) -> Option<()> {
        let bytes = element.value;
        match element.kind {
            ElementType::String => self.text.string(element.string_bytes()?),
            ElementType::Int32 => self.int32(i32::from_le_bytes(bytes.try_into().ok()?)),
            ElementType::Int64 => self.int64(i64::from_le_bytes(bytes.try_into().ok()?)),
            ElementType::Double => self.double(f64::from_le_bytes(bytes.try_into().ok()?)),
            ElementType::Boolean => self.raw(if *bytes.first()? == 0 {
                "false"
            } else {
                "true"
            }),
            ElementType::Null => self.raw("null"),
            ElementType::ObjectId => self.object_id(bytes.try_into().ok()?),
            ElementType::DateTime => self.date(element.as_date_millis()?),
            ElementType::Decimal128 => self.decimal(bytes.try_into().ok()?),
            ElementType::Binary => self.binary(*bytes.get(4)?, bytes.get(5..)?),
            ElementType::Timestamp => {
                let (seconds, increment) = element.as_timestamp()?;
                self.raw(r#"{"$timestamp": {"t": "#);
                self.integer(seconds);
                self.raw(self.style.between);
                self.raw(r#""i": "#);
                self.integer(increment);
                self.raw("}}");
            }
            ElementType::RegularExpression => self.regex(bytes)?,
            ElementType::JavaScriptCode => {
                self.raw(r#"{"$code": "#);
                self.text.string(element.string_bytes()?);
                self.raw("}");
            }
            ElementType::Symbol if self.style.mode == Mode::Simplified => {
                self.text.string(element.string_bytes()?);
            }
            ElementType::Symbol => {
                self.raw(r#"{"$symbol": "#);
                self.text.string(element.string_bytes()?);
                self.raw("}");
            }
            ElementType::DbPointer => {
                let (namespace, id) = bytes.split_last_chunk::<12>()?;
                let namespace = namespace.get(4..namespace.len().checked_sub(1)?)?;
                self.db_pointer(namespace, id);
            }
            ElementType::Undefined => self.raw(r#"{"$undefined": true}"#),
            ElementType::MinKey => self.raw(r#"{"$minKey": 1}"#),
            ElementType::MaxKey => self.raw(r#"{"$maxKey": 1}"#),
            ElementType::EmbeddedDocument
            | ElementType::Array
            | ElementType::JavaScriptCodeWithScope => return None,
        }
        Some(())
    }

    fn int32(&mut self, value: i32) {
        match self.style.mode {
            Mode::Extended => self.wrapped_number(r#"{"$numberInt": ""#, value),
            _ => self.integer(value),
        }
    }

    fn int64(&mut self, value: i64) {
        match self.style.mode {
            Mode::Strict | Mode::Extended => self.wrapped_number(r#"{"$numberLong": ""#, value),
            Mode::Relaxed | Mode::Simplified => self.integer(value),
        }
    }

    fn double(&mut self, value: f64) {
        let is_wrapped = match self.style.mode {
            Mode::Strict => false,
            Mode::Extended => true,
            Mode::Relaxed | Mode::Simplified => !value.is_finite(),
        };
        if is_wrapped {
            self.raw(r#"{"$numberDouble": ""#);
        }
        number::double(self.text.out, value);
        if is_wrapped {
            self.raw(r#""}"#);
        }
    }

    fn date(&mut self, millis: i64) {
        let is_text = (0..date::YEAR_10000).contains(&millis);
        match self.style.mode {
            Mode::Simplified => {
                self.raw("\"");
                number::date(self.text.out, millis);
                self.raw("\"");
            }
            Mode::Strict => {
                self.raw(r#"{"$date": "#);
                self.integer(millis);
                self.raw("}");
            }
            Mode::Relaxed if is_text => {
                self.raw(r#"{"$date": ""#);
                number::date(self.text.out, millis);
                self.raw(r#""}"#);
            }
            Mode::Relaxed | Mode::Extended => {
                self.raw(r#"{"$date": "#);
                self.wrapped_number(r#"{"$numberLong": ""#, millis);
                self.raw("}");
            }
        }
    }

    fn object_id(&mut self, id: &[u8; 12]) {
        let is_wrapped = self.style.mode != Mode::Simplified;
        self.raw(if is_wrapped { r#"{"$oid": ""# } else { "\"" });
        for byte in id {
            self.text.out.extend_from_slice(&binary::hex_pair(*byte));
        }
        self.raw(if is_wrapped { r#""}"# } else { "\"" });
    }

    fn decimal(&mut self, bytes: &[u8; 16]) {
        let is_wrapped = self.style.mode != Mode::Simplified;
        self.raw(if is_wrapped {
            r#"{"$numberDecimal": ""#
        } else {
            "\""
        });
        decimal::write(self.text.out, bytes);
        self.raw(if is_wrapped { r#""}"# } else { "\"" });
    }

    fn binary(&mut self, subtype: u8, bytes: &[u8]) {
        let bytes = binary::payload(subtype, bytes);
        let mode = self.style.mode;
        self.raw(match mode {
            Mode::Strict => r#"{"$binary": ""#,
            Mode::Relaxed | Mode::Extended => r#"{"$binary": {"base64": ""#,
            Mode::Simplified => "\"",
        });
        binary::write_base64(self.text.out, bytes);
        self.raw("\"");
        if mode == Mode::Simplified {
            return;
        }
        self.raw(self.style.between);
        self.raw(match mode {
            Mode::Strict => r#""$type": ""#,
            _ => r#""subType": ""#,
        });
        let pair = binary::hex_pair(subtype).map(|digit| digit.to_ascii_uppercase());
        self.text.out.extend_from_slice(&pair);
        self.raw(match mode {
            Mode::Strict => r#""}"#,
            _ => r#""}}"#,
        });
    }

    fn regex(&mut self, bytes: &[u8]) -> Option<()> {
        let end = memchr::memchr(0, bytes)?;
        let (pattern, options) = (&bytes[..end], &bytes[end + 1..bytes.len() - 1]);
        let mut sorted = options.to_vec();
        // The driver sorts characters; options that are none of ASCII are none at all.
        if options.is_ascii() {
            sorted.sort_unstable();
        }
        let [open, middle, close] = match self.style.mode {
            Mode::Strict => [r#"{"$regex": "#, r#""$options": "#, "}"],
            _ => [
                r#"{"$regularExpression": {"pattern": "#,
                r#""options": "#,
                "}}",
            ],
        };
        self.raw(open);
        self.text.string(pattern);
        self.raw(self.style.between);
        self.raw(middle);
        self.text.string(&sorted);
        self.raw(close);
        Some(())
    }

    fn db_pointer(&mut self, namespace: &[u8], id: &[u8; 12]) {
        let is_wrapped = self.style.mode == Mode::Extended;
        self.raw(if is_wrapped {
            r#"{"$dbPointer": {"$ref": "#
        } else {
            r#"{"$ref": "#
        });
        self.text.string(namespace);
        self.raw(self.style.between);
        self.raw(r#""$id": "#);
        self.object_id(id);
        self.raw(if is_wrapped { "}}" } else { "}" });
    }

    fn wrapped_number(&mut self, open: &str, value: impl itoa::Integer) {
        self.raw(open);
        self.integer(value);
        self.raw(r#""}"#);
    }

    fn integer(&mut self, value: impl itoa::Integer) {
        self.raw(itoa::Buffer::new().format(value));
    }

    fn raw(&mut self, text: &str) {
        self.text.out.extend_from_slice(text.as_bytes());
    }
}

/// The text and the scope document of a code with scope.
fn code_and_scope(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = value.get(4..)?;
    let len = usize::try_from(i32::from_le_bytes(*inner.first_chunk()?)).ok()?;
    let code = inner.get(4..)?.get(..len.checked_sub(1)?)?;
    Some((code, inner.get(4 + len..)?))
}

#[cfg(test)]
mod tests;
