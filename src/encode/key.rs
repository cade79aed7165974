//! The record's key: equal for all changes of one document, whatever `JSON_MODE`.

use super::json::{EncodeError, JsonMode, Stats, write_string, write_value};
use crate::change::raw::Element;

/// Appends `{"database":…,"collection":…,"_id":…}`.
///
/// `_id` is always relaxed Extended JSON, so that values of different types stay apart and a changed
/// `JSON_MODE` moves no document to another partition. Without an id (events about a collection or
/// database) there is no `_id`; an empty collection (`dropDatabase`) is left out too.
///
/// # Errors
/// [`EncodeError`] when the id's BSON is malformed or nested too deep; `out` is then as it was before.
pub fn write(
    out: &mut Vec<u8>,
    database: &str,
    collection: &str,
    id: Option<Element<'_>>,
) -> Result<Stats, EncodeError> {
    let before = out.len();
    out.extend_from_slice(br#"{"database":"#);
    let mut stats = write_string(out, database.as_bytes());
    if !collection.is_empty() {
        out.extend_from_slice(br#","collection":"#);
        stats += write_string(out, collection.as_bytes());
    }
    if let Some(id) = id {
        out.extend_from_slice(br#","_id":"#);
        match write_value(out, JsonMode::Relaxed, id) {
            Ok(more) => stats += more,
            Err(error) => {
                out.truncate(before);
                return Err(error);
            }
        }
    }
    out.push(b'}');
    Ok(stats)
}
