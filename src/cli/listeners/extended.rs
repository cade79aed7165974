//! Documents as relaxed Extended JSON, in JSON or YAML.

use crate::change::extended_json::Extended;
use bson::{Bson, Document};
use serde::ser::Error as _;

pub(super) fn json(value: &Bson) -> String {
    serde_json::to_string_pretty(&Extended::relaxed(value)).unwrap_or_default() + "\n"
}

/// On one line.
pub(super) fn line(value: &Bson) -> String {
    Extended::relaxed(value).line()
}

pub(super) fn yaml(value: &Bson) -> Result<String, String> {
    serde_saphyr::to_string(&Extended::relaxed(value))
        .map_err(|error| serde_json::Error::custom(error).to_string())
}

/// As it is shown to a person: YAML, or JSON where that cannot say it.
pub(super) fn text(document: &Document) -> String {
    let value = Bson::Document(document.clone());
    yaml(&value).unwrap_or_else(|_| json(&value))
}
