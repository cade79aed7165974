//! The checkpoint topic: made when missing, checked when found.

use super::listeners::{self, Stored};
use super::{Record, blocking};
use crate::checkpoint::codec;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::partition::partition_of;
use crate::kafka::topic;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::Client;
use tracing::{info, warn};

/// Partitions of a topic that we make: streams are spread over them. Fixed, since a stream's place depends on it.
const PARTITIONS: i32 = 16;

/// Only closed segments are compacted. A commit a second fills a mebibyte, the least that brokers
/// take, in about a quarter of an hour, and a partition never holds more than a few of them; rare
/// commits close theirs by time. A read from the tail then has little to skip. Cleaning starts early,
/// since what is kept is a record per stream.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "1048576"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// The checkpoint topic and how many partitions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    name: String,
    partitions: i32,
}

/// A checkpoint as Kafka stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRecord {
    pub topic: String,
    pub partition: i32,
    /// The stream id; for a listener with its own behind it.
    pub key: Vec<u8>,
    /// JSON, see `docs/checkpoints.md`; none for a listener that is gone.
    pub value: Option<Vec<u8>>,
}

/// What is produced, in one transaction, to store a checkpoint.
#[derive(Debug)]
pub struct CheckpointRecords {
    /// The listeners that are not stored as they are; the position last.
    pub all: Vec<CheckpointRecord>,
    /// Which listeners are stored then.
    pub(super) stored: Option<Stored>,
}

impl Topic {
    /// Makes the topic when it is missing, waits until it can be used, and checks that it is
    /// compacted.
    ///
    /// # Errors
    /// [`Code::SinkRefused`] when it is missing and may not be made, [`Code::CheckpointFailed`] when
    /// it is not compacted, [`Code::SinkUnavailable`] when Kafka cannot say now.
    pub async fn prepare(kafka: &Kafka, name: &str) -> Result<Self, Error> {
        Self::prepare_through(topic::admin(kafka)?, kafka, name).await
    }

    /// As [`prepare`](Self::prepare), for a stream that runs: somebody may have deleted the topic, or
    /// changed it. That old checkpoints are deleted with time is no reason to stop writing new ones.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(super) async fn prepare_again(kafka: &Kafka, name: &str) -> Result<Self, Error> {
        match Self::prepare(kafka, name).await {
            Err(error) if error.code == Code::CheckpointFailed => {
                warn!("{error}; until then the next start may be refused");
                let (kafka, name) = (kafka.clone(), name.to_owned());
                let found =
                    blocking(move || Self::find(topic::admin(&kafka)?.inner(), &name)).await??;
                found.ok_or(error)
            }
            other => other,
        }
    }

    /// As [`prepare`](Self::prepare), through a client that may be connected already.
    pub(super) async fn prepare_through(
        admin: AdminClient<Logging>,
        kafka: &Kafka,
        name: &str,
    ) -> Result<Self, Error> {
        let (kafka, name) = (kafka.clone(), name.to_owned());
        // Clients block when they look at metadata and when they are dropped.
        let runtime = tokio::runtime::Handle::current();
        blocking(move || {
            let topic = match Self::find(admin.inner(), &name)? {
                Some(topic) => topic,
                None => {
                    runtime.block_on(Self::create(&admin, &kafka, &name))?;
                    topic::await_new(&format!("checkpoint topic {name}"), || {
                        Self::find(admin.inner(), &name)
                    })?
                }
            };
            runtime.block_on(topic.check_policy(&admin))?;
            client::end_beside(admin);
            Ok(topic)
        })
        .await?
    }

    /// The topic as it is; `None` when it does not exist.
    pub(super) fn find(client: &Client<Logging>, name: &str) -> Result<Option<Self>, Error> {
        let found = topic::partitions(client, name)
            .map_err(|error| client::error(format!("looking for the topic {name}"), &error))?;
        Ok(found.map(|partitions| Self {
            name: name.to_owned(),
            partitions,
        }))
    }

    async fn create(admin: &AdminClient<Logging>, kafka: &Kafka, name: &str) -> Result<(), Error> {
        if Self::ask_to_create(admin, kafka, name, AdminOptions::new()).await? {
            info!(
                topic = name,
                partitions = PARTITIONS,
                "created the checkpoint topic"
            );
        }
        Ok(())
    }

    /// Asks whether the topic could be made, and makes nothing.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(super) async fn may_create(
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
        name: &str,
    ) -> Result<(), Error> {
        let trial = AdminOptions::new().validate_only(true);
        Self::ask_to_create(admin, kafka, name, trial).await?;
        Ok(())
    }

    /// Whether it was made; not where somebody was faster.
    async fn ask_to_create(
        admin: &AdminClient<Logging>,
        kafka: &Kafka,
        name: &str,
        options: AdminOptions,
    ) -> Result<bool, Error> {
        if !kafka.creation.enabled {
            return Err(Error::new(
                Code::SinkRefused,
                format!(
                    "the checkpoint topic {name} does not exist and KAFKA_CREATE_TOPICS is false: \
                     create it with {PARTITIONS} partitions and {}",
                    topic::listed(&SETTINGS)
                ),
            ));
        }
        let wanted = (name, PARTITIONS);
        let asked = topic::create(admin, &kafka.creation, wanted, &SETTINGS, options).await;
        asked
            .map_err(|error| client::error(format!("creating the checkpoint topic {name}"), &error))
    }

    /// Without compaction old checkpoints pile up; with deletion, the only one is lost some day.
    async fn check_policy(&self, admin: &AdminClient<Logging>) -> Result<(), Error> {
        let name = self.name.as_str();
        let policy = topic::cleanup_policy(admin, name)
            .await
            .map_err(|error| client::error(format!("describing the topic {name}"), &error))?;
        match policy.as_deref() {
            Some("compact") | None => Ok(()),
            Some(policy) => Err(Error::new(
                Code::CheckpointFailed,
                format!(
                    "the checkpoint topic {name} has cleanup.policy={policy}, which would delete \
                     checkpoints with time: set it to compact (kafka-configs.sh --alter --entity-type \
                     topics --entity-name {name} --add-config cleanup.policy=compact), or name \
                     another topic with RESUME_TOPIC"
                ),
            )),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// The partition of a stream: the murmur2 hash of its id modulo the number of partitions.
    pub fn partition_of(&self, stream: &str) -> i32 {
        partition_of(stream.as_bytes(), self.partitions)
    }

    /// What is to be produced to store `record`, where these listeners are known to be stored.
    ///
    /// # Errors
    /// [`Code::Internal`] for a token that is no valid BSON.
    pub(super) fn records(
        &self,
        record: &Record,
        stored: Option<&Stored>,
    ) -> Result<CheckpointRecords, Error> {
        let packed = listeners::pack(record, stored);
        let partition = self.partition_of(&record.stream);
        let position = codec::encode(&packed.record, Some(self.partitions))?;
        let position = (record.stream.clone().into_bytes(), Some(position));
        let all = packed.entries.into_iter().chain([position]);
        let all = all.map(|(key, value)| CheckpointRecord {
            topic: self.name.clone(),
            partition,
            key,
            value,
        });
        Ok(CheckpointRecords {
            all: all.collect(),
            stored: packed.stored,
        })
    }
}
