//! Documents as Extended JSON, in JSON or YAML, with their fields in their order.

use bson::{Bson, Document};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// A value that is written as relaxed Extended JSON.
pub(super) struct Extended<'a>(pub(super) &'a Bson);

impl Serialize for Extended<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Bson::Document(document) => {
                let mut map = serializer.serialize_map(Some(document.len()))?;
                for (name, value) in document {
                    map.serialize_entry(name, &Extended(value))?;
                }
                map.end()
            }
            Bson::Array(list) => {
                let mut sequence = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    sequence.serialize_element(&Extended(value))?;
                }
                sequence.end()
            }
            other => other.clone().into_relaxed_extjson().serialize(serializer),
        }
    }
}

pub(super) fn json(value: &Bson) -> String {
    serde_json::to_string_pretty(&Extended(value)).unwrap_or_default() + "\n"
}

/// On one line.
pub(super) fn line(value: &Bson) -> String {
    serde_json::to_string(&Extended(value)).unwrap_or_default()
}

pub(super) fn yaml(value: &Bson) -> Result<String, String> {
    serde_saphyr::to_string(&Extended(value))
        .map_err(|error| serde_json::Error::custom(error).to_string())
}

/// As it is shown to a person: YAML, or JSON where that cannot say it.
pub(super) fn text(document: &Document) -> String {
    let value = Bson::Document(document.clone());
    yaml(&value).unwrap_or_else(|_| json(&value))
}
