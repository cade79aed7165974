//! Bytes as text: base64, hexadecimal, UUIDs.

use super::output::Output;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The subtype of a UUID in standard byte order.
pub(super) const UUID: u8 = 4;
/// The outdated binary subtype, whose payload begins with its own length.
const OLD: u8 = 2;

/// The payload of a binary value: for the old subtype without the inner length, where that is right.
///
/// An inner length that does not fit is kept as part of the payload: losing bytes would be worse.
pub(in crate::encode) fn payload(subtype: u8, bytes: &[u8]) -> &[u8] {
    match bytes.split_first_chunk::<4>() {
        Some((inner, rest))
            if subtype == OLD && usize::try_from(i32::from_le_bytes(*inner)) == Ok(rest.len()) =>
        {
            rest
        }
        _ => bytes,
    }
}

/// Standard alphabet, with padding.
pub(super) fn base64(out: &mut Output<'_>, bytes: &[u8]) {
    out.extend_with(bytes.len().div_ceil(3) * 4, |text| {
        // The length is exact, so this cannot fail.
        let _ = STANDARD.encode_slice(bytes, text);
    });
}

/// As [`base64`], to a buffer.
pub(in crate::encode) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    base64(&mut Output::new(out), bytes);
}

/// Lower-case hexadecimal digits.
#[inline(always)]
pub(super) fn hex(out: &mut Output<'_>, bytes: &[u8; 12]) {
    let mut text = [0; 24];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = hex_pair(*byte);
    }
    out.extend(&text);
}

#[inline(always)]
pub(in crate::encode) fn hex_pair(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// `c8edabc3-f738-4ca3-b68d-ab92a91478a3`, without quotes.
pub(super) fn uuid(out: &mut Output<'_>, bytes: &[u8; 16]) {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at..at + 2].copy_from_slice(&hex_pair(*byte));
        at += 2;
    }
    out.extend(&text);
}
