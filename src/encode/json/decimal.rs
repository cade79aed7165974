//! Decimal128 as text, by MongoDB's BSON Decimal128 specification.
//!
//! Trailing zeros are kept (`1.50` is not `1.5`); a NaN has neither sign nor payload; a coefficient
//! over 34 digits is read as zero, as IEEE 754-2008 has it.

use super::number;
use super::output::Output;

const LARGEST_COEFFICIENT: u128 = 9_999_999_999_999_999_999_999_999_999_999_999;
const BIAS: i32 = 6176;

/// As [`decimal`], to a buffer.
pub(in crate::encode) fn write(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    decimal(&mut Output::new(out), bytes);
}

/// Appends the number, without quotes.
pub(super) fn decimal(out: &mut Output<'_>, bytes: &[u8; 16]) {
    let bits = u128::from_le_bytes(*bytes);
    let (negative, combination) = (bits >> 127 == 1, (bits >> 122) as u8 & 0b1_1111);
    if combination == 0b1_1111 {
        return out.extend(b"NaN");
    }
    if negative {
        out.push(b'-');
    }
    match parts(bytes) {
        None => out.extend(b"Infinity"),
        Some(Parts {
            coefficient,
            exponent,
            ..
        }) => finite(out, coefficient, exponent),
    }
}

/// A finite number: its digits, and the power of ten that they are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::encode) struct Parts {
    pub is_negative: bool,
    pub coefficient: u128,
    pub exponent: i32,
}

/// What a number consists of; none of NaN and the infinities.
pub(in crate::encode) fn parts(bytes: &[u8; 16]) -> Option<Parts> {
    let bits = u128::from_le_bytes(*bytes);
    let combination = (bits >> 122) as u8 & 0b1_1111;
    if combination >> 1 == 0b1111 {
        return None;
    }
    // With both leading bits set the coefficient would begin with 100 and has over 34 digits.
    let (biased, coefficient) = if combination >> 3 == 0b11 {
        ((bits >> 111) & 0x3fff, 0)
    } else {
        ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1))
    };
    Some(Parts {
        is_negative: bits >> 127 == 1,
        coefficient: match coefficient > LARGEST_COEFFICIENT {
            true => 0,
            false => coefficient,
        },
        exponent: biased as i32 - BIAS,
    })
}

fn finite(out: &mut Output<'_>, coefficient: u128, exponent: i32) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(coefficient).as_bytes();
    let adjusted = exponent + digits.len() as i32 - 1;
    if exponent <= 0 && adjusted >= -6 {
        let fraction = exponent.unsigned_abs() as usize;
        if fraction == 0 {
            out.extend(digits);
        } else if fraction >= digits.len() {
            out.extend(b"0.");
            out.extend(&b"000000"[..fraction - digits.len()]);
            out.extend(digits);
        } else {
            let (whole, fraction) = digits.split_at(digits.len() - fraction);
            out.extend(whole);
            out.push(b'.');
            out.extend(fraction);
        }
        return;
    }
    out.extend(&digits[..1]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend(&digits[1..]);
    }
    out.push(b'E');
    if adjusted >= 0 {
        out.push(b'+');
    }
    number::integer(out, adjusted);
}
