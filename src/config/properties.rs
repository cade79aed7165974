//! `KAFKA_PROP_*`: librdkafka's own properties, and those that are not the user's to set.

use super::check::Check;
use super::env::Origin;
use super::file;
use super::problem::Problem;
use super::shown::{self, HIDDEN, quote};
use super::uri::PEM_LIMIT;
use crate::config::librdkafka::validate_property;
use std::path::Path;

pub(super) const PREFIX: &str = "KAFKA_PROP_";

/// `KAFKA_PROP_COMPRESSION_TYPE` is `compression.type`.
pub(super) fn property_name(variable: &str) -> String {
    variable
        .strip_prefix(PREFIX)
        .unwrap_or(variable)
        .to_ascii_lowercase()
        .replace('_', ".")
}

/// Whether the property's value must not be shown.
pub(super) fn is_secret(name: &str) -> bool {
    [
        "password",
        "passphrase",
        "secret",
        "key.pem",
        "oauthbearer.config",
        "jaas",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Whether a folder of files does as well.
fn is_folder_taken(name: &str) -> bool {
    name == "https.ca.location"
}

/// Whether the property names a file for librdkafka to read.
fn is_path(name: &str) -> bool {
    name.ends_with(".location") || name.ends_with(".file") || name.ends_with(".keytab")
}

/// The property's value as it may be shown.
pub(super) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        HIDDEN.to_owned()
    } else if is_path(name) {
        shown::path(value)
    } else {
        quote(value)
    }
}

/// Checks all properties and gives those that may be set.
pub(super) fn check(check: &mut Check<'_>, budget: usize) -> Vec<(String, String)> {
    let mut accepted = Vec::new();
    for property in &check.env.properties {
        match verdict(&property.name, &property.value, budget) {
            Ok(()) => accepted.push((property.name.clone(), property.value.clone())),
            Err(sentence) => check.problems.push(Problem {
                variable: match property.origin {
                    Origin::File(_) => format!("{}_FILE", property.variable),
                    _ => property.variable.clone(),
                },
                given: Some(shown(&property.name, &property.value))
                    // A path that leads nowhere.
                    .filter(|shown| is_secret(&property.name) || shown != HIDDEN),
                sentence,
            }),
        }
    }
    accepted
}

fn verdict(name: &str, value: &str, budget: usize) -> Result<(), String> {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Err(format!("{name} is not open to change: {reason}"));
    }
    if let Some((_, instead)) = OTHER_CLIENTS.iter().find(|(other, _)| *other == name) {
        return Err(format!(
            "{name} is a property of the Java client; {instead}"
        ));
    }
    if is_path(name)
        && let Err(refusal) = file::probe(Path::new(value), PEM_LIMIT)
        && !(is_folder_taken(name) && Path::new(value).is_dir())
    {
        return Err(format!("{refusal}; give the path of a file"));
    }
    validate_property(name, value).map_err(|reason| {
        let reason = if is_secret(name) || is_path(name) {
            reason.replace(value, HIDDEN)
        } else {
            quote(&reason)
        };
        if reason.starts_with("No such") {
            format!("{reason}; its names are in librdkafka's CONFIGURATION.md, with _ for each dot")
        } else {
            format!("{reason}; give what librdkafka's CONFIGURATION.md says of {name}")
        }
    })?;
    match name {
        "max.in.flight" | "max.in.flight.requests.per.connection"
            if value.parse::<u32>().is_ok_and(|n| n > 5) =>
        {
            Err(format!(
                "{name} above 5 lets retries change the order; give 1 to 5"
            ))
        }
        "queue.buffering.max.kbytes"
            if value
                .parse::<usize>()
                .is_ok_and(|kib| kib.saturating_mul(1024) < budget) =>
        {
            Err(format!(
                "{name} is below MAX_IN_FLIGHT_BYTES, which bounds the memory; give at least {}, \
                 or lower MAX_IN_FLIGHT_BYTES",
                budget.div_ceil(1024)
            ))
        }
        _ => Ok(()),
    }
}

/// Properties whose change would break what Tailwater promises, or that have a variable of their own.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set KAFKA_BROKERS"),
    ("metadata.broker.list", "set KAFKA_BROKERS"),
    ("client.id", "set KAFKA_CLIENT_ID"),
    ("security.protocol", "set KAFKA_SECURITY_PROTOCOL"),
    ("sasl.mechanism", "set KAFKA_SASL_MECHANISM"),
    ("sasl.mechanisms", "set KAFKA_SASL_MECHANISM"),
    ("sasl.username", "set KAFKA_SASL_USERNAME"),
    (
        "sasl.password",
        "set KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE",
    ),
    ("ssl.ca.location", "set KAFKA_SSL_CA_LOCATION"),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    (
        "enable.idempotence",
        "it is always on, so that a retry can neither repeat nor reorder",
    ),
    (
        "enable.gapless.guarantee",
        "after a failed record the producer is rebuilt instead",
    ),
    ("retries", RETRIES),
    ("message.send.max.retries", RETRIES),
    ("message.timeout.ms", TIMEOUT),
    ("delivery.timeout.ms", TIMEOUT),
    ("partitioner", PARTITIONER),
    (
        "transactional.id",
        "it follows from the stream's id; set STREAM_ID or DELIVERY",
    ),
    (
        "transaction.timeout.ms",
        "it follows from COMMIT_INTERVAL_MS",
    ),
    (
        "allow.auto.create.topics",
        "set KAFKA_CREATE_TOPICS, which also sets partitions and settings",
    ),
    (
        "message.max.bytes",
        "it is raised so that the topic's own limit decides; set max.message.bytes in KAFKA_TOPIC_CONFIG",
    ),
    (
        "queue.buffering.max.messages",
        "memory is bounded in bytes; set MAX_IN_FLIGHT_BYTES",
    ),
    (
        "queuing.strategy",
        "another order of the queue is another order of the records",
    ),
    (
        "delivery.report.only.error",
        "a checkpoint moves by each record's acknowledgement",
    ),
    (
        "topic.blacklist",
        "leave the collections out with EXCLUDE_COLLECTIONS",
    ),
    ("group.id", CONSUMER),
    ("group.instance.id", CONSUMER),
    ("group.protocol", CONSUMER),
    ("group.remote.assignor", CONSUMER),
    ("partition.assignment.strategy", CONSUMER),
    ("enable.auto.commit", CONSUMER),
    ("auto.commit.enable", CONSUMER),
    ("enable.auto.offset.store", CONSUMER),
    ("auto.offset.reset", CONSUMER),
    ("isolation.level", CONSUMER),
    ("enable.partition.eof", CONSUMER),
    (
        "plugin.library.paths",
        "a plug-in could change any of the above",
    ),
];

const ACKS: &str = "it is always all: a record counts only when every in-sync replica has it";
const RETRIES: &str =
    "a record is tried until it is delivered; see ON_RECORD_ERROR for those that never can be";
const TIMEOUT: &str = "a time-out would drop records; with Kafka down Tailwater waits";
const PARTITIONER: &str =
    "it is murmur2_random, as in the Java clients, so that topics can be joined";
const CONSUMER: &str = "Tailwater's only consumer reads checkpoints, and depends on it";

/// Names that those who know the Java client try first.
const OTHER_CLIENTS: &[(&str, &str)] = &[
    (
        "max.request.size",
        "set max.message.bytes in KAFKA_TOPIC_CONFIG",
    ),
    ("buffer.memory", "set MAX_IN_FLIGHT_BYTES"),
    (
        "max.block.ms",
        "nothing is dropped while Kafka is away, so there is nothing to set",
    ),
    (
        "sasl.jaas.config",
        "set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    ),
    (
        "ssl.truststore.location",
        "set KAFKA_SSL_CA_LOCATION to a PEM file",
    ),
    (
        "ssl.truststore.password",
        "a PEM file in KAFKA_SSL_CA_LOCATION needs none",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_that_is_refused_exists() {
        for (name, _) in REFUSED {
            // A value no property of another type takes: the name is what is asked about.
            let answer = validate_property(name, "\u{1}").err().unwrap_or_default();
            assert!(
                !answer.contains("No such configuration property"),
                "{name}: {answer}"
            );
        }
    }

    #[test]
    fn names_of_the_java_client_are_not_librdkafkas() {
        for (name, _) in OTHER_CLIENTS {
            assert!(validate_property(name, "1").is_err(), "{name}");
        }
    }
}
