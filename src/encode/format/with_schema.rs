//! Values with a schema in a registry. Key and headers are those of Tailwater's own format: a key's bytes decide on its
//! partition, and must not change with a schema.

use super::Written;
use super::tailwater::Tailwater;
use crate::change::event::Event;
use crate::change::position::Seq;
use crate::config::{self, Schemas};
use crate::encode::envelope::Shape;
use crate::encode::headers::Headers;
use crate::encode::json::{EncodeError, JsonMode};
use crate::encode::key;
use crate::encode::serialization::{Frame, Serialized};

/// The settings of one stream, and the schemas that are known.
#[derive(Debug)]
pub struct WithSchema {
    own: Tailwater,
    pub(super) values: Serialized,
}

impl WithSchema {
    pub(super) fn new(
        stream: &str,
        mode: JsonMode,
        format: &config::Format,
        schemas: &Schemas,
    ) -> Self {
        Self {
            own: Tailwater::new(stream, mode, Shape::default()),
            values: Serialized::new(schemas.clone(), format, mode),
        }
    }

    pub(super) fn write(
        &mut self,
        event: &Event<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Written, EncodeError> {
        let id = event.document_id();
        key::write(key, event.database, event.collection, id)?;
        self.values.write(value, event)
    }

    /// The headers of Tailwater's own format, and what says the schema.
    pub(super) fn headers<'a>(
        &'a mut self,
        event: &Event<'a>,
        seq: Seq,
    ) -> (Headers<'a>, Option<&'a Frame>) {
        (self.own.headers(event, seq), self.values.frame())
    }
}
