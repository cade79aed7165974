//! Why a topic cannot be written to, and what helps.

use crate::config::TopicCreation;
use crate::error::Code;
use crate::preflight::Finding;
use rdkafka::error::RDKafkaErrorCode;

/// Why a topic cannot be written to now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicProblem {
    /// It does not exist, and `KAFKA_CREATE_TOPICS` is false.
    #[error("topic {name} does not exist, and KAFKA_CREATE_TOPICS is false")]
    Missing { name: String },
    /// The broker does not let this user see it; it may or may not exist.
    #[error("Kafka does not let this user describe and write topic {name}")]
    Forbidden { name: String },
    /// It does not exist, and the broker refuses to make it.
    #[error("Kafka refuses to create topic {name}: {reason}")]
    NotCreated {
        name: String,
        code: RDKafkaErrorCode,
        reason: String,
    },
    /// It does not exist, and Kafka makes none beside the one that does.
    #[error(
        "topic {name} beside {other}: Kafka refuses names that differ only in `.` and `_`, because its \
         metrics cannot tell them apart"
    )]
    Clash { name: String, other: String },
    /// It exists, and a partition of it has no leader.
    #[error("partition {partition} of topic {name} has no leader")]
    NoLeader { name: String, partition: i32 },
    /// The brokers do not answer.
    #[error("{0}")]
    Unreachable(Unreachable),
}

/// Why no broker answers as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Nobody answers at these addresses, or not in time.
    #[error("no broker of {brokers} answers ({reason})")]
    Silent { brokers: String, reason: String },
    /// A name of the brokers does not resolve.
    #[error("a name in {brokers} does not resolve ({reason})")]
    Resolve { brokers: String, reason: String },
    /// The broker refuses the credentials or the mechanism.
    #[error("Kafka refuses the log-in ({reason})")]
    Authentication { reason: String },
    /// No TLS connection comes about.
    #[error("no TLS connection to {brokers} ({reason})")]
    Tls { brokers: String, reason: String },
    /// No connection can be made, since this process may open no more descriptors.
    #[error("no connection to {brokers} can be made ({reason})")]
    Exhausted { brokers: String, reason: String },
    /// A broker answers, with an error.
    #[error("Kafka answers with an error ({reason})")]
    Refused { reason: String },
}

impl Unreachable {
    /// Whether waiting may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Resolve { .. })
    }

    fn code(&self) -> Code {
        match self {
            Self::Silent { .. } | Self::Resolve { .. } => Code::SinkUnavailable,
            Self::Exhausted { .. } => Code::Exhausted,
            Self::Authentication { .. } | Self::Tls { .. } | Self::Refused { .. } => {
                Code::SinkRefused
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Silent { .. } => {
                "is Kafka up, are KAFKA_BROKERS and KAFKA_SECURITY_PROTOCOL those of the listener, do \
                 the addresses that the brokers advertise (advertised.listeners) lead there from here?"
            }
            Self::Resolve { .. } => "check the names in KAFKA_BROKERS",
            Self::Authentication { .. } => {
                "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SASL_MECHANISM and \
                 KAFKA_SECURITY_PROTOCOL"
            }
            Self::Tls { .. } => {
                "check KAFKA_SECURITY_PROTOCOL against the listener, and KAFKA_SSL_CA_LOCATION \
                 against the broker's certificate"
            }
            Self::Exhausted { .. } => "raise the limit on open files of this process (ulimit -n)",
            Self::Refused { .. } => "the broker's own log says more",
        }
    }

    /// The finding of a check.
    pub fn finding(&self) -> Finding {
        const NAME: &str = "kafka.reachable";
        let finding = match self.is_transient() {
            true => Finding::not_yet(NAME, self.code(), self.to_string()),
            false => Finding::error(NAME, self.code(), self.to_string()),
        };
        finding.remedy(self.remedy())
    }
}

impl TopicProblem {
    /// Why the broker did not make a topic; its own words are not passed on by the client.
    pub(super) fn not_created(name: &str, code: RDKafkaErrorCode, wanted: &TopicCreation) -> Self {
        use RDKafkaErrorCode as E;
        let or_default = |number: Option<i32>| match number {
            Some(number) => number.to_string(),
            None => "the broker's default".into(),
        };
        let reason = match code {
            E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed => {
                "this user may not create topics".into()
            }
            E::InvalidReplicationFactor => format!(
                "KAFKA_TOPIC_REPLICATION ({}) is more than there are brokers up, or not allowed",
                or_default(wanted.replication)
            ),
            E::InvalidPartitions => {
                format!(
                    "KAFKA_TOPIC_PARTITIONS ({}) is not allowed",
                    or_default(wanted.partitions)
                )
            }
            E::InvalidConfig => {
                let settings = wanted
                    .config
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                let settings = settings.collect::<Vec<_>>().join(",");
                format!("a setting of KAFKA_TOPIC_CONFIG is unknown or out of range ({settings})")
            }
            E::PolicyViolation => "the cluster's own policy for topics forbids it".into(),
            E::InvalidTopic => {
                "another topic's name differs from it only in `.` and `_`, or the name is illegal"
                    .into()
            }
            code => code.to_string(),
        };
        Self::NotCreated {
            name: name.to_owned(),
            code,
            reason,
        }
    }

    /// Whether the topic can never be made, whatever anybody allows: the fault of the event that needs it.
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::Clash { .. } => true,
            Self::NotCreated { code, .. } => *code == RDKafkaErrorCode::InvalidTopic,
            _ => false,
        }
    }

    /// Whether somebody could still make or allow the topic, for which `ON_MISSING_TOPIC` has a word.
    /// What is wrong with the cluster as a whole is waited for in any case.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Forbidden { .. } => true,
            Self::NotCreated { code, .. } => matches!(
                code,
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::InvalidReplicationFactor
                    | RDKafkaErrorCode::InvalidPartitions
                    | RDKafkaErrorCode::InvalidConfig
                    | RDKafkaErrorCode::PolicyViolation
            ),
            Self::Clash { .. } | Self::NoLeader { .. } | Self::Unreachable(_) => false,
        }
    }

    /// Whether waiting may help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Forbidden { .. } | Self::Clash { .. } => false,
            // Brokers that are still starting do not count for the replication yet.
            Self::NotCreated { code, .. } => !matches!(
                code,
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::InvalidPartitions
                    | RDKafkaErrorCode::InvalidConfig
                    | RDKafkaErrorCode::PolicyViolation
                    | RDKafkaErrorCode::InvalidTopic
            ),
            Self::NoLeader { .. } => true,
            Self::Unreachable(unreachable) => unreachable.is_transient(),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => "create it, or set KAFKA_CREATE_TOPICS=true".into(),
            Self::Forbidden { name } => format!(
                "allow it:\nkafka-acls.sh --bootstrap-server … --add --allow-principal User:… \
                 --operation Describe --operation Write --topic {name}"
            ),
            Self::NotCreated { name, code, .. } => match code {
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed => format!(
                    "allow it, or have the topic created by somebody who may:\nkafka-acls.sh \
                     --bootstrap-server … --add --allow-principal User:… --operation Create \
                     --topic {name}"
                ),
                _ => return None,
            },
            Self::Clash { .. } => "name one of the two differently".into(),
            Self::NoLeader { .. } => "are all brokers of the cluster up?".into(),
            Self::Unreachable(unreachable) => unreachable.remedy().into(),
        })
    }

    /// The finding of a check.
    pub fn finding(&self) -> Finding {
        if let Self::Unreachable(unreachable) = self {
            return unreachable.finding();
        }
        const NAME: &str = "kafka.topics";
        let finding = match self.is_transient() {
            true => Finding::not_yet(NAME, Code::SinkUnavailable, self.to_string()),
            false => Finding::error(NAME, Code::SinkRefused, self.to_string()),
        };
        match self.remedy() {
            Some(remedy) => finding.remedy(remedy),
            None => finding,
        }
    }
}
