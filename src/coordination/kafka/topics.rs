//! The two topics: made when missing, checked when found.

use super::names::Names;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::rights::Use;
use crate::kafka::topic;
use crate::tasks;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{info, warn};

/// How long a client waits at most before it tries again to reach a broker, in milliseconds. librdkafka's
/// usual ten seconds are as long as a session.
pub const LONGEST_BACKOFF: &str = "1000";

/// Whether this is for want of a topic that was there.
pub fn is_missing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        error.rdkafka_error_code(),
        Some(
            E::UnknownTopicOrPartition | E::UnknownTopic | E::UnknownPartition | E::UnknownTopicId
        )
    )
}

/// Instances read the registry from its beginning: it shall be short.
const REGISTRY: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "600000"),
];

/// A topic as it has to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    partitions: i32,
    /// What the partitions are, in a sentence on a topic with another number of them.
    because: &'static str,
    settings: &'static [(&'static str, &'static str)],
    pub needed_for: Use,
}

/// The registry, and the group's topic.
pub fn wanted(names: &Names) -> [Wanted; 2] {
    [
        Wanted {
            name: names.registry.clone(),
            partitions: 1,
            because: "all instances read its records in one order",
            settings: REGISTRY,
            needed_for: Use::Registry,
        },
        Wanted {
            name: names.group.clone(),
            partitions: names.partitions(),
            because: "each of them is one stream",
            settings: &[],
            needed_for: Use::Assignment,
        },
    ]
}

/// Makes the topics where they are missing.
///
/// # Errors
/// [`Code::SinkRefused`] when one is missing and may not be made, or has another number of partitions.
pub async fn prepare(kafka: &Kafka, names: &Names) -> Result<(), Error> {
    let wanted = wanted(names);
    let kafka = kafka.clone();
    let runtime = tokio::runtime::Handle::current();
    // The client blocks when it looks at metadata and when it is dropped.
    tasks::blocking("the topics of the coordination", move || {
        let admin = topic::admin(&kafka)?;
        for topic in &wanted {
            topic.prepare(&admin, &kafka, &runtime)?;
        }
        client::end_beside(admin);
        Ok(())
    })
    .await?
}

impl Wanted {
    fn prepare(
        &self,
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(), Error> {
        if let Some(partitions) = self.find(admin)? {
            self.check(partitions)?;
            if let Some((sentence, remedy)) = runtime.block_on(self.shortcoming(admin, kafka)) {
                warn!("{sentence}; {remedy}");
            }
            return Ok(());
        }
        if !kafka.creation.enabled {
            return Err(Error::new(Code::SinkRefused, self.absent()));
        }
        runtime.block_on(self.create(admin, kafka))?;
        let what = format!("topic {}", self.name);
        self.check(topic::await_new(&what, || self.find(admin))?)
    }

    /// What is wrong with its settings, and what to do; it can be used nevertheless. What the brokers do not say is
    /// no shortcoming.
    pub async fn shortcoming(
        &self,
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
    ) -> Option<(String, String)> {
        if self.needed_for != Use::Registry {
            return None;
        }
        let policy = topic::cleanup_policy(admin, &self.name).await.ok()??;
        if policy == "compact" {
            return None;
        }
        let name = &self.name;
        let sentence = format!(
            "the topic {name} has cleanup.policy={policy}: Kafka deletes with time which streams were moved \
             where and how often, and each start reads all that is left"
        );
        let remedy = format!(
            "set it to compact: {}",
            topic::compacting(&kafka.brokers, name)
        );
        Some((sentence, remedy))
    }

    /// Asks whether it could be made, and makes nothing.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn may_create(
        &self,
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
    ) -> Result<(), Error> {
        if !kafka.creation.enabled {
            return Err(Error::new(Code::SinkRefused, self.absent()));
        }
        let trial = AdminOptions::new().validate_only(true);
        self.ask_to_create(admin, kafka, trial).await.map(|_| ())
    }

    /// How many partitions it has; none where it does not exist.
    ///
    /// # Errors
    /// When the brokers cannot say now, or will not.
    pub fn find(&self, admin: &AdminClient<Logging>) -> Result<Option<i32>, Error> {
        let failed = |error: &KafkaError| {
            let mut error = client::error(format!("looking for the topic {}", self.name), error);
            if error.code == Code::SinkRefused {
                error.detail += &self.rights();
            }
            error
        };
        topic::partitions(admin.inner(), &self.name).map_err(|error| failed(&error))
    }

    /// # Errors
    /// [`Code::SinkRefused`] for another number of partitions than it must have.
    pub fn check(&self, partitions: i32) -> Result<(), Error> {
        let (name, wanted) = (&self.name, self.partitions);
        if partitions == wanted {
            return Ok(());
        }
        Err(Error::new(
            Code::SinkRefused,
            format!(
                "the topic {name} has {partitions} partitions and must have {wanted}: {}; delete the \
                 topic while no instance runs, and it is made anew",
                self.because
            ),
        ))
    }

    async fn create(&self, admin: &AdminClient<Logging>, kafka: &Kafka) -> Result<(), Error> {
        if self
            .ask_to_create(admin, kafka, AdminOptions::new())
            .await?
        {
            let (topic, partitions) = (&self.name, self.partitions);
            info!(topic, partitions, "created a topic of the coordination");
        }
        Ok(())
    }

    /// Whether it was made; not where somebody was faster.
    async fn ask_to_create(
        &self,
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
        options: AdminOptions,
    ) -> Result<bool, Error> {
        let failed = |error: &KafkaError| {
            let mut error = client::error(format!("creating the topic {}", self.name), error);
            if error.code == Code::SinkRefused {
                error.detail = format!("{}; or {}", error.detail, self.by_hand());
            }
            error
        };
        let wanted = (self.name.as_str(), self.partitions);
        let asked = topic::create(admin, &kafka.creation, wanted, self.settings, options).await;
        asked.map_err(|error| failed(&error))
    }

    fn absent(&self) -> String {
        format!(
            "the topic {} does not exist and KAFKA_CREATE_TOPICS is false: {}",
            self.name,
            self.by_hand()
        )
    }

    fn by_hand(&self) -> String {
        let Self {
            name, partitions, ..
        } = self;
        let with = match self.settings {
            [] => String::new(),
            settings => format!(" and {}", topic::listed(settings)),
        };
        format!("create {name} with partitions={partitions}{with}")
    }

    fn rights(&self) -> String {
        format!(
            "; the user needs Describe, Read and Write on the topic {}",
            self.name
        )
    }
}
