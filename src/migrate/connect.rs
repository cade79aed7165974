//! Properties that every connector has.

use super::plan::Reading;
use super::{Incumbent, Verdict};
use crate::config::table;

const NONE: &[(&str, &str)] = &[
    (
        "tasks.max",
        "a stream has one task, as the connector's source has",
    ),
    ("tasks.max.enforce", "a stream has one task"),
    (
        "config.action.reload",
        "a changed configuration is read at the next start",
    ),
    (
        "errors.log.*",
        "a record that fails is always logged, without its document",
    ),
    (
        "mongo.errors.log.enable",
        "a record that fails is always logged, without its document",
    ),
    (
        "errors.retry.*",
        "transient errors are retried until they are over",
    ),
    (
        "errors.retry.delay.max.ms",
        "RECONNECT_DELAY_MS is the first wait; it doubles up to 30 s",
    ),
    (
        "transaction.boundary*",
        "with DELIVERY=exactly_once, records and checkpoint are in one transaction",
    ),
    (
        "connector.client.config.override.policy",
        "KAFKA_PROP_* are always taken",
    ),
    (
        "custom.metric.tags",
        "metrics have the stream's name as their label",
    ),
    ("openlineage.integration.*", "no lineage is reported"),
];

/// Takes what is the same for both connectors.
pub(super) fn common(reading: &mut Reading<'_>, incumbent: Incumbent) {
    reading.set(&table::FORMAT, incumbent.name());
    // As the connectors' records have it.
    reading.set(&table::RECORD_TIMESTAMP, "now");
    let name = reading.name().unwrap_or("tailwater");
    let plain = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '-',
    };
    let client: String = name.chars().map(plain).take(200).collect();
    match reading.get("name") {
        Some(_) => reading.take("name", &table::KAFKA_CLIENT_ID, client),
        None => reading.set(&table::KAFKA_CLIENT_ID, client),
    }
    if let Some(class) = reading.get("connector.class") {
        match class == incumbent.class() {
            true => reading.taken("connector.class", &format!("FORMAT={}", incumbent.name())),
            false => reading.decide(
                "connector.class",
                format!(
                    "it is not {}: this is no configuration of that connector",
                    incumbent.class()
                ),
            ),
        }
    }
    for property in ["transforms", "predicates"] {
        if let Some(value) = reading.get(property) {
            let sentence = match reading.peek(&format!("transforms.{value}.type")) {
                Some(class) if class.ends_with("ExtractNewDocumentState") => {
                    "the consumers read flattened documents; FORMAT=document writes the documents alone, with other keys and headers".to_owned()
                }
                _ => format!("Tailwater runs no transforms of Connect ({value}); find out what they do for your consumers"),
            };
            reading.decide(property, sentence);
        }
    }
    for property in [
        reading.rest_of("transforms."),
        reading.rest_of("predicates."),
    ]
    .concat()
    {
        reading.note(
            &property,
            Verdict::NoCounterpart,
            "belongs to transforms and predicates".into(),
        );
    }
    headers(reading, incumbent);
    topics(reading);
    errors(reading);
    if let Some(support) = reading.get("exactly.once.support") {
        match support.eq_ignore_ascii_case("required") {
            true => reading.take("exactly.once.support", &table::DELIVERY, "exactly_once"),
            false => reading.taken(
                "exactly.once.support",
                "DELIVERY is at_least_once; exactly_once is there",
            ),
        }
    }
    if reading.get("offsets.storage.topic").is_some() {
        reading.taken(
            "offsets.storage.topic",
            "the topic to give as --offsets-topic",
        );
    }
    for property in reading.rest_of("producer.override.") {
        let Some(value) = reading.get(&property) else {
            continue;
        };
        let own = property.trim_start_matches("producer.override.");
        match own {
            "bootstrap.servers" => reading.take(&property, &table::KAFKA_BROKERS, value),
            _ => reading.decide(
                &property,
                format!(
                    "librdkafka may name it otherwise; KAFKA_PROP_{} sets it",
                    own.to_uppercase().replace('.', "_")
                ),
            ),
        }
    }
    reading.without(NONE);
}

/// What becomes of headers, which Debezium's records have.
fn headers(reading: &mut Reading<'_>, incumbent: Incumbent) {
    let property = "header.converter";
    let converter = reading.get(property);
    match converter.map(|class| class.trim_start_matches("org.apache.kafka.connect.storage.")) {
        None => {}
        Some("SimpleHeaderConverter" | "StringConverter") => {
            reading.taken(property, "headers are text, as here");
        }
        Some(_) if incumbent == Incumbent::MongoKafka => reading.note(
            property,
            Verdict::NoCounterpart,
            "the connector's records have no headers".into(),
        ),
        Some(_) => reading.decide(
            property,
            "headers are text, as of SimpleHeaderConverter; consumers of another converter's headers cannot read them",
        ),
    }
    reading.without(&[("header.converter.*", "belongs to the converter")]);
}

/// What Connect makes topics with.
fn topics(reading: &mut Reading<'_>) {
    const DEFAULT: &str = "topic.creation.default.";
    if reading.get("topic.creation.enable") == Some("false") {
        reading.take(
            "topic.creation.enable",
            &table::KAFKA_CREATE_TOPICS,
            "false",
        );
    }
    for (property, variable) in [
        (
            "topic.creation.default.partitions",
            &table::KAFKA_TOPIC_PARTITIONS,
        ),
        (
            "topic.creation.default.replication.factor",
            &table::KAFKA_TOPIC_REPLICATION,
        ),
    ] {
        match reading.get(property) {
            Some("-1") => reading.taken(property, "the broker's default, as here"),
            Some(value) => reading.take(property, variable, value),
            None => {}
        }
    }
    let settings = reading.rest_of(DEFAULT);
    let mut pairs = Vec::new();
    for property in settings
        .iter()
        .filter(|it| !it.ends_with(".include") && !it.ends_with(".exclude"))
    {
        if let Some(value) = reading.get(property) {
            pairs.push(format!("{}={value}", property.trim_start_matches(DEFAULT)));
            reading.taken(property, "KAFKA_TOPIC_CONFIG");
        }
    }
    if !pairs.is_empty() {
        reading.set(&table::KAFKA_TOPIC_CONFIG, pairs.join(","));
    }
    if let Some(groups) = reading.get("topic.creation.groups") {
        reading.decide(
            "topic.creation.groups",
            format!(
                "topics are all made alike here; make those of {groups} yourself before the start"
            ),
        );
    }
    for property in reading.rest_of("topic.creation.") {
        reading.note(
            &property,
            Verdict::NoCounterpart,
            "topics are all made alike; make others yourself".into(),
        );
    }
}

/// What becomes of records that fail.
fn errors(reading: &mut Reading<'_>) {
    let dead_letters = [
        "mongo.errors.deadletterqueue.topic.name",
        "errors.deadletterqueue.topic.name",
    ];
    for property in dead_letters {
        reading.take_as_is(property, &table::KAFKA_DLQ_TOPIC);
    }
    for property in ["mongo.errors.tolerance", "errors.tolerance"] {
        match reading.get(property) {
            None => {}
            Some(_) if reading.is_set(&table::ON_RECORD_ERROR) => {
                reading.taken(property, "mongo.errors.tolerance takes precedence");
            }
            Some(value) if value.eq_ignore_ascii_case("none") => {
                reading.take(property, &table::ON_RECORD_ERROR, "stop");
            }
            Some(_) if reading.is_set(&table::KAFKA_DLQ_TOPIC) => {
                reading.take(property, &table::ON_RECORD_ERROR, "dlq");
            }
            Some(_) => reading.take(property, &table::ON_RECORD_ERROR, "skip"),
        }
    }
}
