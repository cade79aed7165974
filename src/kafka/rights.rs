//! Whether this user may do what a run will ask of Kafka, found out without doing it.
//!
//! `SECURITY.md` has the table. What a broker does not tell is said to be unknown, not wrong: a user who
//! may not describe a topic is told of by [`topics`](super::topics), and topics that do not exist yet have
//! no answer.

use super::authorized::{self, Allowed, Operation};
use super::client::{self, Kind, Quiet};
use crate::config::Kafka;
use crate::error::Code;
use crate::metrics::statistics::Statistics;
use crate::preflight::Finding;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The name of these findings.
pub const NAME: &str = "kafka.rights";

/// How long the brokers may take for one answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a topic is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Records or dead letters are written to it.
    Produce,
    /// Checkpoints are written to it and read from it.
    Checkpoints,
    /// Instances register in it.
    Registry,
    /// Jobs wait in it for their next attempt.
    Retries,
    /// Its partitions are assigned to instances, and nothing is written to it.
    Assignment,
    /// Its records are served live.
    Serving,
}

impl Use {
    /// The names of the rights that it needs.
    pub fn names(self) -> Vec<&'static str> {
        self.needs()
            .iter()
            .map(|operation| operation.name())
            .collect()
    }

    fn needs(self) -> &'static [Operation] {
        match self {
            Self::Produce => &[Operation::Write, Operation::Describe],
            Self::Checkpoints | Self::Registry | Self::Retries => {
                &[Operation::Read, Operation::Write, Operation::Describe]
            }
            Self::Assignment | Self::Serving => &[Operation::Read, Operation::Describe],
        }
    }

    /// What is not known where its settings cannot be read.
    fn unread_settings(self) -> Option<&'static str> {
        match self {
            Self::Produce => {
                Some("how large its records may be is not known before Kafka has refused one")
            }
            Self::Checkpoints | Self::Registry => {
                Some("whether it is compacted (cleanup.policy=compact) is not known")
            }
            Self::Assignment | Self::Retries | Self::Serving => None,
        }
    }
}

/// Looks at the rights on topics that exist. Blocks.
pub fn on_topics<C: ClientContext>(
    client: &Client<C>,
    kafka: &Kafka,
    topics: &[(&str, Use)],
) -> Vec<Finding> {
    let names: Vec<&str> = topics.iter().map(|(name, _)| *name).collect();
    let answers = match authorized::on_topics(client, &names, PATIENCE) {
        Ok(answers) => answers,
        Err(code) => return vec![unknown(&names.join(", "), &code.to_string())],
    };
    let mut findings = Vec::new();
    for (name, needed) in topics {
        match answers.get(*name) {
            Some(Ok(Some(allowed))) => findings.extend(of_topic(kafka, name, *needed, *allowed)),
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                findings.push(lacking(kafka, name, &[Operation::Describe]));
            }
            Some(Err(code)) => findings.push(unknown(name, &code.to_string())),
            Some(Ok(None)) | None => findings.push(unknown(name, "it does not say")),
        }
    }
    findings
}

fn of_topic(kafka: &Kafka, name: &str, needed: Use, allowed: Allowed) -> Vec<Finding> {
    let lacks = |operation: &Operation| !allowed.has(*operation);
    let lacked: Vec<Operation> = needed.needs().iter().copied().filter(lacks).collect();
    let mut findings = Vec::new();
    if !lacked.is_empty() {
        findings.push(lacking(kafka, name, &lacked));
    }
    if lacks(&Operation::DescribeConfigs)
        && let Some(unread) = needed.unread_settings()
    {
        let sentence = format!(
            "{} lacks DescribeConfigs on topic {name}: {unread}",
            user(kafka)
        );
        let grant = grant(kafka, "topic", name, &["DescribeConfigs"]);
        findings.push(Finding::warn(NAME, sentence).remedy(grant));
    }
    findings
}

fn lacking(kafka: &Kafka, topic: &str, lacked: &[Operation]) -> Finding {
    let names: Vec<&str> = lacked.iter().map(|operation| operation.name()).collect();
    denied(kafka, "topic", topic, &names)
}

/// A right that a run needs and this user lacks.
pub fn denied(kafka: &Kafka, kind: &str, name: &str, operations: &[&str]) -> Finding {
    let what = kind.replace('-', " ");
    let sentence = format!(
        "{} lacks {} on {what} {name}",
        user(kafka),
        operations.join(" and ")
    );
    Finding::error(NAME, Code::SinkRefused, sentence).remedy(grant(kafka, kind, name, operations))
}

/// What could not be found out.
pub fn unknown(what: &str, why: &str) -> Finding {
    let sentence = format!("Kafka does not say what this user may do with {what} ({why})");
    Finding::warn(NAME, sentence)
}

fn user(kafka: &Kafka) -> String {
    match &kafka.sasl {
        Some(sasl) => format!("user {}", sasl.username),
        None => "this user".to_owned(),
    }
}

/// The command that allows it.
fn grant(kafka: &Kafka, kind: &str, name: &str, operations: &[&str]) -> String {
    let principal = kafka.sasl.as_ref().map_or("…", |sasl| &sasl.username);
    let operations: String = operations
        .iter()
        .map(|operation| format!(" --operation {operation}"))
        .collect();
    let resource = match kind {
        "cluster" => " --cluster".to_owned(),
        kind => format!(" --{kind} {name}"),
    };
    format!(
        "allow it:\nkafka-acls.sh --bootstrap-server {} --add --allow-principal User:{principal}{operations}{resource}",
        kafka.brokers
    )
}

/// Asks for a producer id, as every producer does before its first record. Brokers from 3.0 on give one to
/// whoever may write to any topic, older ones only with a right of its own. Blocks.
pub fn producer_id(kafka: &Kafka) -> Option<Finding> {
    let mut config = client::client_config(kafka, Kind::Producer);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("statistics.interval.ms", "20");
    // What is wrong with the properties is said where the producer of a run is made.
    let producer: BaseProducer<Asking> = config.create_with_context(Asking::default()).ok()?;
    let deadline = Instant::now() + PATIENCE;
    while !producer.context().has_id.load(Ordering::Relaxed) {
        if let Some((code, _)) = producer.client().fatal_error() {
            return Some(match code {
                RDKafkaErrorCode::ClusterAuthorizationFailed => no_producer_id(kafka),
                code => unknown("a producer id", &code.to_string()),
            });
        }
        if Instant::now() >= deadline {
            return Some(unknown("a producer id", "no answer in time"));
        }
        producer.poll(Duration::from_millis(20));
    }
    None
}

fn no_producer_id(kafka: &Kafka) -> Finding {
    let sentence = format!(
        "{} gets no producer id: it lacks Write on every topic, or IdempotentWrite on the cluster where the \
         broker is older than 3.0",
        user(kafka)
    );
    Finding::error(NAME, Code::SinkRefused, sentence).remedy(grant(
        kafka,
        "cluster",
        "",
        &["IdempotentWrite"],
    ))
}

/// Takes note that a producer has got its id.
#[derive(Default)]
struct Asking {
    has_id: AtomicBool,
}

impl ClientContext for Asking {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }

    fn stats_raw(&self, report: &[u8]) {
        let has_id = Statistics::read(report)
            .and_then(|statistics| statistics.eos)
            .is_some_and(|eos| eos.idemp_state == "Assigned");
        if has_id {
            self.has_id.store(true, Ordering::Relaxed);
        }
    }
}

impl ProducerContext for Asking {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}
