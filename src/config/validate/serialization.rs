//! `SERIALIZATION`, and how the registry of schemas is reached.

use crate::config::check::Check;
use crate::config::file;
use crate::config::serialization::{
    Credentials, IdIn, Registry, SchemaKind, Schemas, Serialization, SubjectName,
};
use crate::config::uri::PEM_LIMIT;
use crate::config::variable::Variable;
use crate::config::{Format, Scope, Secret, Sink, Source, Topics, patterns, table};
use std::path::PathBuf;

/// What has no effect without a registry.
const OTHERS: [&Variable; 9] = [
    &table::SCHEMA_REGISTRY_URL,
    &table::SCHEMA_REGISTRY_USERNAME,
    &table::SCHEMA_REGISTRY_PASSWORD,
    &table::SCHEMA_REGISTRY_TOKEN,
    &table::SCHEMA_REGISTRY_CA_LOCATION,
    &table::SCHEMA_SUBJECT,
    &table::SCHEMA_ID_IN,
    &table::SCHEMA_AUTO_REGISTER,
    &table::SCHEMA_RECHECK_MS,
];

pub(super) fn serialization(check: &mut Check<'_>, format: &Format) -> Serialization {
    let kinds = [
        ("json", None),
        ("avro", Some(SchemaKind::Avro)),
        ("json_schema", Some(SchemaKind::JsonSchema)),
        ("protobuf", Some(SchemaKind::Protobuf)),
    ];
    let recheck = check.millis(&table::SCHEMA_RECHECK_MS);
    let Some(kind) = check.choose(&table::SERIALIZATION, &kinds).flatten() else {
        for variable in OTHERS {
            if check.given(variable).is_some() && !check.is_of_several(variable) {
                check.warn(variable, "has no effect with SERIALIZATION=json");
            }
        }
        return Serialization::Json;
    };
    let why = match format {
        Format::Tailwater | Format::Document => None,
        Format::Debezium(settings) => {
            if settings.schemas {
                check.warn(
                    &table::DEBEZIUM_SCHEMAS,
                    "has no effect with SERIALIZATION=avro: the schemas are in the registry",
                );
            }
            let is_avro = kind == SchemaKind::Avro;
            (!is_avro).then_some("has schemas in Avro alone; set SERIALIZATION to avro or json")
        }
        Format::MongoKafka(_) => (kind != SchemaKind::Avro).then_some(
            "has schemas in Avro or beside each record in JSON (MONGO_KAFKA_VALUE_CONVERTER=json_schemas); set SERIALIZATION \
             to avro or json",
        ),
        Format::CloudEvents(settings) => (!settings.is_binary).then_some(
            "has its data in JSON with CLOUDEVENTS_MODE=structured; set CLOUDEVENTS_MODE=binary, or SERIALIZATION=json",
        ),
    };
    if let Some(why) = why {
        let sentence = format!("FORMAT={} {why}", format.name());
        check.wrong(&table::SERIALIZATION, sentence);
    }
    let is_simple = |mode: &str| mode.eq_ignore_ascii_case("simple");
    if kind == SchemaKind::JsonSchema
        && check
            .given(&table::JSON_MODE)
            .is_some_and(|it| !is_simple(it))
    {
        check.wrong(
            &table::JSON_MODE,
            "has no schemas but with simple; set JSON_MODE=simple, or SERIALIZATION=json",
        );
    }
    let names = [
        ("topic", SubjectName::Topic),
        ("record", SubjectName::Record),
        ("topic_record", SubjectName::TopicRecord),
    ];
    let places = [
        ("value", IdIn::Value),
        ("header", IdIn::Header),
        ("apicurio_header", IdIn::ApicurioHeader),
    ];
    Serialization::Schemas(Box::new(Schemas {
        kind,
        registry: registry(check),
        subject: check
            .choose(&table::SCHEMA_SUBJECT, &names)
            .unwrap_or(SubjectName::Topic),
        id_in: check
            .choose(&table::SCHEMA_ID_IN, &places)
            .unwrap_or(IdIn::Value),
        auto_register: check.flag(&table::SCHEMA_AUTO_REGISTER),
        recheck,
        dry_run: false,
    }))
}

fn registry(check: &mut Check<'_>) -> Registry {
    let variable = &table::SCHEMA_REGISTRY_URL;
    let url = match check.given(variable) {
        None => {
            check.wrong(
                &table::SERIALIZATION,
                format!(
                    "needs a registry for its schemas; set {}, such as {}",
                    variable.name, variable.example
                ),
            );
            variable.example
        }
        Some(url) => {
            if let Some(problem) = url_problem(url) {
                check.wrong(variable, format!("{problem}; {}", variable.right()));
            }
            url
        }
    };
    let is_plain = url.starts_with("http://");
    let credentials = credentials(check);
    if is_plain && !matches!(credentials, Credentials::None) {
        check.warn(
            variable,
            "sends the credentials of the registry in clear over http://; https:// does not",
        );
    }
    Registry {
        url: url.trim_end_matches('/').to_owned(),
        credentials,
        ca_location: authorities(check, is_plain),
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("begins with neither http:// nor https://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if rest.contains('@') {
        return Some(
            "is given without credentials: those go into SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD",
        );
    }
    if rest.contains(['?', '#']) {
        return Some("has no query and no fragment");
    }
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, port)| {
            match port.parse::<u16>() {
                Ok(port) if port > 0 => host,
                // An IPv6 address without a port ends so.
                _ if authority.ends_with(']') => authority,
                _ => "",
            }
        });
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    (!is_host).then_some("names no host, or no port that can be")
}

fn credentials(check: &mut Check<'_>) -> Credentials {
    let (name, word, token) = (
        &table::SCHEMA_REGISTRY_USERNAME,
        &table::SCHEMA_REGISTRY_PASSWORD,
        &table::SCHEMA_REGISTRY_TOKEN,
    );
    let given = [name, word, token].map(|variable| check.given(variable));
    match given {
        [None, None, None] => Credentials::None,
        [None, None, Some(token)] => Credentials::Bearer(Secret::new(token)),
        [Some(username), Some(password), None] => Credentials::Basic {
            username: username.to_owned(),
            password: Secret::new(password),
        },
        [_, _, Some(_)] => {
            check.wrong(
                token,
                "is one way to log in, and SCHEMA_REGISTRY_USERNAME with SCHEMA_REGISTRY_PASSWORD is another; unset one of \
                 them",
            );
            Credentials::None
        }
        [_, password, None] => {
            let (given, missing) = match password {
                Some(_) => (word, name),
                None => (name, word),
            };
            check.wrong(
                given,
                format!(
                    "is half of a log-in to the registry; set {} too",
                    missing.name
                ),
            );
            Credentials::None
        }
    }
}

fn authorities(check: &mut Check<'_>, is_plain: bool) -> Option<PathBuf> {
    let variable = &table::SCHEMA_REGISTRY_CA_LOCATION;
    let path = PathBuf::from(check.given(variable)?);
    if is_plain {
        check.warn(variable, "has no effect with an http:// registry");
    }
    if let Err(refusal) = file::probe(&path, PEM_LIMIT) {
        check.wrong(variable, format!("{refusal}; {}", variable.right()));
    }
    Some(path)
}

/// What does not go together with a stream: under a topic's own name there is one schema, of one collection.
pub(super) fn check(check: &mut Check<'_>, sink: &Sink, source: &Source) {
    let Some(schemas) = sink.serialization.schemas() else {
        return;
    };
    // MongoDB's connector has a schema for each record, and puts all of a topic under its name.
    let has_several = matches!(sink.format, Format::MongoKafka(_));
    if schemas.subject != SubjectName::Topic || has_several {
        return;
    }
    if let Some(shared) = shared_topic(&sink.topics, source) {
        check.wrong(
            &table::SCHEMA_SUBJECT,
            format!(
                "the topic {shared} holds records of several collections, and with topic it has one schema; set \
                 SCHEMA_SUBJECT=topic_record, or KAFKA_DB_CHANGES_TOPIC={{database}}.{{collection}}"
            ),
        );
    }
}

/// A topic with records of several collections, if there is one.
pub(super) fn shared_topic(topics: &Topics, source: &Source) -> Option<String> {
    let is_one_database = matches!(source.scope, Scope::Database(_));
    let is_one = is_one_collection(source);
    let is_shared = |topic: &&String| {
        let is_named =
            topic.contains("{collection}") && (is_one_database || topic.contains("{database}"));
        // Events about the database are of no collection.
        !(is_named || is_one && topics.ddl.as_ref() != Some(*topic))
    };
    topics.of_records().find(is_shared).cloned()
}

/// Whether what is watched is one collection by name.
fn is_one_collection(source: &Source) -> bool {
    match source.watch.as_slice() {
        [only] => patterns::is_literal(only),
        _ => false,
    }
}
