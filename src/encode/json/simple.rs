//! What a Node service's `JSON.stringify` gives for a document, made lossless where that loses.

use super::extended::Relaxed;
use super::output::Output;
use super::walk::Dialect;
use super::{binary, date, decimal, number, text};

pub(super) struct Simple;

impl Dialect for Simple {
    /// A code's scope is part of an Extended JSON wrapper, so it is relaxed Extended JSON.
    type Scope = Relaxed;

    #[inline(always)]
    fn int32(out: &mut Output<'_>, value: i32) {
        number::integer(out, value);
    }

    #[inline(always)]
    fn int64(out: &mut Output<'_>, value: i64) {
        number::integer(out, value);
    }

    #[inline(always)]
    fn double(out: &mut Output<'_>, value: f64) {
        if value.is_finite() {
            number::shortest_double(out, value);
        } else {
            out.extend(b"null");
        }
    }

    #[inline(always)]
    fn date(out: &mut Output<'_>, millis: i64) {
        out.push(b'"');
        date::iso(out, millis, true);
        out.push(b'"');
    }

    #[inline(always)]
    fn object_id(out: &mut Output<'_>, id: &[u8; 12]) {
        out.push(b'"');
        binary::hex(out, id);
        out.push(b'"');
    }

    fn decimal(out: &mut Output<'_>, bytes: &[u8; 16]) {
        out.push(b'"');
        decimal::decimal(out, bytes);
        out.push(b'"');
    }

    fn binary(out: &mut Output<'_>, subtype: u8, bytes: &[u8]) {
        out.push(b'"');
        match <&[u8; 16]>::try_from(bytes) {
            Ok(uuid) if subtype == binary::UUID => binary::uuid(out, uuid),
            _ => binary::base64(out, binary::payload(subtype, bytes)),
        }
        out.push(b'"');
    }

    fn symbol(out: &mut Output<'_>, symbol: &[u8]) {
        text::string(out, symbol);
    }

    fn undefined(out: &mut Output<'_>) {
        out.extend(b"null");
    }
}
