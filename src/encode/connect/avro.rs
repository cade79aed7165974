//! `AvroConverter`: the schema of a value in Avro, and the value.

use super::convert::{self, Members, Scalar};
use super::json::write_string;
use crate::change::raw::{self, Element};
use crate::config::connect_schema::{Field, Kind, Schema};
use crate::encode::driver::Style;
use crate::encode::json::{EncodeError, Stats};
use crate::encode::serialization::avro_long as long;
use std::collections::HashMap;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The text of a schema.
///
/// # Errors
/// Why there is none in Avro, as the end of a sentence.
pub fn schema(schema: &Schema) -> Result<String, String> {
    let mut writer = Writer::default();
    writer.schema(schema, "")?;
    Ok(String::from_utf8_lossy(&writer.out).into_owned())
}

#[derive(Default)]
struct Writer<'a> {
    out: Vec<u8>,
    /// The records that were written, by their full names.
    records: HashMap<&'a str, &'a [Field]>,
}

impl<'a> Writer<'a> {
    fn schema(&mut self, schema: &'a Schema, space: &str) -> Result<(), String> {
        match schema.is_optional {
            false => self.plain(schema, space),
            true => {
                self.raw(r#"["null","#);
                self.plain(schema, space)?;
                self.raw("]");
                Ok(())
            }
        }
    }

    fn plain(&mut self, schema: &'a Schema, space: &str) -> Result<(), String> {
        match &schema.kind {
            Kind::Boolean => self.raw(r#""boolean""#),
            Kind::Int32 => self.raw(r#""int""#),
            Kind::Int64 => self.raw(r#""long""#),
            Kind::Float64 => self.raw(r#""double""#),
            Kind::String => self.raw(r#""string""#),
            Kind::Bytes => self.raw(r#""bytes""#),
            Kind::Timestamp => self.raw(
                r#"{"type":"long","connect.version":1,"connect.name":"org.apache.kafka.connect.data.Timestamp","logicalType":"timestamp-millis"}"#,
            ),
            Kind::Decimal(scale) => self.raw(&format!(
                r#"{{"type":"bytes","scale":{scale},"precision":64,"connect.version":1,"connect.parameters":{{"scale":"{scale}"}},"connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}}"#,
            )),
            Kind::Array(items) => {
                self.raw(r#"{"type":"array","items":"#);
                self.schema(items, space)?;
                self.named(schema);
            }
            Kind::Map(values) => {
                self.raw(r#"{"type":"map","values":"#);
                self.schema(values, space)?;
                self.named(schema);
            }
            Kind::Struct(fields) => return self.record(schema, fields, space),
        }
        Ok(())
    }

    /// The end of what has a name in Connect.
    fn named(&mut self, schema: &Schema) {
        if let Some(name) = &schema.name {
            self.raw(r#","connect.name":"#);
            write_string(&mut self.out, name);
        }
        self.raw("}");
    }

    fn record(
        &mut self,
        schema: &'a Schema,
        fields: &'a [Field],
        space: &str,
    ) -> Result<(), String> {
        let full = schema.name.as_deref().unwrap_or("ConnectDefault");
        let (own_space, name) = full.rsplit_once('.').unwrap_or(("", full));
        let at_fault = || {
            format!(
                "two documents would both be the record {full:?} of Avro, with different fields"
            )
        };
        match self.records.get(full) {
            Some(known) if *known == fields => {
                let shown = if own_space == space { name } else { full };
                write_string(&mut self.out, shown);
                return Ok(());
            }
            Some(_) => return Err(at_fault()),
            None => {}
        }
        check(name)?;
        self.raw(r#"{"type":"record","name":"#);
        write_string(&mut self.out, name);
        if own_space != space {
            self.raw(r#","namespace":"#);
            write_string(&mut self.out, own_space);
        }
        self.raw(r#","fields":["#);
        self.records.insert(full, fields);
        for (at, field) in fields.iter().enumerate() {
            check(&field.name)?;
            self.raw(if at > 0 { "," } else { "" });
            self.raw(r#"{"name":"#);
            write_string(&mut self.out, &field.name);
            self.raw(r#","type":"#);
            self.schema(&field.schema, own_space)?;
            if field.schema.is_optional {
                self.raw(r#","default":null"#);
            }
            self.raw("}");
        }
        self.raw("]");
        self.named(schema);
        Ok(())
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// A name as Java's Avro takes it: letters of any script, digits and `_`.
fn check(name: &str) -> Result<(), String> {
    let is_letter = |character: char| {
        // It looks at units of UTF-16, and half of a character is no letter.
        character.len_utf16() == 1
            && matches!(
                character.general_category(),
                GeneralCategory::UppercaseLetter
                    | GeneralCategory::LowercaseLetter
                    | GeneralCategory::TitlecaseLetter
                    | GeneralCategory::ModifierLetter
                    | GeneralCategory::OtherLetter
            )
    };
    let is_digit = |character: char| {
        character.len_utf16() == 1 && character.general_category() == GeneralCategory::DecimalNumber
    };
    let mut characters = name.chars();
    let begins = characters
        .next()
        .is_some_and(|first| first == '_' || is_letter(first));
    match begins && characters.all(|it| it == '_' || is_letter(it) || is_digit(it)) {
        true => Ok(()),
        false => Err(format!(
            "a field's name ({} characters) is none in Avro, which has letters, digits and _ alone",
            name.chars().count()
        )),
    }
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
    let is_null = convert::is_null(schema, value)?;
    let Some(value) = value.filter(|_| !is_null) else {
        long(out, 0);
        return Ok(());
    };
    if schema.is_optional {
        long(out, 1);
    }
    match &schema.kind {
        Kind::Struct(fields) => {
            let members = Members::of(convert::document(value)?)?;
            for Field { name, schema } in fields {
                write(out, schema, members.get(name)?, style, stats)?;
            }
        }
        Kind::Array(items) => {
            let elements = convert::elements(value)?;
            if !elements.is_empty() {
                long(out, elements.len() as i64);
                for element in elements {
                    write(out, items, Some(element), style, stats)?;
                }
            }
            long(out, 0);
        }
        Kind::Map(values) => {
            let document = convert::document(value)?;
            let members = raw::walk(document)?.collect::<Result<Vec<_>, _>>()?;
            if !members.is_empty() {
                long(out, members.len() as i64);
                for member in members {
                    bytes(out, String::from_utf8_lossy(member.name).as_bytes());
                    write(out, values, Some(member), style, stats)?;
                }
            }
            long(out, 0);
        }
        _ => match convert::scalar(schema, value, style, stats)? {
            Scalar::Boolean(is) => out.push(u8::from(is)),
            Scalar::Int(number) => long(out, i64::from(number)),
            Scalar::Long(number) => long(out, number),
            Scalar::Double(number) => out.extend(number.to_le_bytes()),
            Scalar::Text(text) => bytes(out, text.as_bytes()),
            Scalar::Bytes(of) => bytes(out, &of),
        },
    }
    Ok(())
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}
