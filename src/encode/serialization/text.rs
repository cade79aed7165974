//! Values of BSON that are text in a schema.

use crate::change::raw::Element;
use crate::encode::json::binary::{hex_pair, payload};
use crate::encode::json::{EncodeError, JsonMode, Stats, decimal, write_value};
use bson::spec::ElementType;

/// Appends a value that is no string: an ObjectId, a UUID and a Decimal128 as they are written everywhere, and
/// what is seldom as Extended JSON.
pub(super) fn write(out: &mut Vec<u8>, element: Element<'_>) -> Result<Stats, EncodeError> {
    match element.kind {
        ElementType::ObjectId => out.extend(element.value.iter().copied().flat_map(hex_pair)),
        ElementType::Decimal128 => {
            if let Ok(bytes) = element.value.try_into() {
                decimal::write(out, bytes);
            }
        }
        ElementType::Binary => {
            for (index, byte) in binary(element).iter().enumerate() {
                if matches!(index, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                out.extend_from_slice(&hex_pair(*byte));
            }
        }
        _ => return write_value(out, JsonMode::Relaxed, element),
    }
    Ok(Stats::default())
}

/// The bytes of a binary value.
pub(super) fn binary(element: Element<'_>) -> &[u8] {
    match element.value {
        [_, _, _, _, subtype, bytes @ ..] => payload(*subtype, bytes),
        _ => &[],
    }
}

/// Appends text in which what is not UTF-8 becomes U+FFFD.
pub(super) fn lossy(out: &mut Vec<u8>, bytes: &[u8]) -> Stats {
    let mut stats = Stats::default();
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
            stats.replaced += 1;
        }
    }
    stats
}
