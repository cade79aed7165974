//! Extended JSON v2, by MongoDB's published specification.
//!
//! One deliberate difference: relaxed writes an int64 beyond ±2^53 as `{"$numberLong":"…"}` and not as
//! a bare number, which JavaScript and many other readers would silently round. Every Extended JSON
//! parser reads both.

use super::output::Output;
use super::walk::Dialect;
use super::{binary, date, decimal, number, text};

/// Integers within ± this many are exact in a double.
const EXACT: u64 = 1 << 53;

pub(super) struct Relaxed;
pub(super) struct Canonical;

impl Dialect for Relaxed {
    type Scope = Relaxed;

    #[inline(always)]
    fn int32(out: &mut Output<'_>, value: i32) {
        number::integer(out, value);
    }

    #[inline(always)]
    fn int64(out: &mut Output<'_>, value: i64) {
        if value.unsigned_abs() <= EXACT {
            number::integer(out, value);
        } else {
            number_long(out, value);
        }
    }

    #[inline(always)]
    fn double(out: &mut Output<'_>, value: f64) {
        if value.is_finite() {
            number::double(out, value);
        } else {
            number_double(out, value);
        }
    }

    #[inline(always)]
    fn date(out: &mut Output<'_>, millis: i64) {
        if (0..date::YEAR_10000).contains(&millis) {
            out.extend(br#"{"$date":""#);
            date::iso(out, millis, false);
            out.extend(br#""}"#);
        } else {
            date_millis(out, millis);
        }
    }

    fn object_id(out: &mut Output<'_>, id: &[u8; 12]) {
        object_id(out, id);
    }

    fn decimal(out: &mut Output<'_>, bytes: &[u8; 16]) {
        number_decimal(out, bytes);
    }

    fn binary(out: &mut Output<'_>, subtype: u8, bytes: &[u8]) {
        binary_object(out, subtype, bytes);
    }

    fn symbol(out: &mut Output<'_>, symbol: &[u8]) {
        symbol_object(out, symbol);
    }

    fn undefined(out: &mut Output<'_>) {
        out.extend(br#"{"$undefined":true}"#);
    }
}

impl Dialect for Canonical {
    type Scope = Canonical;

    #[inline(always)]
    fn int32(out: &mut Output<'_>, value: i32) {
        out.extend(br#"{"$numberInt":""#);
        number::integer(out, value);
        out.extend(br#""}"#);
    }

    fn int64(out: &mut Output<'_>, value: i64) {
        number_long(out, value);
    }

    fn double(out: &mut Output<'_>, value: f64) {
        number_double(out, value);
    }

    fn date(out: &mut Output<'_>, millis: i64) {
        date_millis(out, millis);
    }

    fn object_id(out: &mut Output<'_>, id: &[u8; 12]) {
        object_id(out, id);
    }

    fn decimal(out: &mut Output<'_>, bytes: &[u8; 16]) {
        number_decimal(out, bytes);
    }

    fn binary(out: &mut Output<'_>, subtype: u8, bytes: &[u8]) {
        binary_object(out, subtype, bytes);
    }

    fn symbol(out: &mut Output<'_>, symbol: &[u8]) {
        symbol_object(out, symbol);
    }

    fn undefined(out: &mut Output<'_>) {
        out.extend(br#"{"$undefined":true}"#);
    }
}

#[inline(always)]
fn object_id(out: &mut Output<'_>, id: &[u8; 12]) {
    out.extend(br#"{"$oid":""#);
    binary::hex(out, id);
    out.extend(br#""}"#);
}

fn number_long(out: &mut Output<'_>, value: i64) {
    out.extend(br#"{"$numberLong":""#);
    number::integer(out, value);
    out.extend(br#""}"#);
}

fn number_double(out: &mut Output<'_>, value: f64) {
    out.extend(br#"{"$numberDouble":""#);
    if value.is_finite() {
        number::double(out, value);
    } else {
        out.extend(number::name_of_non_finite(value));
    }
    out.extend(br#""}"#);
}

fn number_decimal(out: &mut Output<'_>, bytes: &[u8; 16]) {
    out.extend(br#"{"$numberDecimal":""#);
    decimal::decimal(out, bytes);
    out.extend(br#""}"#);
}

fn date_millis(out: &mut Output<'_>, millis: i64) {
    out.extend(br#"{"$date":"#);
    number_long(out, millis);
    out.push(b'}');
}

fn binary_object(out: &mut Output<'_>, subtype: u8, bytes: &[u8]) {
    out.extend(br#"{"$binary":{"base64":""#);
    binary::base64(out, binary::payload(subtype, bytes));
    out.extend(br#"","subType":""#);
    out.extend(&binary::hex_pair(subtype));
    out.extend(br#""}}"#);
}

fn symbol_object(out: &mut Output<'_>, symbol: &[u8]) {
    out.extend(br#"{"$symbol":"#);
    text::string(out, symbol);
    out.push(b'}');
}

// The types below are the same in every mode, `simple` included.

pub(super) fn timestamp(out: &mut Output<'_>, raw: u64) {
    out.extend(br#"{"$timestamp":{"t":"#);
    number::integer(out, (raw >> 32) as u32);
    out.extend(br#","i":"#);
    number::integer(out, raw as u32);
    out.extend(b"}}");
}

/// The specification wants the options in alphabetical order; servers store them so, but need not.
pub(super) fn regex(out: &mut Output<'_>, pattern: &[u8], options: &[u8]) {
    out.extend(br#"{"$regularExpression":{"pattern":"#);
    text::string(out, pattern);
    out.extend(br#","options":"#);
    if options.is_sorted() || !options.is_ascii() {
        text::string(out, options);
    } else {
        out.push(b'"');
        for option in 0..0x80 {
            for _ in options.iter().filter(|byte| **byte == option) {
                text::contents(out, &[option]);
            }
        }
        out.push(b'"');
    }
    out.extend(b"}}");
}

pub(super) fn db_pointer(out: &mut Output<'_>, namespace: &[u8], id: &[u8; 12]) {
    out.extend(br#"{"$dbPointer":{"$ref":"#);
    text::string(out, namespace);
    out.extend(br#","$id":"#);
    object_id(out, id);
    out.extend(b"}}");
}

pub(super) fn code(out: &mut Output<'_>, code: &[u8]) {
    out.extend(br#"{"$code":"#);
    text::string(out, code);
    out.push(b'}');
}

/// Code with scope; `scope` writes the scope's document.
pub(super) fn scoped_code<E>(
    out: &mut Output<'_>,
    code: &[u8],
    scope: impl FnOnce(&mut Output<'_>) -> Result<(), E>,
) -> Result<(), E> {
    out.extend(br#"{"$code":"#);
    text::string(out, code);
    out.extend(br#","$scope":"#);
    scope(out)?;
    out.push(b'}');
    Ok(())
}

pub(super) fn min_key(out: &mut Output<'_>) {
    out.extend(br#"{"$minKey":1}"#);
}

pub(super) fn max_key(out: &mut Output<'_>) {
    out.extend(br#"{"$maxKey":1}"#);
}
