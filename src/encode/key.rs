//! The record's key: equal for all changes of one document, whatever `JSON_MODE`.

use super::json::{EncodeError, JsonMode, Stats, write_string, write_value};
use crate::change::event::Event;
use crate::change::raw::Element;
use crate::config::KeyFormat;
use bson::spec::ElementType;

/// Puts the key of this format in the place of the default one, which was written before. Where there is none, the
/// default one stays: it decides on the partition. So it does for events that are about no document.
///
/// # Errors
/// As [`write`].
pub fn rewrite(out: &mut Vec<u8>, format: KeyFormat, event: &Event<'_>) -> Result<(), EncodeError> {
    let Some(id) = event.document_id() else {
        return Ok(());
    };
    match format {
        KeyFormat::Tailwater | KeyFormat::None => return Ok(()),
        KeyFormat::Id => {
            out.clear();
            write_value(out, JsonMode::Relaxed, id)?;
        }
        KeyFormat::IdString => {
            out.clear();
            match (id.kind, id.string_bytes()) {
                // As in JSON, so that a key is a text in any case.
                (ElementType::String | ElementType::Symbol, Some(text)) => {
                    out.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
                }
                _ => {
                    write_value(out, JsonMode::Simple, id)?;
                    unquote(out);
                }
            }
        }
    }
    Ok(())
}

/// Takes the quotes away from what needs no escapes in them: an ObjectId, a date, a UUID, ….
fn unquote(text: &mut Vec<u8>) {
    if let [b'"', inner @ .., b'"'] = &text[..] {
        let len = inner.len();
        text.copy_within(1..=len, 0);
        text.truncate(len);
    }
}

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
