//! Values as Extended JSON, with the fields of documents in their order: to an embedded document in a filter, as to
//! an `_id`, the order counts. The crate's own conversion sorts them.
//!
//! Reading keeps the order where a [`Bson`] is read from the text at once.

use bson::Bson;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// A value that is written as Extended JSON.
#[derive(Debug, Clone, Copy)]
pub struct Extended<'a> {
    value: &'a Bson,
    is_canonical: bool,
}

impl<'a> Extended<'a> {
    /// As it is read again in every detail.
    pub fn canonical(value: &'a Bson) -> Self {
        let is_canonical = true;
        Self {
            value,
            is_canonical,
        }
    }

    /// As people write it: numbers and dates without their types.
    pub fn relaxed(value: &'a Bson) -> Self {
        let is_canonical = false;
        Self {
            value,
            is_canonical,
        }
    }

    /// As text on one line.
    pub fn line(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }
}

impl Serialize for Extended<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let within = |value| Extended { value, ..*self };
        match (self.value, self.is_canonical) {
            (Bson::Document(document), _) => {
                let mut map = serializer.serialize_map(Some(document.len()))?;
                for (name, value) in document {
                    map.serialize_entry(name, &within(value))?;
                }
                map.end()
            }
            (Bson::Array(list), _) => {
                let mut sequence = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    sequence.serialize_element(&within(value))?;
                }
                sequence.end()
            }
            (other, true) => other.clone().into_canonical_extjson().serialize(serializer),
            (other, false) => other.clone().into_relaxed_extjson().serialize(serializer),
        }
    }
}
