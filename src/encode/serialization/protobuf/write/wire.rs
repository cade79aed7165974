//! The bytes of Protobuf's encoding.

/// How what follows a tag is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Varint = 0,
    Fixed64 = 1,
    /// With its length before it.
    Length = 2,
}

#[inline]
pub(super) fn tag(out: &mut Vec<u8>, number: u32, kind: Kind) {
    varint(out, u64::from(number) << 3 | kind as u64);
}

/// Seven bits in a byte, the lowest first.
#[inline]
pub(super) fn varint(out: &mut Vec<u8>, mut rest: u64) {
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(super) fn fixed(out: &mut Vec<u8>, double: f64) {
    out.extend_from_slice(&double.to_le_bytes());
}

/// What `write` appends, with its length before it.
pub(super) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    insert_length(out, start);
}

/// Puts the length of what is from `start` on before it.
pub(super) fn insert_length(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    varint(out, (end - start) as u64);
    let size = out.len() - end;
    out[start..].rotate_right(size);
}
