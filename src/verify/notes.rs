//! What has to be known beside the figures.

use super::Settings;
use super::reading::ReadTopics;
use super::report::Report;
use crate::config::{JsonMode, StreamSpec};

/// Notes it in the report.
pub fn write(report: &mut Report, settings: &Settings, stream: &StreamSpec, read: &ReadTopics) {
    match stream.pipeline.json_mode {
        JsonMode::Canonical => {}
        JsonMode::Relaxed => report.note(
            "JSON_MODE=relaxed does not show whether a number is an int32 or an int64: such differences are not seen",
        ),
        JsonMode::Simple => report.note(
            "JSON_MODE=simple does not show every type (int32, int64 and whole doubles; dates, ObjectIds and strings; \
             NaN and null): such differences are not seen",
        ),
    }
    if stream.sink.fields.is_some() {
        report.note(
            "documents are compared as FIELDS_* have them now: what is left out is not compared, and records from before \
             these settings show as different",
        );
    }
    if settings.filter.is_some() {
        report.note("with --filter, documents that only Kafka has are not looked for");
    }
    if !settings.sample.is_all() {
        report.note("only a sample of the documents was compared (--sample)");
    }
    if stream.sink.topics.ddl.is_none() {
        report.note(
            "without KAFKA_TOPIC_DDL the topics do not tell drops and renames: documents of a collection that was \
             dropped and made again count as extra",
        );
    }
    for (from, to) in &read.gaps {
        report.note(format!(
            "history was lost: what happened between {from} and {to} has no records, so that documents of that time may be \
             missing, extra or different"
        ));
    }
    if read.of_other_streams > 0 {
        report.note(format!(
            "{} records of other streams in these topics were left out",
            read.of_other_streams
        ));
    }
    if read.foreign > 0 {
        report.note(format!(
            "{} records in these topics are not in Tailwater's format and were left out",
            read.foreign
        ));
    }
    for (topic, partitions) in &read.cut_topics {
        report.note(format!(
            "{topic} does not begin at offset 0 in {partitions} of its partitions: retention has taken older records"
        ));
    }
}
