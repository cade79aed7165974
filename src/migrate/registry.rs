//! The registry of schemas that converters speak to.

use super::back::Set;
use super::plan::Reading;
use crate::config::{Credentials, Schemas, SubjectName, table};

const LOG_IN: &str = "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD";

/// Takes what the converters of these halves of a record are told of their registry.
pub(super) fn translate(reading: &mut Reading<'_>, halves: &[&str]) {
    reading.set(&table::SERIALIZATION, "avro");
    let of = |half: &str, name: &str| format!("{half}.converter.{name}");
    // Both speak to one registry, as one.
    for (name, what) in [
        ("schema.registry.url", "SCHEMA_REGISTRY_URL"),
        ("schema.registry.basic.auth.user.info", LOG_IN),
        ("basic.auth.user.info", LOG_IN),
        ("basic.auth.credentials.source", LOG_IN),
        ("auto.register.schemas", "SCHEMA_AUTO_REGISTER"),
        ("key.subject.name.strategy", "SCHEMA_SUBJECT"),
        ("value.subject.name.strategy", "SCHEMA_SUBJECT"),
    ] {
        let [key, value] = ["key", "value"].map(|half| {
            let property = of(half, name);
            let is_asked = halves.contains(&half);
            is_asked.then(|| reading.get(&property)).flatten()
        });
        if key != value && halves.len() > 1 && !name.contains("strategy") {
            reading.decide(
                &of("value", name),
                format!("key and value differ; {what} is one for both"),
            );
            continue;
        }
        let Some(value) = value.or(key) else { continue };
        match name {
            "schema.registry.url" => match value.split_once(',') {
                None => reading.set(&table::SCHEMA_REGISTRY_URL, value),
                Some((first, _)) => reading.set(&table::SCHEMA_REGISTRY_URL, first.trim()),
            },
            "auto.register.schemas" => reading.set(&table::SCHEMA_AUTO_REGISTER, value),
            "basic.auth.credentials.source" if value == "USER_INFO" => {}
            "basic.auth.credentials.source" => {
                reading.decide(&of("value", name), format!("set {LOG_IN}"));
                continue;
            }
            "schema.registry.basic.auth.user.info" | "basic.auth.user.info" => {
                if let Some((user, word)) = value.split_once(':') {
                    reading.set(&table::SCHEMA_REGISTRY_USERNAME, user);
                    reading.set(&table::SCHEMA_REGISTRY_PASSWORD, word);
                }
            }
            _ => match value.rsplit('.').next() {
                Some("TopicNameStrategy") => {}
                Some("RecordNameStrategy") => reading.set(&table::SCHEMA_SUBJECT, "record"),
                Some("TopicRecordNameStrategy") => {
                    reading.set(&table::SCHEMA_SUBJECT, "topic_record");
                }
                _ => {
                    for half in halves {
                        if reading.peek(&of(half, name)).is_some() {
                            reading.decide(
                                &of(half, name),
                                "SCHEMA_SUBJECT is topic, record or topic_record",
                            );
                        }
                    }
                    continue;
                }
            },
        }
        for half in halves {
            if reading.peek(&of(half, name)).is_some() {
                reading.taken(&of(half, name), what);
            }
        }
    }
    if !reading.is_set(&table::SCHEMA_REGISTRY_URL) {
        reading.decide(
            "value.converter.schema.registry.url",
            "the converters name no registry; set SCHEMA_REGISTRY_URL",
        );
    }
    // These change what is written.
    for name in [
        "use.latest.version",
        "normalize.schemas",
        "enhanced.avro.schema.support",
        "scrub.invalid.names",
        "connect.meta.data",
    ] {
        for half in halves {
            let property = of(half, name);
            let default = match name {
                "connect.meta.data" => "true",
                _ => "false",
            };
            match reading.get(&property) {
                None => {}
                Some(value) if value == default => reading.taken(&property, "the default, as here"),
                Some(_) => reading.decide(
                    &property,
                    format!("schemas are as with its default {default}, and nothing changes that"),
                ),
            }
        }
    }
}

/// What the converters of these halves are told of it.
pub(super) fn back(set: Set<'_>, schemas: &Schemas, halves: &[&str]) {
    let mut both = |name: &str, value: &str| {
        for half in halves {
            set(&format!("{half}.converter{name}"), value);
        }
    };
    both(".schema.registry.url", &schemas.registry.url);
    let auto_register = schemas.auto_register.to_string();
    both(".auto.register.schemas", &auto_register);
    match &schemas.registry.credentials {
        Credentials::None => {}
        Credentials::Basic { username, password } => {
            both(".basic.auth.credentials.source", "USER_INFO");
            let info = format!("{username}:{}", password.expose());
            both(".basic.auth.user.info", &info);
        }
        Credentials::Bearer(token) => {
            both(".bearer.auth.credentials.source", "STATIC_TOKEN");
            both(".bearer.auth.token", token.expose());
        }
    }
    let strategy = match schemas.subject {
        SubjectName::Topic => None,
        SubjectName::Record => Some("RecordNameStrategy"),
        SubjectName::TopicRecord => Some("TopicRecordNameStrategy"),
    };
    if let Some(strategy) = strategy {
        let class = format!("io.confluent.kafka.serializers.subject.{strategy}");
        for half in halves {
            set(
                &format!("{half}.converter.{half}.subject.name.strategy"),
                &class,
            );
        }
    }
}
