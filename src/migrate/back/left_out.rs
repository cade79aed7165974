//! What of a stream no connector is told.

use crate::config::{Delivery, FullDocument, PreImages, RecordTimestamp, Source, StreamSpec};

/// `are_fields_said` is whether nothing of `FIELDS_*` is left out.
pub(super) fn all(stream: &StreamSpec, are_fields_said: bool) -> Vec<String> {
    let mut notes = vec!["how records fail, what topics are made with, and memory are left to the connector's defaults".to_owned()];
    if stream.source.listeners.is_some() {
        notes.push("listeners have no counterpart: their topics get nothing more".into());
    }
    if !are_fields_said {
        notes.push("FIELDS_* are left out: the connector writes every field as it is; hide what must stay hidden (a pipeline with $unset, or field.exclude.list) before it starts".into());
    }
    let sink = &stream.sink;
    if !sink.headers.is_empty() {
        notes.push(
            "EXTRA_HEADERS are left out: give the connector the transform InsertHeader".into(),
        );
    }
    if sink.record_timestamp == RecordTimestamp::Change {
        notes.push("RECORD_TIMESTAMP=change is left out: the connector's records have the time at which they are written".into());
    }
    if sink.delivery == Delivery::ExactlyOnce {
        notes.push("DELIVERY=exactly_once is left out: give a distributed worker exactly.once.source.support=enabled, and the connector exactly.once.support=required".into());
    }
    notes
}

/// Images that Debezium's connector takes where they are, and goes on without where they are not.
pub(super) fn required_images(source: &Source) -> Vec<String> {
    let names = [
        (
            source.full_document == FullDocument::Required,
            "FULL_DOCUMENT",
        ),
        (
            source.pre_images == PreImages::Required,
            "FULL_DOCUMENT_BEFORE_CHANGE",
        ),
    ];
    let required = names.into_iter().filter(|(is_required, _)| *is_required);
    required
        .map(|(_, name)| format!("{name}=required becomes whenAvailable: the connector writes null where an image is missing"))
        .collect()
}
