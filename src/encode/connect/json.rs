//! `JsonConverter`: the schema of a value, and the value.

use super::convert::{self, Members, Scalar};
use crate::change::raw::Element;
use crate::config::connect_schema::{Field, Kind, Schema};
use crate::encode::driver::{self, Style};
use crate::encode::json::{EncodeError, Stats, binary, short_escape};

/// Appends a schema and what comes before its value, as with `schemas.enable`; a brace closes it.
pub fn open_schema(out: &mut Vec<u8>, schema: &Schema) {
    out.extend_from_slice(br#"{"schema":"#);
    write_schema(out, schema, None);
    out.extend_from_slice(br#","payload":"#);
}

fn write_schema(out: &mut Vec<u8>, schema: &Schema, field: Option<&str>) {
    let kind = match &schema.kind {
        Kind::Boolean => "boolean",
        Kind::Int32 => "int32",
        Kind::Int64 | Kind::Timestamp => "int64",
        Kind::Float64 => "double",
        Kind::String => "string",
        Kind::Bytes | Kind::Decimal(_) => "bytes",
        Kind::Array(_) => "array",
        Kind::Map(_) => "map",
        Kind::Struct(_) => "struct",
    };
    raw(out, r#"{"type":""#);
    raw(out, kind);
    raw(out, "\"");
    match &schema.kind {
        Kind::Array(items) => {
            raw(out, r#","items":"#);
            write_schema(out, items, None);
        }
        Kind::Map(values) => {
            raw(out, r#","keys":"#);
            write_schema(out, &Schema::string(), None);
            raw(out, r#","values":"#);
            write_schema(out, values, None);
        }
        Kind::Struct(fields) => {
            raw(out, r#","fields":["#);
            for (at, Field { name, schema }) in fields.iter().enumerate() {
                raw(out, if at > 0 { "," } else { "" });
                write_schema(out, schema, Some(name));
            }
            raw(out, "]");
        }
        _ => {}
    }
    raw(out, r#","optional":"#);
    raw(out, if schema.is_optional { "true" } else { "false" });
    if let Some(name) = schema.full_name() {
        raw(out, r#","name":"#);
        write_string(out, name);
    }
    match schema.kind {
        Kind::Timestamp => raw(out, r#","version":1"#),
        Kind::Decimal(scale) => {
            raw(out, r#","version":1,"parameters":{"scale":""#);
            raw(out, itoa::Buffer::new().format(scale));
            raw(out, r#""}"#);
        }
        _ => {}
    }
    if let Some(name) = field {
        raw(out, r#","field":"#);
        write_string(out, name);
    }
    raw(out, "}");
}

/// Appends a value by its schema.
///
/// # Errors
/// [`EncodeError`]: there is no such value. What was appended means nothing then.
pub fn write(
    out: &mut Vec<u8>,
    schema: &Schema,
    value: Option<Element<'_>>,
    style: Style,
    stats: &mut Stats,
) -> Result<(), EncodeError> {
    let Some(value) = value else {
        convert::is_null(schema, None)?;
        raw(out, "null");
        return Ok(());
    };
    if convert::is_null(schema, Some(value))? {
        raw(out, "null");
        return Ok(());
    }
    match &schema.kind {
        Kind::Struct(fields) => {
            let members = Members::of(convert::document(value)?)?;
            raw(out, "{");
            for (at, Field { name, schema }) in fields.iter().enumerate() {
                raw(out, if at > 0 { "," } else { "" });
                write_string(out, name);
                raw(out, ":");
                write(out, schema, members.get(name)?, style, stats)?;
            }
            raw(out, "}");
        }
        Kind::Array(items) => {
            raw(out, "[");
            for (at, element) in convert::elements(value)?.into_iter().enumerate() {
                raw(out, if at > 0 { "," } else { "" });
                write(out, items, Some(element), style, stats)?;
            }
            raw(out, "]");
        }
        Kind::Map(values) => {
            raw(out, "{");
            let document = convert::document(value)?;
            for (at, element) in crate::change::raw::walk(document)?.enumerate() {
                let element = element?;
                raw(out, if at > 0 { "," } else { "" });
                write_string(out, &String::from_utf8_lossy(element.name));
                raw(out, ":");
                write(out, values, Some(element), style, stats)?;
            }
            raw(out, "}");
        }
        _ => match convert::scalar(schema, value, style, stats)? {
            Scalar::Boolean(is) => raw(out, if is { "true" } else { "false" }),
            Scalar::Int(number) => raw(out, itoa::Buffer::new().format(number)),
            Scalar::Long(number) => raw(out, itoa::Buffer::new().format(number)),
            Scalar::Double(number) => {
                let quote = if number.is_finite() { "" } else { "\"" };
                raw(out, quote);
                driver::write_double(out, number);
                raw(out, quote);
            }
            Scalar::Text(text) => write_string(out, &text),
            Scalar::Bytes(bytes) => {
                raw(out, "\"");
                binary::write_base64(out, &bytes);
                raw(out, "\"");
            }
        },
    }
    Ok(())
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a string as Jackson does, which writes what is beyond the first plane of Unicode as its two halves.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let unit = |out: &mut Vec<u8>, unit: u16| {
        out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            out.push(DIGITS[usize::from(unit >> shift & 15)]);
        }
    };
    out.push(b'"');
    let mut rest = text;
    let is_special = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\') || byte >= 0xf0;
    while let Some(at) = rest.bytes().position(is_special) {
        raw(out, &rest[..at]);
        let Some(character) = rest[at..].chars().next() else {
            break;
        };
        match u8::try_from(character).ok().and_then(short_escape) {
            Some(short) => out.extend_from_slice(&[b'\\', short]),
            None => {
                for half in character.encode_utf16(&mut [0; 2]) {
                    unit(out, *half);
                }
            }
        }
        rest = &rest[at + character.len_utf8()..];
    }
    raw(out, rest);
    out.push(b'"');
}
