//! JSON strings: quoted, escaped, always valid UTF-8.
//!
//! Most strings need nothing but their quotes. The scan looks at a block at a time for a byte that
//! needs care (a quote, a backslash, a control character, or the start of a multi-byte character);
//! only from there on is anything looked at more closely.

use super::output::Output;

const BLOCK: usize = 16;

/// Appends the name that begins `bytes` and ends before the first zero, as a JSON string and a colon.
///
/// Returns the name's length, or `None` when there is no zero.
#[inline(always)]
pub(super) fn name(out: &mut Output<'_>, bytes: &[u8]) -> Option<usize> {
    if let Some(head) = bytes.first_chunk::<BLOCK>() {
        // What ends a plain run in nearly every name is its zero, so that one look finds both.
        let plain = plain_run::<ASCII_ONLY>(head);
        if plain < BLOCK && head[plain] == 0 {
            out.push(b'"');
            out.extend_cut(head, plain);
            out.extend(b"\":");
            return Some(plain);
        }
    }
    let len = memchr::memchr(0, bytes)?;
    string(out, &bytes[..len]);
    out.push(b':');
    Some(len)
}

/// Appends the first `len` bytes as a JSON string; a zero must follow them, else nothing is written.
#[inline(always)]
pub(super) fn terminated(out: &mut Output<'_>, bytes: &[u8], len: usize) -> Option<()> {
    if *bytes.get(len)? != 0 {
        return None;
    }
    match bytes.first_chunk::<BLOCK>() {
        Some(head) if len < BLOCK && plain_run::<ASCII_ONLY>(head) == len => {
            out.push(b'"');
            out.extend_cut(head, len);
            out.push(b'"');
        }
        _ => string(out, &bytes[..len]),
    }
    Some(())
}

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
    let plain = plain_prefix::<ASCII_ONLY>(bytes);
    out.extend(&bytes[..plain]);
    if plain < bytes.len() {
        with_care(out, &bytes[plain..]);
    }
}

#[inline(never)]
fn with_care(out: &mut Output<'_>, bytes: &[u8]) {
    if simdutf8::basic::from_utf8(bytes).is_ok() {
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
        let plain = plain_prefix::<ANY_UTF8>(bytes);
        out.extend(&bytes[..plain]);
        let Some(special) = bytes.get(plain) else {
            return;
        };
        escape(out, *special);
        bytes = &bytes[plain + 1..];
    }
}

/// What stands behind the backslash for a character that JSON has a short escape for.
#[inline]
pub(in crate::encode) fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => return None,
    })
}

/// Writes a quote, backslash or control character as `JSON.stringify` does.
fn escape(out: &mut Output<'_>, byte: u8) {
    if let Some(short) = short_escape(byte) {
        return out.extend(&[b'\\', short]);
    }
    let digits = b"0123456789abcdef";
    let (high, low) = (
        digits[usize::from(byte >> 4)],
        digits[usize::from(byte & 15)],
    );
    out.extend(&[b'\\', b'u', b'0', b'0', high, low]);
}

/// Which bytes end a run that can be copied as it is.
const ASCII_ONLY: bool = true;
const ANY_UTF8: bool = false;

/// How many leading bytes stand for themselves (and are ASCII, where `ASCII` says so).
#[inline(always)]
fn plain_prefix<const ASCII: bool>(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        if has_special::<ASCII>(block) {
            return index * BLOCK + plain_run::<ASCII>(block);
        }
    }
    // What is left is looked at as a block too, some of which has been seen before.
    match bytes.last_chunk::<BLOCK>() {
        Some(block) => bytes.len() - BLOCK + plain_run::<ASCII>(block),
        None => {
            let special = rest.iter().position(|byte| is_special::<ASCII>(*byte));
            special.unwrap_or(rest.len())
        }
    }
}

#[inline(always)]
fn is_special<const ASCII: bool>(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (ASCII & (byte >= 0x80))
}

/// Without early exit, so that it becomes a handful of vector instructions.
#[inline(always)]
fn has_special<const ASCII: bool>(block: &[u8; BLOCK]) -> bool {
    let any = |any, byte: &u8| any | is_special::<ASCII>(*byte);
    block.iter().fold(false, any)
}

/// How many leading bytes of a block stand for themselves.
#[inline(always)]
fn plain_run<const ASCII: bool>(block: &[u8; BLOCK]) -> usize {
    let (words, _) = block.as_chunks::<8>();
    let [low, high] = [words[0], words[1]].map(|word| marks::<ASCII>(u64::from_le_bytes(word)));
    if low != 0 {
        low.trailing_zeros() as usize / 8
    } else if high != 0 {
        8 + high.trailing_zeros() as usize / 8
    } else {
        BLOCK
    }
}

/// Marks special bytes with their high bit.
///
/// The lowest mark is always right; higher ones may have borrowed from a lower one.
#[inline(always)]
fn marks<const ASCII: bool>(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let equals = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let special = control | equals(b'"') | equals(b'\\');
    (if ASCII { special | word } else { special }) & HIGHS
}
