//! The configuration of a connector that goes on for a stream.

mod left_out;
#[cfg(test)]
mod tests;

use super::{Connector, Incumbent, globs, mongo_kafka};
use crate::config::{Config, Format, FullDocument, PreImages, Scope, StreamSpec};
use std::collections::BTreeMap;

/// A connector that does what the stream does, and what of the stream it does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    pub connector: Connector,
    pub notes: Vec<String>,
}

/// The connector for a stream.
///
/// # Errors
/// Where its consumers would get other records.
pub fn connector(
    incumbent: Incumbent,
    name: &str,
    config: &Config,
    stream: &StreamSpec,
) -> Result<Back, String> {
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        properties.insert(name.to_owned(), value.to_owned());
    };
    set("name", name);
    set("connector.class", incumbent.class());
    set("tasks.max", "1");
    let notes = match (incumbent, &stream.sink.format) {
        (Incumbent::Debezium, Format::Debezium(format)) => {
            set("topic.prefix", &format.name);
            let serialization = &stream.sink.serialization;
            let mut notes = super::debezium::converters::back(&mut set, format, serialization);
            super::debezium::transactions::back(&mut set, format, &stream.sink);
            notes.extend(debezium(&mut set, config, stream));
            notes
        }
        (Incumbent::MongoKafka, Format::MongoKafka(format)) => {
            let serialization = &stream.sink.serialization;
            let mut notes = super::mongo_kafka::records::back(&mut set, format, serialization);
            set(
                "output.json.formatter",
                &mongo_kafka::formatter(format.json),
            );
            set(
                "publish.full.document.only",
                &format.full_document_only.to_string(),
            );
            if format.full_document_only {
                set(
                    "publish.full.document.only.tombstone.on.delete",
                    &format.tombstones.to_string(),
                );
            }
            notes.extend(mongo_kafka(&mut set, config, stream));
            notes
        }
        (_, other) => {
            return Err(format!(
                "this stream writes FORMAT={}, and its consumers could not read the connector's records; set FORMAT={}, or \
                 give the connector's own configuration as --config",
                other.name(),
                incumbent.name()
            ));
        }
    };
    let connector = Connector {
        name: Some(name.to_owned()),
        properties,
    };
    Ok(Back { connector, notes })
}

pub(super) type Set<'a> = &'a mut dyn FnMut(&str, &str);

fn debezium(set: Set<'_>, config: &Config, stream: &StreamSpec) -> Vec<String> {
    let source = &stream.source;
    let mut notes = Vec::new();
    set("mongodb.connection.string", config.mongo.uri.expose());
    set("snapshot.mode", "no_data");
    set("tombstones.on.delete", &stream.sink.tombstones.to_string());
    let databases = match &source.scope {
        Scope::Database(name) => vec![name.clone()],
        Scope::Deployment { databases } => databases.clone(),
    };
    let list = |names: &[String]| {
        names
            .iter()
            .map(|name| globs::expression(name))
            .collect::<Vec<_>>()
            .join(",")
    };
    set("database.include.list", &list(&databases));
    let qualified = |names: &[String]| -> Vec<String> {
        match &source.scope {
            Scope::Database(database) => names
                .iter()
                .map(|name| format!("{database}.{name}"))
                .collect(),
            Scope::Deployment { .. } => names.to_vec(),
        }
    };
    match (source.watch.is_empty(), source.exclude.is_empty()) {
        (false, is_whole) => {
            set("collection.include.list", &list(&qualified(&source.watch)));
            if !is_whole {
                notes.push(
                    "EXCLUDE_COLLECTIONS is left out: the connector takes it or WATCH_COLLECTIONS"
                        .into(),
                );
            }
        }
        (true, false) => set(
            "collection.exclude.list",
            &list(&qualified(&source.exclude)),
        ),
        (true, true) => {}
    }
    let full = source.full_document != FullDocument::Default;
    let before = source.pre_images != PreImages::Off;
    set(
        "capture.mode",
        match (full, before) {
            (true, true) => "change_streams_update_full_with_pre_image",
            (true, false) => "change_streams_update_full",
            (false, true) => "change_streams_with_pre_image",
            (false, false) => "change_streams",
        },
    );
    if matches!(
        source.full_document,
        FullDocument::WhenAvailable | FullDocument::Required
    ) {
        set("capture.mode.full.update.type", "post_image");
    }
    notes.extend(left_out::required_images(source));
    if !source.user_pipeline.is_empty() {
        set("cursor.pipeline", &stages(stream));
    }
    let is_watched = |operation: &&str| {
        source.operations.is_empty() || source.operations.iter().any(|it| it == operation)
    };
    // Its `u` is both.
    let operations: [(_, &[&str]); 3] = [
        ("c", &["insert"]),
        ("u", &["update", "replace"]),
        ("d", &["delete"]),
    ];
    let skipped: Vec<_> = operations
        .iter()
        .filter(|(_, ours)| !ours.iter().any(&is_watched))
        .map(|(short, _)| *short)
        .collect();
    if !skipped.is_empty() {
        set("skipped.operations", &skipped.join(","));
    }
    if is_watched(&"update") != is_watched(&"replace") {
        notes.push("WATCH_OPERATIONS is not said in full: updates and replacements are one for the connector, and both get records; give it a cursor.pipeline with a $match on operationType".into());
    }
    if let Format::Debezium(format) = &stream.sink.format
        && stream.sink.topics.insert != format!("{}.{{database}}.{{collection}}", format.name)
    {
        notes.push("KAFKA_DB_CHANGES_TOPIC is left out: the connector's topics are prefix.database.collection".into());
    }
    let fields = stream.sink.fields.as_deref();
    let are_said =
        fields.is_none_or(|fields| super::debezium::fields::back(set, fields, &source.scope));
    notes.extend(left_out::all(stream, are_said));
    notes
}

fn mongo_kafka(set: Set<'_>, config: &Config, stream: &StreamSpec) -> Vec<String> {
    let source = &stream.source;
    let mut notes = Vec::new();
    set("connection.uri", config.mongo.uri.expose());
    match &source.scope {
        Scope::Database(name) => set("database", name),
        Scope::Deployment { .. } => notes.push("WATCH_DATABASES is left out: the connector watches one database or all; give it a pipeline with a $match on ns.db".into()),
    }
    match source.watch.as_slice() {
        [] => {}
        [one] if !one.contains('*') => set("collection", one),
        _ => notes.push("WATCH_COLLECTIONS is left out: the connector watches one collection or all; give it a pipeline with a $match on ns.coll".into()),
    }
    if !source.exclude.is_empty() {
        notes.push("EXCLUDE_COLLECTIONS is left out: give the connector a pipeline with a $match on ns.coll".into());
    }
    if !source.operations.is_empty() {
        notes.push("WATCH_OPERATIONS is left out: give the connector a pipeline with a $match on operationType".into());
    }
    let full = match source.full_document {
        FullDocument::Default => "default",
        FullDocument::UpdateLookup => "updateLookup",
        FullDocument::WhenAvailable => "whenAvailable",
        FullDocument::Required => "required",
    };
    set("change.stream.full.document", full);
    let before = match source.pre_images {
        PreImages::Off => "default",
        PreImages::WhenAvailable => "whenAvailable",
        PreImages::Required => "required",
    };
    set("change.stream.full.document.before.change", before);
    set(
        "change.stream.show.expanded.events",
        &source.show_expanded_events.to_string(),
    );
    if !source.user_pipeline.is_empty() {
        set("pipeline", &stages(stream));
    }
    set("startup.mode", "latest");
    match topic_parts(&stream.sink.topics.insert) {
        Some([prefix, separator, suffix]) => {
            set("topic.separator", separator);
            for (property, part) in [("topic.prefix", prefix), ("topic.suffix", suffix)] {
                if !part.is_empty() {
                    set(property, part);
                }
            }
            if let Some(map) = &stream.sink.namespaces
                && !map.is_empty()
            {
                set("topic.namespace.map", map.text());
            }
        }
        None => notes.push("KAFKA_DB_CHANGES_TOPIC is left out: the connector's topics are prefix.database.collection.suffix; give it a topic.namespace.map".into()),
    }
    if stream.sink.transactions {
        notes.push("TRANSACTION_METADATA is left out: the connector's records have no headers; lsid and txnNumber are in its events".into());
    }
    if stream.sink.topics.ddl.is_some() {
        notes.push("KAFKA_TOPIC_DDL is left out: the connector's records of events about collections go to the topic of their collection".into());
    }
    notes.extend(left_out::all(stream, stream.sink.fields.is_none()));
    notes
}

/// Prefix, separator and suffix of a topic as the connector names it.
fn topic_parts(topic: &str) -> Option<[&str; 3]> {
    let (before, rest) = topic.split_once("{database}")?;
    let (separator, after) = rest.split_once("{collection}")?;
    let part = |text: &'_ str, stripped: Option<&'_ str>| text.is_empty() || stripped.is_some();
    let prefix = before.strip_suffix(separator);
    let suffix = after.strip_prefix(separator);
    let is_right = !separator.is_empty() && part(before, prefix) && part(after, suffix);
    is_right.then(|| {
        [
            prefix.unwrap_or_default(),
            separator,
            suffix.unwrap_or_default(),
        ]
    })
}

/// The user's stages as a JSON array.
fn stages(stream: &StreamSpec) -> String {
    let stages = stream
        .source
        .user_pipeline
        .iter()
        .cloned()
        .map(bson::Bson::Document);
    crate::change::extended_json::Extended::canonical(&bson::Bson::Array(stages.collect())).line()
}
