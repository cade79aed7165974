//! What a command takes from the environment: a stream that is only looked at needs no Kafka.

use super::Problem;
use super::of_stream;
use super::table;
use super::variable::Group;

/// How much of the configuration has to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Everything,
    /// MongoDB, how its events are printed, and the log.
    Source,
    /// Kafka, its topics and how values are written there, the server for live changes, HTTP, and the log.
    Live,
    /// Kafka, to read its topics, and the log.
    Kafka,
    /// Kafka, topics that are made, workers, HTTP, the log and how to stop.
    Worker,
}

/// Variables outside of the source's group that a look at the stream reads.
const OF_A_LOOK: [&str; 9] = [
    "JSON_MODE",
    "FIELDS_EXCLUDE",
    "FIELDS_INCLUDE",
    "FIELDS_MASK",
    "FIELDS_MASK_SALT",
    "FIELDS_RENAME",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "DEBUG",
];

/// Variables outside of their groups that the server for live changes reads.
const OF_LIVE: [&str; 9] = [
    "FORMAT",
    "ENVELOPE_RENAME",
    "SERIALIZATION",
    "JSON_MODE",
    "HTTP_ADDR",
    "ADMIN_TOKEN",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "DEBUG",
];

/// Variables outside of Kafka's group that a reader of topics has.
const OF_A_READER: [&str; 3] = ["LOG_LEVEL", "LOG_FORMAT", "DEBUG"];

/// Variables outside of their groups that a worker reads.
const OF_A_WORKER: [&str; 11] = [
    "KAFKA_CREATE_TOPICS",
    "KAFKA_TOPIC_PARTITIONS",
    "KAFKA_TOPIC_REPLICATION",
    "KAFKA_TOPIC_CONFIG",
    "HTTP_ADDR",
    "ADMIN_TOKEN",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "DEBUG",
    "STATUS_INTERVAL_SECONDS",
    "SHUTDOWN_TIMEOUT_MS",
];

impl Needs {
    /// Whether the command cannot do its work with this.
    pub(super) fn is_hurt_by(self, problem: &Problem) -> bool {
        let (groups, others): (&[Group], &[&str]) = match self {
            Self::Everything => return true,
            Self::Source => (&[Group::Source], &OF_A_LOOK),
            Self::Live => (&[Group::Kafka, Group::Topics, Group::Live], &OF_LIVE),
            Self::Kafka => (&[Group::Kafka], &OF_A_READER),
            Self::Worker => (&[Group::Kafka, Group::Workers], &OF_A_WORKER),
        };
        let given = problem.variable.as_str();
        let variable = table::ALL.iter().find(|variable| {
            variable.name == given || variable.file_variable().as_deref() == Some(given)
        });
        let of_stream = || of_stream::read(given).map(|(variable, _)| variable);
        let variable = variable.copied().or_else(of_stream);
        match variable {
            Some(variable) => groups.contains(&variable.group) || others.contains(&variable.name),
            // The file and the environment themselves; else a property of Kafka's, or what is not there yet.
            None => {
                matches!(given, ".env" | "environment")
                    || (self != Self::Source && given.starts_with("KAFKA_PROP_"))
            }
        }
    }
}
