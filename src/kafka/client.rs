//! What every Kafka client of Tailwater has in common: brokers, security, the user's properties,
//! logging through `tracing`, and which of our codes an error of Kafka means.

use super::bootstrap::{Known, KnowsBrokers};
use super::produce;
use crate::config::{Kafka, SecurityProtocol};
use crate::error::{Code, Error};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// What a client is for: librdkafka warns of properties that its kind of client does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Producer,
    Consumer,
    /// Topics and their settings; takes what is common to the other two.
    Admin,
}

/// The properties every client starts from. What the caller sets afterwards wins over the user's.
///
/// `KAFKA_PROP_*` are applied where they fit the kind of client. Auto-creation of topics is off.
pub fn client_config(kafka: &Kafka, kind: Kind) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", &kafka.client_id)
        .set("security.protocol", protocol(kafka.security_protocol))
        .set("allow.auto.create.topics", "false")
        .set_log_level(log_level());
    if let Some(sasl) = &kafka.sasl {
        config
            .set("sasl.mechanism", &sasl.mechanism)
            .set("sasl.username", &sasl.username)
            .set("sasl.password", sasl.password.expose());
    }
    if uses_tls(kafka.security_protocol) {
        match &kafka.ssl_ca_location {
            Some(path) => config.set("ssl.ca.location", path.display().to_string()),
            // The linked OpenSSL does not know where this system keeps its authorities.
            None => config.set("ssl.ca.location", "probe"),
        };
    }
    for (name, value) in &kafka.properties {
        if fits(name, kind) {
            config.set(name, value);
        }
    }
    if kafka
        .properties
        .iter()
        .any(|(name, _)| name == "ssl.ca.pem")
    {
        // The two exclude each other: given authorities need no probing.
        config.remove("ssl.ca.location");
    }
    config
}

fn protocol(protocol: SecurityProtocol) -> &'static str {
    match protocol {
        SecurityProtocol::Plaintext => "plaintext",
        SecurityProtocol::Ssl => "ssl",
        SecurityProtocol::SaslPlaintext => "sasl_plaintext",
        SecurityProtocol::SaslSsl => "sasl_ssl",
    }
}

fn uses_tls(protocol: SecurityProtocol) -> bool {
    matches!(protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
}

fn fits(name: &str, kind: Kind) -> bool {
    match kind {
        Kind::Producer => !CONSUMER_ONLY.contains(&name),
        Kind::Consumer => !PRODUCER_ONLY.contains(&name),
        Kind::Admin => !PRODUCER_ONLY.contains(&name) && !CONSUMER_ONLY.contains(&name),
    }
}

/// Properties marked `P` in librdkafka's `CONFIGURATION.md`.
const PRODUCER_ONLY: &[&str] = &[
    "transactional.id",
    "transaction.timeout.ms",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "linger.ms",
    "message.send.max.retries",
    "retries",
    "queue.buffering.backpressure.threshold",
    "compression.codec",
    "compression.type",
    "compression.level",
    "batch.num.messages",
    "batch.size",
    "delivery.report.only.error",
    "sticky.partitioning.linger.ms",
    "request.required.acks",
    "acks",
    "request.timeout.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "queuing.strategy",
    "produce.offset.report",
    "partitioner",
];

/// Properties marked `C` in librdkafka's `CONFIGURATION.md`.
const CONSUMER_ONLY: &[&str] = &[
    "group.id",
    "group.instance.id",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol.type",
    "group.protocol",
    "group.remote.assignor",
    "coordinator.query.interval.ms",
    "max.poll.interval.ms",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "auto.commit.enable",
    "enable.auto.offset.store",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.error.backoff.ms",
    "isolation.level",
    "enable.partition.eof",
    "check.crcs",
    "auto.offset.reset",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "consume.callback.max.messages",
];

fn log_level() -> RDKafkaLogLevel {
    match tracing::level_filters::LevelFilter::current().into_level() {
        Some(tracing::Level::TRACE | tracing::Level::DEBUG) => RDKafkaLogLevel::Debug,
        Some(tracing::Level::INFO) => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Warning,
    }
}

/// Waits until the client is connected to a broker that stays: a client knows brokers by the address it
/// was given first, and leaves that connection as soon as the answer to its first question has named
/// them. What asks for a broker in between (a producer for its id, a transaction for its coordinator)
/// finds none, and asks again only half a second later; the answer to the second question lets it ask at
/// once. `topic` is what is asked about, and is not created by it.
///
/// Blocks, for no longer than `patience` each time. Failing is no error: what needs the brokers will say so.
pub fn settle<C: ClientContext>(client: &Client<C>, topic: &str, patience: Duration) {
    for _ in 0..2 {
        if client.fetch_metadata(Some(topic), patience).is_err() {
            return;
        }
    }
}

/// How long is waited for transactions to be initialised before somebody looks whether that can still come about.
const LOOK: Duration = Duration::from_secs(2);

/// Initialises the transactions of a producer. Blocks, at most for `patience`: a client that may open no socket waits
/// without a word, so it is asked in between whether this process has any descriptor left.
///
/// # Errors
/// librdkafka's.
pub fn initialise<C: ProducerContext>(
    producer: &impl Producer<C>,
    patience: Duration,
) -> Result<(), KafkaError> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match producer.init_transactions(left.min(LOOK)) {
            // The next call continues where this one was.
            Err(error)
                if left > LOOK
                    && error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut)
                    && !Code::are_descriptors_used_up() => {}
            result => return result,
        }
    }
}

/// Ends a client beside whoever needs it no more: it waits for its threads, sometimes for a second.
pub fn end_beside<T: Send + 'static>(client: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
        Err(_) => drop(client),
    }
}

/// How long to poll a client that may be at rest for long.
///
/// The `rdkafka` crate waits for whole milliseconds and turns round without a pause for what is left of the last one:
/// with a hundred streams at rest, that took more than half a core. So the wait is a little longer than whole ones, by
/// less than it takes to wake up.
pub const fn poll_wait(millis: u64) -> Duration {
    Duration::from_micros(millis * 1000 + 50)
}

/// How long a producer's connection is helped along.
pub const SETTLING: Duration = Duration::from_secs(1);

/// A client context that only logs, within the span of whoever made it, and takes note of the brokers. Contexts that do
/// more call [`log`] and [`log_error`].
#[derive(Debug, Clone)]
pub struct Logging {
    span: tracing::Span,
    known: Known,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            span: tracing::Span::current(),
            known: Known::default(),
        }
    }
}

impl ClientContext for Logging {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.span.in_scope(|| log(level, facility, message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.span.in_scope(|| log_error(&error, reason));
    }

    fn stats_raw(&self, report: &[u8]) {
        self.known.note_report(report);
    }
}

impl KnowsBrokers for Logging {
    fn known(&self) -> &Known {
        &self.known
    }
}

impl ConsumerContext for Logging {}

/// As [`Logging`], for a client of which something else is to be heard, too: `part` is told of it, by a
/// [`ConsumerContext`] or a `ProducerContext` of its own.
#[derive(Debug)]
pub struct Hearing<T> {
    logging: Logging,
    pub part: T,
}

impl<T> Hearing<T> {
    pub fn new(part: T) -> Self {
        Self {
            logging: Logging::default(),
            part,
        }
    }
}

impl<T: Send + Sync + 'static> ClientContext for Hearing<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logging.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logging.error(error, reason);
    }

    fn stats_raw(&self, report: &[u8]) {
        self.logging.stats_raw(report);
    }
}

impl<T: Send + Sync + 'static> KnowsBrokers for Hearing<T> {
    fn known(&self) -> &Known {
        self.logging.known()
    }
}

/// As [`Logging`], for a client that only finds something out: what it meets is the answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(RDKafkaLogLevel::Debug, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}

/// Hands a line of librdkafka's own log to `tracing`.
///
/// Its errors are about one attempt to reach one broker, which it repeats by itself: to us they are
/// warnings. What they amount to is said by whoever waits for the result.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Hands a client-wide error to `tracing`, quietly: librdkafka has logged its cause already.
pub fn log_error(error: &KafkaError, reason: &str) {
    debug!(target: "librdkafka", error = %describe(error), "{reason}");
}

/// An error of Kafka with our code and a sentence on what was attempted.
///
/// A client that may open no socket only times out, and tries again without an end: that it is this process that
/// lacks something is asked of the system.
pub fn error(attempt: impl std::fmt::Display, error: &KafkaError) -> Error {
    let (code, remedy) = match code(error) {
        Code::SinkUnavailable if Code::are_descriptors_used_up() => {
            (Code::Exhausted, NO_DESCRIPTORS)
        }
        Code::Exhausted => (Code::Exhausted, NO_THREADS),
        code => (code, ""),
    };
    Error::new(code, format!("{attempt}: {}{remedy}", describe(error)))
}

const NO_THREADS: &str = "; this process may have no more threads or memory: raise its limits (ulimit -u, \
                          pids.max, TasksMax, memory), or see what else uses them up";

const NO_DESCRIPTORS: &str =
    "; this process may open no more descriptors: raise the limit on open files (ulimit -n)";

/// The error in words, without values of properties: those may be secrets.
pub fn describe(error: &KafkaError) -> String {
    match error {
        // librdkafka's reason may repeat the value.
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("librdkafka does not take the property {name}, or not this value of it")
        }
        other => other.to_string(),
    }
}

/// Which of our codes an error of Kafka means: what cannot heal by waiting is refused, the rest is
/// unavailable. That of a client that could not be made has to be asked for on the thread that tried.
pub fn code(error: &KafkaError) -> Code {
    if matches!(error, KafkaError::ClientCreation(_))
        && produce::last_error() == RDKafkaErrorCode::CriticalSystemResource
    {
        return Code::Exhausted;
    }
    if matches!(
        error,
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_)
    ) {
        return Code::Config;
    }
    match error.rdkafka_error_code() {
        Some(code) if is_refusal(code) => Code::SinkRefused,
        _ => Code::SinkUnavailable,
    }
}

/// Whether a consumer that is assigned its partitions can read no more. Its group is only a name:
/// librdkafka assigns nothing without one, and looks for its coordinator; not being allowed to use it does
/// no harm.
pub fn ends_reading(error: &KafkaError) -> bool {
    error.rdkafka_error_code() != Some(RDKafkaErrorCode::GroupAuthorizationFailed)
        && code(error) == Code::SinkRefused
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        E::Authentication
            | E::SaslAuthenticationFailed
            | E::UnsupportedSASLMechanism
            | E::IllegalSASLState
            | E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::TransactionalIdAuthorizationFailed
            | E::InvalidTopic
            | E::InvalidConfig
            | E::InvalidPartitions
            | E::InvalidReplicationFactor
            | E::InvalidTransactionTimeout
            | E::PolicyViolation
            | E::SecurityDisabled
            | E::UnsupportedVersion
            | E::UnsupportedFeature
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sasl, Secret, TopicCreation};

    fn kafka() -> Kafka {
        Kafka {
            brokers: "one:9092,two:9092".into(),
            client_id: "watcher".into(),
            creation: TopicCreation {
                enabled: true,
                partitions: None,
                replication: None,
                config: Vec::new(),
            },
            security_protocol: SecurityProtocol::Plaintext,
            sasl: None,
            ssl_ca_location: None,
            properties: Vec::new(),
            dry_run: false,
        }
    }

    #[test]
    fn a_property_reaches_only_the_clients_that_know_it() {
        let mut kafka = kafka();
        kafka.properties = vec![
            ("linger.ms".into(), "7".into()),
            ("fetch.min.bytes".into(), "3".into()),
            ("socket.keepalive.enable".into(), "true".into()),
        ];
        let of = |kind| client_config(&kafka, kind);
        assert_eq!(of(Kind::Producer).get("linger.ms"), Some("7"));
        assert_eq!(of(Kind::Producer).get("fetch.min.bytes"), None);
        assert_eq!(of(Kind::Consumer).get("linger.ms"), None);
        assert_eq!(of(Kind::Consumer).get("fetch.min.bytes"), Some("3"));
        assert_eq!(of(Kind::Admin).get("linger.ms"), None);
        assert_eq!(of(Kind::Admin).get("fetch.min.bytes"), None);
        for kind in [Kind::Producer, Kind::Consumer, Kind::Admin] {
            assert_eq!(of(kind).get("socket.keepalive.enable"), Some("true"));
        }
    }

    #[test]
    fn authorities_are_probed_only_when_tls_is_used_and_none_are_given() {
        let mut kafka = kafka();
        assert_eq!(
            client_config(&kafka, Kind::Admin).get("ssl.ca.location"),
            None
        );
        kafka.security_protocol = SecurityProtocol::SaslSsl;
        let probed = client_config(&kafka, Kind::Admin);
        assert_eq!(probed.get("ssl.ca.location"), Some("probe"));
        kafka.properties = vec![("ssl.ca.pem".into(), "…".into())];
        assert_eq!(
            client_config(&kafka, Kind::Admin).get("ssl.ca.location"),
            None
        );
        kafka.properties.clear();
        kafka.ssl_ca_location = Some("/etc/ca.pem".into());
        let given = client_config(&kafka, Kind::Admin);
        assert_eq!(given.get("ssl.ca.location"), Some("/etc/ca.pem"));
    }

    #[test]
    fn librdkafka_takes_the_properties_of_every_kind() {
        let mut kafka = kafka();
        kafka.security_protocol = SecurityProtocol::SaslSsl;
        kafka.sasl = Some(Sasl {
            mechanism: "SCRAM-SHA-512".into(),
            username: "user".into(),
            password: Secret::new("pass"),
        });
        for kind in [Kind::Producer, Kind::Consumer, Kind::Admin] {
            client_config(&kafka, kind).create_native_config().unwrap();
        }
    }

    #[test]
    fn a_refused_property_does_not_show_its_value() {
        let mut kafka = kafka();
        for name in ["sasl.kerberos.nonsense", "socket.keepalive.enable"] {
            kafka.properties = vec![(name.into(), "hunter2".into())];
            let refused = client_config(&kafka, Kind::Admin)
                .create_native_config()
                .map(|_| ())
                .unwrap_err();
            let error = error("creating a client", &refused);
            assert_eq!(error.code, Code::Config);
            assert!(error.detail.contains(name), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
