//! A walk over the elements of a raw BSON document: no copy, no UTF-8 check, no allocation.
//!
//! The event's fields and its JSON are read straight from the server's reply. The `bson` crate's own
//! raw reader validates every string; MongoDB can hold invalid UTF-8, so strings stay bytes here and
//! the writer decides. Layout: <https://bsonspec.org/spec.html>.

use bson::spec::ElementType;
use bson::{Bson, Document, RawDocument};

/// The bytes do not form a BSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed BSON at byte {offset} of {len}")]
pub struct Malformed {
    /// Where the walk stopped, in bytes from the start of the (sub)document.
    pub offset: usize,
    /// Length of the (sub)document in bytes.
    pub len: usize,
}

/// One element of a document: its type, name and value bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The BSON type of the value.
    pub kind: ElementType,
    /// The field's name, without the terminating zero.
    pub name: &'a [u8],
    /// The value's bytes exactly as in the document (a string with its length prefix and zero).
    pub value: &'a [u8],
}

impl<'a> Element<'a> {
    /// The value by itself; none where it is not what BSON or UTF-8 allow.
    pub fn to_bson(&self) -> Option<Bson> {
        // As the only field of a document, which is what the crate reads.
        let len = 4 + 1 + 2 + self.value.len() + 1;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&i32::try_from(len).ok()?.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(b"v\0");
        bytes.extend_from_slice(self.value);
        bytes.push(0);
        let document = RawDocument::from_bytes(&bytes).ok()?;
        Document::try_from(document).ok()?.remove("v")
    }

    /// The bytes of a string, symbol or code value, without length prefix and terminating zero.
    pub fn string_bytes(&self) -> Option<&'a [u8]> {
        match self.kind {
            ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode => {
                self.value.get(4..self.value.len().checked_sub(1)?)
            }
            _ => None,
        }
    }

    /// A string value that is valid UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind != ElementType::String {
            return None;
        }
        std::str::from_utf8(self.string_bytes()?).ok()
    }

    /// The bytes of an embedded document (not an array).
    pub fn as_document(&self) -> Option<&'a [u8]> {
        (self.kind == ElementType::EmbeddedDocument).then_some(self.value)
    }

    /// The bytes of an array.
    pub fn as_array(&self) -> Option<&'a [u8]> {
        (self.kind == ElementType::Array).then_some(self.value)
    }

    /// An int32, int64 or whole double as `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            ElementType::Int32 => Some(i64::from(i32::from_le_bytes(self.value.try_into().ok()?))),
            ElementType::Int64 => Some(i64::from_le_bytes(self.value.try_into().ok()?)),
            ElementType::Double => {
                let double = f64::from_le_bytes(self.value.try_into().ok()?);
                (double.fract() == 0.0 && double.abs() < 9.0e15).then_some(double as i64)
            }
            _ => None,
        }
    }

    /// A date's milliseconds since the Unix epoch.
    pub fn as_date_millis(&self) -> Option<i64> {
        (self.kind == ElementType::DateTime)
            .then(|| self.value.try_into().ok().map(i64::from_le_bytes))
            .flatten()
    }

    /// A timestamp as `(seconds, increment)`.
    pub fn as_timestamp(&self) -> Option<(u32, u32)> {
        if self.kind != ElementType::Timestamp {
            return None;
        }
        let raw = u64::from_le_bytes(self.value.try_into().ok()?);
        Some(((raw >> 32) as u32, raw as u32))
    }
}

/// Walks the elements of a document or array; stops at the first malformed one.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    document: &'a [u8],
    at: usize,
}

/// Walks `document`, which must be one whole BSON document or array.
///
/// # Errors
/// [`Malformed`] when the length prefix or the closing zero does not fit the bytes.
pub fn walk(document: &[u8]) -> Result<Walk<'_>, Malformed> {
    let declared = document
        .first_chunk::<4>()
        .map(|prefix| i32::from_le_bytes(*prefix));
    if declared != i32::try_from(document.len()).ok() || document.last() != Some(&0) {
        return Err(Malformed {
            offset: 0,
            len: document.len(),
        });
    }
    Ok(Walk { document, at: 4 })
}

/// The first element of `document` with this name.
///
/// # Errors
/// [`Malformed`] when the document breaks before the name is found.
pub fn find<'a>(document: &'a [u8], name: &str) -> Result<Option<Element<'a>>, Malformed> {
    for element in walk(document)? {
        let element = element?;
        if element.name == name.as_bytes() {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

impl<'a> Walk<'a> {
    #[inline]
    fn step(&mut self) -> Option<Element<'a>> {
        let rest = self.document.get(self.at..)?;
        let kind = ElementType::from(*rest.first()?)?;
        let name_len = zero_at(rest.get(1..)?)?;
        let body = rest.get(name_len + 2..)?;
        let value = body.get(..value_len(kind, body)?)?;
        self.at += name_len + 2 + value.len();
        // The document's own closing zero may not be part of a value.
        (self.at < self.document.len()).then_some(Element {
            kind,
            name: &rest[1..=name_len],
            value,
        })
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at + 1 >= self.document.len() {
            return None;
        }
        let offset = self.at;
        match self.step() {
            Some(element) => Some(Ok(element)),
            None => {
                self.at = self.document.len();
                Some(Err(Malformed {
                    offset,
                    len: self.document.len(),
                }))
            }
        }
    }
}

/// Where the first zero is. Names are short: one look at a word or two finds it without a call.
#[inline(always)]
fn zero_at(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    for (index, word) in bytes.as_chunks::<8>().0.iter().take(2).enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest mark is the first zero.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    memchr::memchr(0, bytes)
}

/// Length in bytes of a value of this type that starts `body`.
#[inline(always)]
pub(crate) fn value_len(kind: ElementType, body: &[u8]) -> Option<usize> {
    let prefixed = |extra: usize| -> Option<usize> {
        let declared = i32::from_le_bytes(*body.first_chunk::<4>()?);
        usize::try_from(declared).ok()?.checked_add(extra)
    };
    Some(match kind {
        ElementType::Null | ElementType::Undefined | ElementType::MinKey | ElementType::MaxKey => 0,
        ElementType::Boolean => 1,
        ElementType::Int32 => 4,
        ElementType::Double
        | ElementType::Int64
        | ElementType::DateTime
        | ElementType::Timestamp => 8,
        ElementType::ObjectId => 12,
        ElementType::Decimal128 => 16,
        ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode => {
            prefixed(4).filter(|len| *len >= 5)?
        }
        ElementType::EmbeddedDocument
        | ElementType::Array
        | ElementType::JavaScriptCodeWithScope => prefixed(0).filter(|len| *len >= 5)?,
        ElementType::Binary => prefixed(5)?,
        ElementType::DbPointer => prefixed(16).filter(|len| *len >= 17)?,
        ElementType::RegularExpression => {
            let pattern = memchr::memchr(0, body)?;
            pattern + 2 + memchr::memchr(0, body.get(pattern + 1..)?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{doc, raw::RawDocumentBuf};

    fn raw(document: &bson::Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn every_type_is_stepped_over_by_its_own_length() {
        let document = raw(&doc! {
            "double": 1.5, "string": "text", "doc": {"a": 1}, "array": [1, "2"],
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
            "id": bson::oid::ObjectId::new(), "bool": true, "date": bson::DateTime::now(),
            "null": null, "undefined": bson::Bson::Undefined,
            "regex": bson::Regex { pattern: bson::raw::cstr!("a.b").into(), options: bson::raw::cstr!("i").into() },
            "code": bson::Bson::JavaScriptCode("x".into()),
            "scope": bson::JavaScriptCodeWithScope { code: "x".into(), scope: doc! {"y": 1} },
            "symbol": bson::Bson::Symbol("s".into()), "int": 7, "timestamp": bson::Timestamp { time: 1, increment: 2 },
            "long": 8_i64, "decimal": "1.5".parse::<bson::Decimal128>().unwrap(),
            "min": bson::Bson::MinKey, "max": bson::Bson::MaxKey,
        });
        let ours: Vec<_> = walk(document.as_bytes())
            .unwrap()
            .map(|element| {
                let element = element.unwrap();
                (
                    String::from_utf8(element.name.to_vec()).unwrap(),
                    element.kind,
                )
            })
            .collect();
        let theirs: Vec<_> = document
            .iter()
            .map(|element| {
                let (name, value) = element.unwrap();
                (name.to_string(), value.element_type())
            })
            .collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn a_cut_document_is_malformed_and_never_read_past_its_end() {
        let document = raw(&doc! {"a": "some text", "b": {"c": [1, 2, 3]}});
        let bytes = document.as_bytes();
        for len in 0..bytes.len() {
            assert!(walk(&bytes[..len]).is_err());
            let mut cut = bytes[..len].to_vec();
            if let Some(prefix) = cut.first_chunk_mut::<4>() {
                *prefix = (len as i32).to_le_bytes();
            }
            if let Ok(elements) = walk(&cut) {
                let _ = elements.count();
            }
        }
    }
}
