//! `KEY_FORMAT`, and what a key that says less costs.

use super::serialization::shared_topic;
use crate::config::check::Check;
use crate::config::format::{Format, KeyFormat};
use crate::config::{Sink, Source, TopicCreation, table};

const NAMES: [(&str, KeyFormat); 4] = [
    ("tailwater", KeyFormat::Tailwater),
    ("id", KeyFormat::Id),
    ("id_string", KeyFormat::IdString),
    ("none", KeyFormat::None),
];

/// The key of records. Other formats have one of their own.
pub(super) fn key(check: &mut Check<'_>, format: &Format) -> KeyFormat {
    let chosen = check.choose(&table::KEY_FORMAT, &NAMES);
    match format {
        Format::Debezium(_) | Format::MongoKafka(_) => KeyFormat::Tailwater,
        Format::Tailwater | Format::Document | Format::CloudEvents(_) => {
            chosen.unwrap_or(KeyFormat::Tailwater)
        }
    }
}

/// What does not go together with a stream.
pub(super) fn check(check: &mut Check<'_>, sink: &Sink, creation: &TopicCreation, source: &Source) {
    let variable = &table::KEY_FORMAT;
    let is_compacted = creation
        .config
        .iter()
        .any(|(name, value)| name == "cleanup.policy" && value.contains("compact"));
    let why = match sink.format {
        Format::Document => Some("FORMAT=document deletes by tombstones"),
        _ if sink.tombstones => Some("TOMBSTONES=true deletes by tombstones"),
        _ if is_compacted => Some("KAFKA_TOPIC_CONFIG has topics compacted"),
        _ => None,
    };
    match (sink.key_format, why) {
        (KeyFormat::Tailwater, _) | (KeyFormat::None, None) => {}
        (KeyFormat::None, Some(why)) => check.wrong(
            variable,
            format!("{why}, which takes a key; give tailwater, id or id_string"),
        ),
        (KeyFormat::Id | KeyFormat::IdString, why) => {
            let Some(shared) = shared_topic(&sink.topics, source) else {
                return;
            };
            match why {
                Some(why) => check.wrong(
                    variable,
                    format!(
                        "{why}, and {shared} holds records of several collections: documents with one _id would delete \
                         each other; give tailwater, or set KAFKA_DB_CHANGES_TOPIC={{database}}.{{collection}}"
                    ),
                ),
                None => check.warn(
                    variable,
                    format!(
                        "{shared} holds records of several collections, whose documents may have one key: such a topic \
                         must not be compacted"
                    ),
                ),
            }
        }
    }
}
