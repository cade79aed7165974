//! Numbers and dates as Java has them.

use crate::encode::json::date::{self, Parts};

/// Appends a double as `Double.toString` gives it: `1.0`, `1.0E21`, `NaN`.
///
/// The digits are the fewest that read back as the same number, as in Java 19 and later.
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value.is_infinite() {
        return out.extend_from_slice(b"Infinity");
    }
    if value == 0.0 {
        return out.extend_from_slice(b"0.0");
    }
    let mut buffer = zmij::Buffer::new();
    let (digits, len, exponent) = decompose(buffer.format_finite(value));
    let digits = &digits[..len];
    if (1e-3..1e7).contains(&value) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            return out.extend_from_slice(digits);
        }
        let whole = exponent as usize + 1;
        for at in 0..whole {
            out.push(digits.get(at).copied().unwrap_or(b'0'));
        }
        out.push(b'.');
        return fraction(out, digits.get(whole..).unwrap_or_default());
    }
    out.extend_from_slice(&digits[..1]);
    out.push(b'.');
    fraction(out, &digits[1..]);
    out.push(b'E');
    out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
}

fn fraction(out: &mut Vec<u8>, digits: &[u8]) {
    match digits {
        [] => out.push(b'0'),
        digits => out.extend_from_slice(digits),
    }
}

/// The significant digits of a number's text, how many they are, and the power of ten of the first.
fn decompose(text: &str) -> ([u8; 32], usize, i32) {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(0)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = [0; 32];
    let (mut len, mut leading) = (0, 0);
    for digit in whole.bytes().chain(fraction.bytes()) {
        if len == 0 && digit == b'0' {
            leading += 1;
        } else if let Some(slot) = digits.get_mut(len) {
            *slot = digit;
            len += 1;
        }
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
    }
    (digits, len, exponent + whole.len() as i32 - 1 - leading)
}

/// Appends a date as `DateTimeFormatter.ISO_DATE_TIME` gives it: no more of a fraction than there is, and years with
/// at least four digits and a sign where they have more.
pub(super) fn date(out: &mut Vec<u8>, millis: i64) {
    let Parts {
        year,
        month,
        day,
        hour,
        minute,
        second,
        millisecond,
    } = date::parts(millis);
    let digits = year.unsigned_abs();
    if year < 0 {
        out.push(b'-');
    } else if digits > 9999 {
        out.push(b'+');
    }
    let text = format!("{digits:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    out.extend_from_slice(text.as_bytes());
    if millisecond > 0 {
        let fraction = format!(".{millisecond:03}");
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
    out.push(b'Z');
}
