//! Asking the brokers: metadata through a consumer, which creates nothing by asking, and the rest
//! through the admin client.

use super::problem::Unreachable;
use crate::config::{Kafka, TopicCreation};
use crate::error::{Code, Error};
use crate::kafka::bootstrap;
use crate::kafka::client::{self, Kind, client_config};
use crate::route::{AFTER, BEFORE, TimeLimits};
use crate::tasks;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, ClientContext};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one question may take.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// What the metadata say of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    /// No topic can have this name.
    Illegal,
    Forbidden,
    Leaderless {
        partition: i32,
    },
    Ready {
        partitions: i32,
    },
}

impl State {
    /// What the metadata say; the error is one of theirs.
    pub(super) fn of(topic: &MetadataTopic) -> Result<Self, KafkaError> {
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => return Ok(Self::Missing),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => return Ok(Self::Forbidden),
            Some(RDKafkaErrorCode::InvalidTopic) => return Ok(Self::Illegal),
            Some(RDKafkaErrorCode::LeaderNotAvailable) => {
                return Ok(Self::Leaderless { partition: 0 });
            }
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
        }
        let partitions = topic.partitions();
        let leaderless = partitions.iter().find(|partition| partition.leader() < 0);
        Ok(match (leaderless, i32::try_from(partitions.len())) {
            (Some(partition), _) => Self::Leaderless {
                partition: partition.id(),
            },
            (None, Ok(partitions @ 1..)) => Self::Ready { partitions },
            // Just created, the metadata may name the topic before its partitions.
            (None, _) => Self::Leaderless { partition: 0 },
        })
    }
}

/// What the settings of a topic say of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub(super) max_message_bytes: Option<usize>,
    pub(super) times: TimeLimits,
}

impl Limits {
    /// From the values of the settings.
    pub(super) fn of(value: impl Fn(&str) -> Option<String>) -> Self {
        let millis = |name: &str| value(name)?.parse::<i64>().ok();
        let bounded = |name: &str| millis(name).filter(|limit| *limit != i64::MAX);
        // Up to Kafka 3.9, one setting may stand for both; each of the newer ones counts more.
        let both = bounded("message.timestamp.difference.max.ms");
        let is_given = value("message.timestamp.type").as_deref() != Some("LogAppendTime");
        let limit = |name: &str| bounded(name).or(both).filter(|_| is_given);
        Self {
            max_message_bytes: value("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
            times: TimeLimits {
                before: limit(BEFORE),
                after: limit(AFTER),
            },
        }
    }
}

/// Whether to create, or only to ask whether it would be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    Real,
    Trial,
}

/// The client that metadata are asked through.
pub(super) type Asked = BaseConsumer<Troubles>;

/// The clients that topics are asked about and made through.
pub struct Cluster {
    consumer: Arc<Asked>,
    admin: Arc<Admin>,
    troubles: Troubles,
    kafka: Kafka,
}

pub(super) type Admin = AdminClient<DefaultClientContext>;

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.kafka.brokers)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Sets up the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`Code::Config`](crate::error::Code::Config) when librdkafka refuses a property.
    pub fn new(kafka: &Kafka) -> Result<Self, Error> {
        let failed = |error: KafkaError| client::error("setting up the Kafka client", &error);
        // Log lines wait in the client's queue until somebody polls, which is seldom here and for
        // the admin client never. What they would say, the callback and the answers say too. The
        // property counts from the first moment, the level only once the client has been made.
        let silent = |config: &mut ClientConfig| {
            config.set("log_level", "0");
            config.set_log_level(RDKafkaLogLevel::Emerg);
        };
        let troubles = Troubles::default();
        let mut consumer = client_config(kafka, Kind::Consumer);
        consumer.remove("group.id");
        silent(&mut consumer);
        let mut admin = client_config(kafka, Kind::Admin);
        silent(&mut admin);
        let consumer = consumer.create_with_context(troubles.clone());
        Ok(Self {
            consumer: Arc::new(consumer.map_err(failed)?),
            admin: Arc::new(admin.create().map_err(failed)?),
            troubles,
            kafka: kafka.clone(),
        })
    }

    /// The client that makes and describes; what is asked through it goes through [`answer`](Self::answer).
    pub(super) fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    pub(super) fn brokers(&self) -> &str {
        &self.kafka.brokers
    }

    /// Waits until a broker has introduced itself; sooner when the log-in is refused.
    pub(super) async fn reach(&self, patience: Duration) -> Result<(), Unreachable> {
        let step = Duration::from_millis(250);
        let deadline = Instant::now() + patience;
        loop {
            let answered = self
                .blocking(move |consumer| {
                    while consumer.poll(Duration::ZERO).is_some() {}
                    consumer.client().fetch_cluster_id(step).is_some()
                })
                .await;
            if matches!(answered, Ok(true)) {
                return Ok(());
            }
            let is_refused = self.troubles.with(|seen| seen.authentication.is_some());
            if is_refused || Instant::now() >= deadline {
                let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.why(&timed_out));
            }
        }
    }

    /// Looks at one topic. Asking for a topic that does not exist does not create it.
    pub(super) async fn look(&self, name: &str) -> Result<State, KafkaError> {
        let name = name.to_owned();
        let state = self
            .blocking(move |consumer| {
                let metadata = consumer.fetch_metadata(Some(&name), ANSWER_PATIENCE);
                while consumer.poll(Duration::ZERO).is_some() {}
                let metadata = metadata?;
                let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name)
                else {
                    return Ok(State::Missing);
                };
                State::of(topic)
            })
            .await??;
        // Whatever the client complained of before is over.
        self.troubles.with(|seen| *seen = Seen::default());
        Ok(state)
    }

    /// The topic that is there under a name that differs from this one only in `.` and `_`, among those that
    /// this user may see.
    pub(super) async fn clashing(&self, name: &str) -> Result<Option<String>, KafkaError> {
        let name = name.to_owned();
        let found = self.blocking(move |consumer| {
            let metadata = consumer.fetch_metadata(None, ANSWER_PATIENCE)?;
            let metric_name = name.replace('.', "_");
            let mut names = metadata.topics().iter().map(|topic| topic.name());
            let other = names
                .find(|other| *other != name && other.replace('.', "_") == metric_name)
                .map(str::to_owned);
            Ok(other)
        });
        found.await?
    }

    /// Makes a topic, or asks whether that would be allowed. The inner result is the broker's.
    pub(super) async fn create(
        &self,
        name: &str,
        wanted: &TopicCreation,
        creation: Creation,
    ) -> Result<Result<(), RDKafkaErrorCode>, KafkaError> {
        let created = self.create_all(&[name], wanted, creation).await?;
        Ok(created.into_iter().next().unwrap_or(Ok(())))
    }

    /// What the topic's effective settings say of its records; nothing where asking is not permitted.
    pub(super) async fn limits(&self, name: &str) -> Option<Limits> {
        self.limits_of_all(&[name]).await.remove(name)
    }

    /// What the client has complained of so far, while it was asked and nobody answered.
    pub(super) fn complaint(&self) -> Option<Unreachable> {
        let is_any = self.troubles.with(|seen| {
            let kinds = [
                &seen.authentication,
                &seen.tls,
                &seen.resolve,
                &seen.transport,
            ];
            kinds.into_iter().any(Option::is_some)
        });
        let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        is_any.then(|| self.why(&timed_out))
    }

    /// An error with what the client has complained of meanwhile: the error alone says "timed out".
    pub(super) fn why(&self, error: &KafkaError) -> Unreachable {
        let brokers = self.kafka.brokers.clone();
        let seen = self.troubles.with(|seen| seen.clone());
        if let Some(reason) = seen.authentication {
            return Unreachable::Authentication { reason };
        }
        if let Some(reason) = seen.tls {
            return Unreachable::Tls { brokers, reason };
        }
        if client::code(error) == Code::SinkRefused {
            return Unreachable::Refused {
                reason: client::describe(error),
            };
        }
        // Where no socket can be opened at all, the client may complain of nothing.
        if Code::are_descriptors_used_up() {
            let complaint = seen.resolve.or(seen.transport);
            let reason = complaint.unwrap_or_else(|| client::describe(error));
            return Unreachable::Exhausted { brokers, reason };
        }
        match (seen.resolve, seen.transport) {
            (_, Some(reason)) => Unreachable::Silent { brokers, reason },
            (Some(reason), None) => Unreachable::Resolve { brokers, reason },
            (None, None) => Unreachable::Silent {
                brokers,
                reason: client::describe(error),
            },
        }
    }

    /// Runs a question that blocks the thread on one that may be.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Asked) -> T + Send + 'static,
    ) -> Result<T, KafkaError> {
        let consumer = self.consumer.clone();
        let asked = tasks::blocking("the topics", move || ask(&consumer));
        let asked = bootstrap::answer(self.consumer.client(), self.brokers(), asked).await;
        asked.map_err(|_| KafkaError::Canceled)
    }

    /// Waits for the answer to what the [`admin`](Self::admin) client was asked.
    pub(super) async fn answer<T>(&self, asked: impl Future<Output = T>) -> T {
        bootstrap::answer(self.admin.inner(), self.brokers(), asked).await
    }
}

/// What the client has complained of, by kind: the last of each.
#[derive(Debug, Clone, Default)]
struct Seen {
    authentication: Option<String>,
    tls: Option<String>,
    resolve: Option<String>,
    transport: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<Seen>>);

impl Troubles {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Troubles {
    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
        // Without how long it took and how often: the same trouble reads the same.
        let reason = Some(reason.split(" (after ").next().unwrap_or(reason).to_owned());
        self.with(|seen| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                seen.authentication = reason;
            }
            Some(RDKafkaErrorCode::SSL) => seen.tls = reason,
            Some(RDKafkaErrorCode::Resolve) => seen.resolve = reason,
            // It only sums up what the others have said.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => seen.transport = reason,
        });
    }
}

impl ConsumerContext for Troubles {}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(settings: &[(&str, &str)]) -> (Option<i64>, Option<i64>) {
        let times = Limits::of(|name| {
            let found = settings.iter().find(|(setting, _)| *setting == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .times;
        (times.before, times.after)
    }

    #[test]
    fn the_limits_of_a_records_time_are_read_as_kafka_means_them() {
        let never = "9223372036854775807";
        let both = ("message.timestamp.difference.max.ms", "50");
        assert_eq!(times(&[]), (None, None));
        assert_eq!(
            times(&[(BEFORE, never), (AFTER, "3600000")]),
            (None, Some(3_600_000))
        );
        assert_eq!(
            times(&[both, (BEFORE, never), (AFTER, never)]),
            (Some(50), Some(50))
        );
        assert_eq!(times(&[both, (BEFORE, "7")]), (Some(7), Some(50)));
        let brokers = ("message.timestamp.type", "LogAppendTime");
        assert_eq!(times(&[brokers, (BEFORE, "7")]), (None, None));
    }
}
