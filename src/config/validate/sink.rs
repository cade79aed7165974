//! The sink's part: the connection, the topics' names and settings.

use super::{envelope, format, key, operations, serialization};
use crate::config::check::Check;
use crate::config::file;
use crate::config::properties;
use crate::config::shown::quote;
use crate::config::uri::PEM_LIMIT;
use crate::config::variable::Variable;
use crate::config::{
    Delivery, Kafka, OnRecordError, Pipeline, RecordTimestamp, Sasl, Secret, SecurityProtocol,
    Sink, TopicCreation, Topics, table,
};
use std::path::PathBuf;
use std::sync::Arc;

/// How the cluster is reached.
pub(super) fn kafka(check: &mut Check<'_>, max_in_flight_bytes: usize) -> Kafka {
    let protocols = [
        ("plaintext", SecurityProtocol::Plaintext),
        ("ssl", SecurityProtocol::Ssl),
        ("sasl_plaintext", SecurityProtocol::SaslPlaintext),
        ("sasl_ssl", SecurityProtocol::SaslSsl),
    ];
    let protocol = check
        .choose(&table::KAFKA_SECURITY_PROTOCOL, &protocols)
        .unwrap_or(SecurityProtocol::Plaintext);
    let client_id = check.text(&table::KAFKA_CLIENT_ID).unwrap_or_default();
    Kafka {
        brokers: brokers(check),
        client_id: operations::name(check, &table::KAFKA_CLIENT_ID, client_id),
        creation: creation(check),
        security_protocol: protocol,
        sasl: sasl(check, protocol),
        ssl_ca_location: authorities(check, protocol),
        properties: properties::check(check, max_in_flight_bytes),
        dry_run: false,
    }
}

/// What is written.
pub(super) fn build(check: &mut Check<'_>, pipeline: &Pipeline) -> Sink {
    let deliveries = [
        ("at_least_once", Delivery::AtLeastOnce),
        ("exactly_once", Delivery::ExactlyOnce),
    ];
    let timestamps = [
        ("change", RecordTimestamp::Change),
        ("now", RecordTimestamp::Now),
    ];
    let topics = topics(check);
    let (format, tombstones) = format::format(check);
    if tombstones && !share_one_topic(&topics) {
        check.wrong(
            &table::TOMBSTONES,
            "a tombstone deletes only in its own topic, and operations go to different ones; set \
             KAFKA_DB_CHANGES_TOPIC to one topic for all (without {operation})",
        );
    }
    dead_letters(check, pipeline, &topics);
    let transactions = check.flag(&table::TRANSACTION_METADATA);
    Sink {
        transactions,
        topics,
        serialization: serialization::serialization(check, &format),
        key_format: key::key(check, &format),
        namespaces: format::namespaces(check).map(Arc::new),
        envelope: envelope::envelope(check, &format).map(Arc::new),
        headers: Arc::new(envelope::headers(check)),
        format,
        delivery: check
            .choose(&table::DELIVERY, &deliveries)
            .unwrap_or(Delivery::AtLeastOnce),
        record_timestamp: check
            .choose(&table::RECORD_TIMESTAMP, &timestamps)
            .unwrap_or(RecordTimestamp::Change),
        tombstones,
        fields: None,
    }
}

/// `KAFKA_BROKERS`: every entry a host with a port, since a forgotten port is rarely meant.
fn brokers(check: &mut Check<'_>) -> String {
    let variable = &table::KAFKA_BROKERS;
    check.required(variable);
    let brokers = check.list(variable);
    for broker in &brokers {
        if let Some(wrong) = broker_problem(broker) {
            check.wrong(variable, format!("{wrong}; {}", variable.right()));
        }
    }
    brokers.join(",")
}

fn broker_problem(broker: &str) -> Option<&'static str> {
    if broker.contains('@') {
        return Some("a broker is given without credentials: those go into KAFKA_SASL_*");
    }
    let Some((host, port)) = broker.rsplit_once(':') else {
        return Some("a broker has no port");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty()
        || host.contains(char::is_whitespace)
        || host.contains('/')
        || (host.contains(':') && !bracketed)
    {
        return Some("a broker's host cannot be read");
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Some("a broker's port is no number from 1 to 65535"),
        Ok(_) => None,
    }
}

/// One topic for all where `KAFKA_DB_CHANGES_TOPIC` is set, else one per operation.
fn topics(check: &mut Check<'_>) -> Topics {
    let of = |check: &Check<'_>, variable| check.text(variable).map(str::to_owned);
    let mut ddl = of(check, &table::KAFKA_TOPIC_DDL);
    let rows = of(check, &table::SNAPSHOT_TOPIC);
    let dead_letter = of(check, &table::KAFKA_DLQ_TOPIC);
    let update = of(check, &table::KAFKA_TOPIC_UPDATE).unwrap_or_default();
    let of_format = match check.given(&table::KAFKA_DB_CHANGES_TOPIC) {
        Some(_) => None,
        None => format::topic(check),
    };
    if ddl.is_none() && format::has_events_of_collections(check) {
        ddl.clone_from(&of_format);
    }
    let bounds = format::bounds(check);
    let all = of(check, &table::KAFKA_DB_CHANGES_TOPIC);
    let Some(all) = all.or_else(|| of_format.clone()) else {
        return Topics {
            insert: of(check, &table::KAFKA_TOPIC_INSERT).unwrap_or_default(),
            replace: of(check, &table::KAFKA_TOPIC_REPLACE).unwrap_or_else(|| update.clone()),
            delete: of(check, &table::KAFKA_TOPIC_DELETE).unwrap_or_default(),
            update,
            ddl,
            rows,
            dead_letter,
            bounds,
        };
    };
    let unused: Vec<_> = [
        &table::KAFKA_TOPIC_INSERT,
        &table::KAFKA_TOPIC_UPDATE,
        &table::KAFKA_TOPIC_REPLACE,
        &table::KAFKA_TOPIC_DELETE,
    ]
    .into_iter()
    .filter(|variable| check.given(variable).is_some() && !check.is_of_several(variable))
    .map(|variable: &Variable| variable.name)
    .collect();
    if !unused.is_empty() {
        let variable = match of_format {
            Some(_) => &table::FORMAT,
            None => &table::KAFKA_DB_CHANGES_TOPIC,
        };
        check.warn(
            variable,
            format!(
                "takes all operations; without effect: {}",
                unused.join(", ")
            ),
        );
    }
    Topics {
        insert: all.clone(),
        update: all.clone(),
        replace: all.clone(),
        delete: all,
        ddl,
        rows,
        dead_letter,
        bounds,
    }
}

pub(super) fn share_one_topic(topics: &Topics) -> bool {
    let Topics {
        insert,
        update,
        replace,
        delete,
        ..
    } = topics;
    [update, replace, delete]
        .iter()
        .all(|topic| *topic == insert)
        && !insert.contains("{operation}")
}

fn dead_letters(check: &mut Check<'_>, pipeline: &Pipeline, topics: &Topics) {
    let diverted = pipeline.on_record_error == OnRecordError::DeadLetter;
    match &topics.dead_letter {
        None if diverted => check.wrong(
            &table::ON_RECORD_ERROR,
            "there is no topic for dead letters; set KAFKA_DLQ_TOPIC, such as database.dead-letters",
        ),
        Some(_) if !diverted => {
            check.warn(&table::KAFKA_DLQ_TOPIC, "has no effect without ON_RECORD_ERROR=dlq");
        }
        _ => {}
    }
}

fn creation(check: &mut Check<'_>) -> TopicCreation {
    let creation = TopicCreation {
        enabled: check.flag(&table::KAFKA_CREATE_TOPICS),
        partitions: check
            .number::<u16>(&table::KAFKA_TOPIC_PARTITIONS)
            .map(i32::from),
        replication: check
            .number::<u16>(&table::KAFKA_TOPIC_REPLICATION)
            .map(i32::from),
        config: topic_config(check),
    };
    if !creation.enabled {
        for variable in [
            &table::KAFKA_TOPIC_PARTITIONS,
            &table::KAFKA_TOPIC_REPLICATION,
            &table::KAFKA_TOPIC_CONFIG,
        ] {
            if check.given(variable).is_some() {
                check.warn(variable, "has no effect with KAFKA_CREATE_TOPICS=false");
            }
        }
    }
    let in_sync = creation
        .config
        .iter()
        .find(|(name, _)| name == "min.insync.replicas")
        .and_then(|(_, value)| value.parse::<i32>().ok());
    if let (Some(in_sync), Some(replication)) = (in_sync, creation.replication)
        && in_sync > replication
    {
        check.wrong(
            &table::KAFKA_TOPIC_CONFIG,
            format!(
                "min.insync.replicas={in_sync} is more than KAFKA_TOPIC_REPLICATION={replication}, \
                 so that Kafka would take no record; give at most {replication}"
            ),
        );
    }
    creation
}

/// `name=value,…`; a part without `=` continues with the value before it (`cleanup.policy=compact,delete`).
fn topic_config(check: &mut Check<'_>) -> Vec<(String, String)> {
    let variable = &table::KAFKA_TOPIC_CONFIG;
    let mut pairs: Vec<(String, String)> = Vec::new();
    if check.refuse_uri(variable) {
        return pairs;
    }
    for part in check
        .given(variable)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
    {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) => {
                let (name, value) = (name.trim(), value.trim());
                let legal = |c: char| c.is_ascii_lowercase() || matches!(c, '.' | '_' | '-');
                if name.is_empty() || value.is_empty() || !name.chars().all(legal) {
                    check.wrong(
                        variable,
                        format!("{} is no name=value; {}", quote(part), variable.right()),
                    );
                } else if pairs.iter().any(|(known, _)| known == name) {
                    check.wrong(variable, format!("{name} is given twice; give it once"));
                } else {
                    pairs.push((name.to_owned(), value.to_owned()));
                }
            }
            (None, Some((_, value))) if !part.is_empty() => {
                value.push(',');
                value.push_str(part);
            }
            (None, _) if part.is_empty() => {}
            (None, _) => {
                check.wrong(
                    variable,
                    format!("{} is no name=value; {}", quote(part), variable.right()),
                );
            }
        }
    }
    pairs
}

fn sasl(check: &mut Check<'_>, protocol: SecurityProtocol) -> Option<Sasl> {
    let variables = [
        &table::KAFKA_SASL_MECHANISM,
        &table::KAFKA_SASL_USERNAME,
        &table::KAFKA_SASL_PASSWORD,
    ];
    let wanted = matches!(
        protocol,
        SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl
    );
    let mechanisms = [
        ("PLAIN", "PLAIN"),
        ("SCRAM-SHA-256", "SCRAM-SHA-256"),
        ("SCRAM-SHA-512", "SCRAM-SHA-512"),
    ];
    let mechanism = check.choose(&table::KAFKA_SASL_MECHANISM, &mechanisms);
    for variable in variables {
        match (wanted, check.given(variable)) {
            (true, None) => check.wrong(
                variable,
                format!(
                    "is not set, and KAFKA_SECURITY_PROTOCOL asks for a log-in; {}",
                    variable.right()
                ),
            ),
            (false, Some(_)) => check.wrong(
                variable,
                "is without effect under this KAFKA_SECURITY_PROTOCOL; set that to sasl_ssl or \
                 sasl_plaintext",
            ),
            _ => {}
        }
    }
    if mechanism == Some("PLAIN") && protocol == SecurityProtocol::SaslPlaintext {
        check.warn(
            &table::KAFKA_SASL_MECHANISM,
            "PLAIN over sasl_plaintext sends the password in clear; sasl_ssl does not",
        );
    }
    let [_, username, password] = variables.map(|variable| check.given(variable));
    wanted.then(|| Sasl {
        mechanism: mechanism.unwrap_or_default().to_owned(),
        username: username.unwrap_or_default().to_owned(),
        password: Secret::new(password.unwrap_or_default()),
    })
}

fn authorities(check: &mut Check<'_>, protocol: SecurityProtocol) -> Option<PathBuf> {
    let variable = &table::KAFKA_SSL_CA_LOCATION;
    let path = PathBuf::from(check.given(variable)?);
    if !matches!(protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl) {
        check.warn(variable, "has no effect under this KAFKA_SECURITY_PROTOCOL");
    }
    if !path.is_dir()
        && let Err(refusal) = file::probe(&path, PEM_LIMIT)
    {
        check.wrong(variable, format!("{refusal}; {}", variable.right()));
    }
    Some(path)
}
