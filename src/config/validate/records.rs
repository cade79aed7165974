//! What each stream writes.

use super::{flow, sink, source};
use crate::config::check::Check;
use crate::config::{FullDocument, JsonMode, Pipeline, PreImages, Sink};

/// All that is said of a stream's records.
#[derive(Clone)]
pub(super) struct Records {
    pub(super) sink: Sink,
    pub(super) json_mode: JsonMode,
    pub(super) full_document: FullDocument,
    pub(super) pre_images: PreImages,
}

impl Records {
    /// Those of each stream.
    pub(super) fn read(check: &mut Check<'_>, pipeline: &Pipeline) -> Self {
        let (full_document, pre_images) = source::images(check);
        Self {
            sink: sink::build(check, pipeline),
            json_mode: flow::json_mode(check),
            full_document,
            pre_images,
        }
    }
}
