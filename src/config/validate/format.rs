//! `FORMAT`, and which settings go with it.

use super::mongo_kafka::mongo_kafka;
use super::topics;
use crate::config::check::Check;
use crate::config::format::{CloudEvents, Debezium, Format};
use crate::config::shown::quote;
use crate::config::variable::Variable;
use crate::config::{FullDocument, NamespaceMap, Source, Topics, table};

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Tailwater,
    Debezium,
    MongoKafka,
    Document,
    CloudEvents,
}

const NAMES: [(&str, Name); 5] = [
    ("tailwater", Name::Tailwater),
    ("debezium", Name::Debezium),
    ("mongo-kafka", Name::MongoKafka),
    ("document", Name::Document),
    ("cloudevents", Name::CloudEvents),
];

fn name(check: &Check<'_>) -> Name {
    let given = check.text(&table::FORMAT).unwrap_or_default();
    let found = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(given));
    found.map_or(Name::Tailwater, |(_, name)| *name)
}

/// Which settings have no effect without a format.
const OF: [(&Variable, &[Name]); 20] = [
    (
        &table::JSON_MODE,
        &[Name::Tailwater, Name::Document, Name::CloudEvents],
    ),
    (
        &table::KEY_FORMAT,
        &[Name::Tailwater, Name::Document, Name::CloudEvents],
    ),
    (
        &table::ENVELOPE_RENAME,
        &[Name::Tailwater, Name::CloudEvents],
    ),
    (
        &table::ENVELOPE_FIELDS,
        &[Name::Tailwater, Name::CloudEvents],
    ),
    (
        &table::KAFKA_TOPIC_PREFIX,
        &[Name::Debezium, Name::MongoKafka],
    ),
    (&table::KAFKA_TOPIC_SUFFIX, &[Name::MongoKafka]),
    (&table::KAFKA_TOPIC_SEPARATOR, &[Name::MongoKafka]),
    (&table::KAFKA_TOPIC_NAMESPACE_MAP, &[Name::MongoKafka]),
    (&table::DEBEZIUM_SCHEMAS, &[Name::Debezium]),
    (&table::DEBEZIUM_TRANSACTION_TOPIC, &[Name::Debezium]),
    (&table::MONGO_KAFKA_JSON, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_FULL_DOCUMENT_ONLY, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_KEY, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_KEY_SCHEMA, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_KEY_CONVERTER, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_VALUE, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_VALUE_SCHEMA, &[Name::MongoKafka]),
    (&table::MONGO_KAFKA_VALUE_CONVERTER, &[Name::MongoKafka]),
    (&table::CLOUDEVENTS_MODE, &[Name::CloudEvents]),
    (&table::TRACEPARENT_FIELD, &[Name::CloudEvents]),
];

/// The format, and whether a tombstone follows each delete.
pub(super) fn format(check: &mut Check<'_>) -> (Format, bool) {
    let named = check
        .choose(&table::FORMAT, &NAMES)
        .unwrap_or(Name::Tailwater);
    for (variable, formats) in OF {
        // What is given for all may be meant for the others.
        let is_meant = check.given(variable).is_some() && !check.is_of_several(variable);
        if is_meant && !formats.contains(&named) {
            let format = check.text(&table::FORMAT).unwrap_or_default();
            check.warn(variable, format!("has no effect with FORMAT={format}"));
        }
    }
    for variable in [
        &table::KAFKA_TOPIC_PREFIX,
        &table::KAFKA_TOPIC_SUFFIX,
        &table::KAFKA_TOPIC_SEPARATOR,
        &table::DEBEZIUM_TRANSACTION_TOPIC,
    ] {
        if let Some(problem) = check.given(variable).and_then(part_problem) {
            check.wrong(variable, format!("{problem}; {}", variable.right()));
        }
    }
    let wanted = check.flag(&table::TOMBSTONES);
    let is_said = check.given(&table::TOMBSTONES).is_some();
    match named {
        Name::Tailwater => (Format::Tailwater, wanted),
        Name::Debezium => {
            // As Debezium does unless it is told otherwise.
            (Format::Debezium(debezium(check)), wanted || !is_said)
        }
        Name::MongoKafka => (Format::MongoKafka(mongo_kafka(check, wanted)), false),
        Name::Document => {
            if is_said && !wanted {
                check.wrong(
                    &table::TOMBSTONES,
                    "with FORMAT=document a delete is a tombstone and nothing else; unset it, or set FORMAT to another",
                );
            }
            (Format::Document, false)
        }
        Name::CloudEvents => (Format::CloudEvents(cloud_events(check)), wanted),
    }
}

fn debezium(check: &mut Check<'_>) -> Debezium {
    let topic = &table::DEBEZIUM_TRANSACTION_TOPIC;
    if check.given(topic).is_some() && !check.flag(&table::TRANSACTION_METADATA) {
        check.warn(topic, "has no effect without TRANSACTION_METADATA=true");
    }
    let variable = &table::KAFKA_TOPIC_PREFIX;
    if check.given(variable).is_none() {
        check.wrong(
            variable,
            format!(
                "is not set, and FORMAT=debezium names it in each record; give the connector's topic.prefix, such as {}",
                variable.example
            ),
        );
    }
    let name = check.given(variable).unwrap_or(variable.example);
    Debezium {
        name: name.to_owned(),
        schemas: check.flag(&table::DEBEZIUM_SCHEMAS),
    }
}

fn cloud_events(check: &mut Check<'_>) -> CloudEvents {
    let modes = [("structured", false), ("binary", true)];
    let variable = &table::TRACEPARENT_FIELD;
    let path = check.given(variable).unwrap_or_default();
    let names: Vec<_> = path.split('.').map(str::to_owned).collect();
    let is_given = !path.is_empty();
    if is_given && names.iter().any(String::is_empty) {
        check.wrong(
            variable,
            format!("is no path of a field; {}", variable.right()),
        );
    }
    CloudEvents {
        is_binary: check
            .choose(&table::CLOUDEVENTS_MODE, &modes)
            .unwrap_or_default(),
        traceparent: if is_given { names } else { Vec::new() },
    }
}

/// What is wrong with a part of a topic's name, if anything.
fn part_problem(part: &str) -> Option<String> {
    match part.contains(['{', '}']) {
        true => Some("holds no placeholders".to_owned()),
        false => topics::problem(part).filter(|_| part != "."),
    }
}

/// A part of a topic's name that is right.
fn part<'a>(check: &Check<'a>, variable: &Variable) -> Option<&'a str> {
    let given = check.text(variable);
    given.filter(|part| part_problem(part).is_none())
}

/// The topic that all changes go to where no variable names one, as the connector has it: `prefix.database.collection`.
pub(super) fn topic(check: &Check<'_>) -> Option<String> {
    let named = name(check);
    let prefix = part(check, &table::KAFKA_TOPIC_PREFIX);
    match named {
        Name::Debezium => {
            let prefix = prefix.unwrap_or(table::KAFKA_TOPIC_PREFIX.example);
            Some(format!("{prefix}.{{database}}.{{collection}}"))
        }
        Name::MongoKafka => {
            let parts = [
                prefix,
                Some("{database}"),
                Some("{collection}"),
                part(check, &table::KAFKA_TOPIC_SUFFIX),
            ];
            let parts: Vec<_> = parts.into_iter().flatten().collect();
            let separator = part(check, &table::KAFKA_TOPIC_SEPARATOR);
            Some(parts.join(separator.unwrap_or(".")))
        }
        Name::Tailwater | Name::Document | Name::CloudEvents => None,
    }
}

/// Where Debezium's connector says that transactions begin and end: `prefix.transaction`.
pub(super) fn bounds(check: &mut Check<'_>) -> Option<String> {
    if name(check) != Name::Debezium || !check.flag(&table::TRANSACTION_METADATA) {
        return None;
    }
    let prefix = part(check, &table::KAFKA_TOPIC_PREFIX);
    let prefix = prefix.unwrap_or(table::KAFKA_TOPIC_PREFIX.example);
    let topic = part(check, &table::DEBEZIUM_TRANSACTION_TOPIC)?;
    Some(format!("{prefix}.{topic}"))
}

/// What the topics of MongoDB's connector are called by namespace; none with others, or where all go to one topic anyway.
pub(super) fn namespaces(check: &mut Check<'_>) -> Option<NamespaceMap> {
    let variable = &table::KAFKA_TOPIC_NAMESPACE_MAP;
    if name(check) != Name::MongoKafka {
        return None;
    }
    let Some(text) = check.given(variable) else {
        let is_named = check.given(&table::KAFKA_DB_CHANGES_TOPIC).is_some();
        let separator = part(check, &table::KAFKA_TOPIC_SEPARATOR).unwrap_or(".");
        return (!is_named).then(|| NamespaceMap::empty(separator));
    };
    if check.refuse_uri(variable) {
        return None;
    }
    if check.given(&table::KAFKA_DB_CHANGES_TOPIC).is_some() {
        check.warn(
            variable,
            "has no effect beside KAFKA_DB_CHANGES_TOPIC, which names all topics",
        );
        return None;
    }
    let separator = part(check, &table::KAFKA_TOPIC_SEPARATOR).unwrap_or(".");
    let problem = match NamespaceMap::parse(text, separator) {
        Err(problem) => Some(problem),
        Ok(map) => {
            let illegal = map.names().find_map(|name| {
                let problem = part_problem(name)?;
                Some(format!("{}: {problem}", quote(name)))
            });
            match illegal {
                None => return Some(map),
                illegal => illegal,
            }
        }
    };
    let sentence = format!("{}; {}", problem.unwrap_or_default(), variable.right());
    check.wrong(variable, sentence);
    None
}

/// Whether `KAFKA_TOPIC_DDL` follows from the format: MongoDB's connector sends all events.
pub(super) fn has_events_of_collections(check: &Check<'_>) -> bool {
    name(check) == Name::MongoKafka
}

/// What does not go together.
pub(super) fn check(check: &mut Check<'_>, format: &Format, topics: &Topics, source: &Source) {
    let shown = format.name();
    if matches!(format, Format::Debezium(_) | Format::Document)
        && check.given(&table::KAFKA_TOPIC_DDL).is_some()
    {
        check.wrong(
            &table::KAFKA_TOPIC_DDL,
            format!(
                "FORMAT={shown} has no records of events about collections and databases; unset it"
            ),
        );
    }
    let is_of_documents = match format {
        Format::Document => true,
        Format::MongoKafka(settings) => settings.full_document_only,
        _ => false,
    };
    if is_of_documents && source.full_document == FullDocument::Default {
        check.wrong(
            &table::FULL_DOCUMENT,
            format!(
                "updates would have no document, which FORMAT={shown} makes their records of; give \
                 updateLookup, whenAvailable or required"
            ),
        );
    }
    if *format == Format::Document && !super::sink::share_one_topic(topics) {
        check.wrong(
            &table::FORMAT,
            "a delete is a tombstone, which deletes only in its own topic, and operations go to different ones; set \
             KAFKA_DB_CHANGES_TOPIC to one topic for all (without {operation})",
        );
    }
}
