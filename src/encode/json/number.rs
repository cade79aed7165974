//! Numbers: the shortest text that reads back as the same number.

use super::output::Output;

/// Whole doubles up to here are exact integers (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

#[inline]
pub(super) fn integer(out: &mut Output<'_>, value: impl itoa::Integer) {
    out.extend(itoa::Buffer::new().format(value).as_bytes());
}

/// A finite double that always has a fraction or an exponent: `1.0`, `-0.0`, `1e+21`.
#[inline]
pub(super) fn double(out: &mut Output<'_>, value: f64) {
    out.extend(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// A finite double as JavaScript writes it (`1`, `0.5`), except where that would not read back as the
/// same number everywhere: `-0.0` keeps its sign, and a whole number beyond ±2^53, whose shortest
/// digits are not its exact ones, has a fraction or an exponent, so that no reader takes it for an integer.
#[inline]
pub(super) fn shortest_double(out: &mut Output<'_>, value: f64) {
    let whole = value as i64;
    if whole as f64 == value && value.abs() <= EXACT && (whole != 0 || value.is_sign_positive()) {
        return integer(out, whole);
    }
    double(out, value);
}

/// `"Infinity"`, `"-Infinity"` or `"NaN"`, without quotes.
pub(super) fn name_of_non_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}
