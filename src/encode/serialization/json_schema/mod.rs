//! JSON Schema: the values that there are without a schema, which a schema describes.

mod read;
mod schema;

pub use read::read;
pub use schema::schema;

use super::schema::{Layout, Schema};
use crate::change::event::Event;
use crate::encode::envelope;
use crate::encode::json::{EncodeError, JsonMode, Stats, write_document};

/// Appends the value of an event.
///
/// # Errors
/// [`EncodeError::Unsettled`] where it does not fit the schema.
pub fn write(
    out: &mut Vec<u8>,
    schema: &Schema,
    mode: JsonMode,
    event: &Event<'_>,
) -> Result<Stats, EncodeError> {
    if !schema.fits(event)? {
        return Err(EncodeError::Unsettled);
    }
    match schema.layout {
        Layout::Change => envelope::write(out, mode, event),
        Layout::Document => {
            let document = event.full_document.and_then(|field| field.as_document());
            document.map_or(Ok(Stats::default()), |document| {
                write_document(out, mode, document)
            })
        }
    }
}

#[cfg(test)]
mod tests;
