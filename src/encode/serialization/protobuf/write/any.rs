//! Lists in lists, and what else has no type in a schema: `google.protobuf.ListValue` and `Struct`, which hold what JSON
//! has.

use super::wire::{Kind, fixed, tag, varint};
use super::{Outcome, Writing};
use crate::change::raw::{self, Element};
use crate::encode::json::binary::write_base64;
use crate::encode::json::write_timestamp;
use crate::encode::serialization::shape::is_uuid;
use crate::encode::serialization::text;
use bson::spec::ElementType;

/// Beyond this, not every whole number is a double.
const EXACT: i64 = 1 << 53;

impl Writing<'_> {
    /// The elements of a `ListValue`.
    pub(super) fn any_array(&mut self, array: &[u8]) -> Outcome {
        for element in raw::walk(array)? {
            let element = element?;
            self.message(1, |it| it.any(element))?;
        }
        Ok(())
    }

    /// The fields of a `Struct`.
    pub(super) fn any_document(&mut self, document: &[u8]) -> Outcome {
        for element in raw::walk(document)? {
            let element = element?;
            self.message(1, |it| {
                it.string(1, element.name);
                it.message(2, |it| it.any(element))
            })?;
        }
        Ok(())
    }

    /// What a `Value` holds.
    fn any(&mut self, element: Element<'_>) -> Outcome {
        /// The numbers of its fields.
        const NULL: u32 = 1;
        const NUMBER: u32 = 2;
        const STRING: u32 = 3;
        const BOOLEAN: u32 = 4;
        const STRUCT: u32 = 5;
        const LIST: u32 = 6;
        match element.kind {
            ElementType::Null | ElementType::Undefined => {
                tag(self.out, NULL, Kind::Varint);
                varint(self.out, 0);
            }
            ElementType::Boolean => {
                tag(self.out, BOOLEAN, Kind::Varint);
                varint(self.out, u64::from(element.value != [0]));
            }
            ElementType::Double => {
                tag(self.out, NUMBER, Kind::Fixed64);
                self.out.extend_from_slice(element.value);
            }
            ElementType::Int32 | ElementType::Int64 => {
                let number = element.as_i64().unwrap_or_default();
                match (-EXACT..=EXACT).contains(&number) {
                    true => {
                        tag(self.out, NUMBER, Kind::Fixed64);
                        fixed(self.out, number as f64);
                    }
                    // No double holds it.
                    false => self.string(STRING, number.to_string().as_bytes()),
                }
            }
            ElementType::EmbeddedDocument => {
                self.message(STRUCT, |it| it.any_document(element.value))?;
            }
            ElementType::Array => {
                self.message(LIST, |it| it.any_array(element.value))?;
            }
            ElementType::String | ElementType::Symbol => {
                self.string(STRING, element.string_bytes().unwrap_or_default());
            }
            _ => {
                self.text.clear();
                match element.kind {
                    ElementType::DateTime => {
                        write_timestamp(self.text, element.as_date_millis().unwrap_or_default());
                    }
                    ElementType::Binary if !is_uuid(element) => {
                        write_base64(self.text, text::binary(element));
                    }
                    _ => self.stats += text::write(self.text, element)?,
                }
                self.kept(STRING);
            }
        }
        Ok(())
    }
}
