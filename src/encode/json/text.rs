//! JSON strings: quoted, escaped, always valid UTF-8.
//!
//! Most strings need nothing but their quotes. The scan looks at a block at a time for a byte that
//! needs care (a quote, a backslash, a control character, or the start of a multi-byte character);
//! only from there on is anything looked at more closely.

use super::output::Output;

const BLOCK: usize = 16;

/// Appends `bytes` as a JSON string.
#[inline]
pub(super) fn string(out: &mut Output<'_>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    contents(out, bytes);
    out.push(b'"');
}

/// Appends `bytes` escaped, without quotes.
#[inline]
pub(super) fn contents(out: &mut Output<'_>, bytes: &[u8]) {
    let plain = plain_ascii_prefix(bytes);
    out.extend(&bytes[..plain]);
    if plain < bytes.len() {
        with_care(out, &bytes[plain..]);
    }
}

#[inline(never)]
fn with_care(out: &mut Output<'_>, bytes: &[u8]) {
    if std::str::from_utf8(bytes).is_ok() {
        return escaped(out, bytes);
    }
    for chunk in bytes.utf8_chunks() {
        escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend("\u{FFFD}".as_bytes());
            out.count_replaced();
        }
    }
}

/// Appends valid UTF-8.
fn escaped(out: &mut Output<'_>, mut bytes: &[u8]) {
    loop {
        let plain = unescaped_prefix(bytes);
        out.extend(&bytes[..plain]);
        let Some(special) = bytes.get(plain) else {
            return;
        };
        escape(out, *special);
        bytes = &bytes[plain + 1..];
    }
}

/// Writes a quote, backslash or control character as `JSON.stringify` does.
fn escape(out: &mut Output<'_>, byte: u8) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digits = b"0123456789abcdef";
            let (high, low) = (
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            );
            return out.extend(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    out.extend(&[b'\\', short]);
}

#[inline(always)]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// How many leading bytes are ASCII and stand for themselves.
#[inline(always)]
fn plain_ascii_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, |byte| is_special(byte) | (byte >= 0x80))
}

/// How many leading bytes stand for themselves.
#[inline(always)]
fn unescaped_prefix(bytes: &[u8]) -> usize {
    prefix(bytes, is_special)
}

#[inline(always)]
fn prefix(bytes: &[u8], stops: impl Fn(u8) -> bool) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut at = 0;
    for block in blocks {
        // No early exit within a block: this becomes a handful of vector instructions.
        if block.iter().fold(false, |any, byte| any | stops(*byte)) {
            return at + block.iter().position(|byte| stops(*byte)).unwrap_or(0);
        }
        at += BLOCK;
    }
    at + rest
        .iter()
        .position(|byte| stops(*byte))
        .unwrap_or(rest.len())
}
