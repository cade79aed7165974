//! Topics: whether they exist and may be written, making those that do not, and their limits.
//!
//! The clients' own auto-creation is off: a topic that a broker makes up has neither the partitions
//! nor the settings that were asked for. Nothing here is ever an event's fault, so nothing here is a
//! record error: what is missing is waited for and reported.

mod check;
mod cluster;
mod problem;

pub use check::check;
pub use problem::TopicProblem;

use crate::config::{Kafka, TopicCreation};
use crate::error::Error;
use crate::preflight::Finding;
use crate::route::Topic;
use crate::status::waiting::{Awaited, Waits};
use cluster::{Cluster, Creation, State};
use futures_util::StreamExt;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long brokers may take to answer at all.
const REACH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a topic may take from its creation to a leader for each partition.
const LEADER_PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at a topic that is about to be ready.
const SOON: Duration = Duration::from_millis(50);

/// Longest pause between two looks at a topic that somebody else must see to.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the brokers say of a topic that can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: i32,
    /// The topic's `max.message.bytes`; `None` where describing it is not permitted.
    pub max_message_bytes: Option<usize>,
    /// False in a dry run, for a topic that would be made.
    pub exists: bool,
}

/// How many topics are looked at side by side.
const AT_ONCE: usize = 8;

/// The administrator's view of one Kafka cluster. Connects when first used.
#[derive(Debug)]
pub struct Topics {
    cluster: Cluster,
    creation: TopicCreation,
    may_compress: bool,
    is_dry_run: bool,
}

impl Topics {
    /// Sets up the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`Code::Config`](crate::error::Code::Config) when librdkafka refuses a property.
    pub fn new(kafka: &Kafka) -> Result<Self, Error> {
        let compression = ["compression.type", "compression.codec"];
        Ok(Self {
            cluster: Cluster::new(kafka)?,
            creation: kafka.creation.clone(),
            may_compress: kafka
                .properties
                .iter()
                .any(|(name, value)| compression.contains(&name.as_str()) && value != "none"),
            is_dry_run: kafka.dry_run,
        })
    }

    /// Whether the producer compresses: a topic's limit then holds for what is left of a batch, so
    /// that a record over the limit may still fit.
    pub fn may_compress(&self) -> bool {
        self.may_compress
    }

    /// What the client has complained of while nobody answered; none before it has.
    pub fn silence(&self) -> Option<Finding> {
        self.cluster
            .complaint()
            .map(|unreachable| unreachable.finding())
    }

    /// Sees to the topics that are known at the start: makes what is missing, waits for leaders,
    /// learns limits. One finding for each topic, one for all that are missing.
    pub async fn ensure(&self, topics: &[Arc<Topic>]) -> Vec<Finding> {
        if let Err(unreachable) = self.cluster.reach(REACH_PATIENCE).await {
            return vec![unreachable.finding()];
        }
        let mut findings = Vec::new();
        let mut missing = Vec::new();
        let looks = futures_util::stream::iter(topics)
            .map(async |topic| (topic, self.ensure_one(topic.name()).await))
            .buffered(AT_ONCE);
        let mut looks = std::pin::pin!(looks);
        while let Some((topic, look)) = looks.next().await {
            match look {
                Ok(info) => {
                    topic.learned(info.partitions, info.max_message_bytes);
                    findings.push(check::ready(topic.name(), info));
                }
                Err(TopicProblem::Missing { name }) => missing.push(name),
                // The others would each wait for the same answer.
                Err(problem @ TopicProblem::Unreachable(_)) => return vec![problem.finding()],
                Err(problem) => findings.push(problem.finding()),
            }
        }
        if !missing.is_empty() {
            findings.push(check::missing(
                &missing,
                &self.creation,
                self.cluster.brokers(),
            ));
        }
        findings
    }

    /// Sees to one topic: makes it where it is missing and that is allowed, waits for its leaders.
    ///
    /// # Errors
    /// [`TopicProblem`]: it cannot be written to now. Never for want of trying again later.
    pub async fn ensure_one(&self, name: &str) -> Result<TopicInfo, TopicProblem> {
        let deadline = Instant::now() + LEADER_PATIENCE;
        let mut is_made = false;
        loop {
            let problem = match self.cluster.look(name).await {
                Ok(State::Ready { partitions }) => {
                    let max_message_bytes = self.cluster.max_message_bytes(name).await;
                    return Ok(TopicInfo {
                        partitions,
                        max_message_bytes,
                        exists: true,
                    });
                }
                Ok(State::Leaderless { partition }) => TopicProblem::NoLeader {
                    name: name.to_owned(),
                    partition,
                },
                Ok(State::Forbidden) => {
                    return Err(TopicProblem::Forbidden {
                        name: name.to_owned(),
                    });
                }
                // Just made: the broker that was asked has not heard of it yet.
                Ok(State::Missing) if is_made => TopicProblem::NoLeader {
                    name: name.to_owned(),
                    partition: 0,
                },
                Ok(State::Missing) if !self.creation.enabled => {
                    return Err(TopicProblem::Missing {
                        name: name.to_owned(),
                    });
                }
                Ok(State::Missing) if self.is_dry_run => {
                    self.may_create(name).await?;
                    return Ok(self.as_it_would_be());
                }
                Ok(State::Missing) => {
                    self.create(name).await?;
                    is_made = true;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            if Instant::now() >= deadline {
                return Err(problem);
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// What a topic that a dry run does not make would be, as far as the configuration says.
    fn as_it_would_be(&self) -> TopicInfo {
        let mut settings = self.creation.config.iter();
        let limit = settings.rfind(|(name, _)| name == "max.message.bytes");
        TopicInfo {
            partitions: self.creation.partitions.unwrap_or(1),
            max_message_bytes: limit.and_then(|(_, bytes)| bytes.parse().ok()),
            exists: false,
        }
    }

    async fn create(&self, name: &str) -> Result<(), TopicProblem> {
        match self
            .cluster
            .create(name, &self.creation, Creation::Real)
            .await
        {
            Ok(Ok(())) => {
                tracing::info!(topic = name, "topic created");
                Ok(())
            }
            // Another instance was faster.
            Ok(Err(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Ok(Err(code)) => Err(TopicProblem::not_created(name, code, &self.creation)),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn unreachable(&self, error: &rdkafka::error::KafkaError) -> TopicProblem {
        TopicProblem::Unreachable(self.cluster.why(error))
    }

    /// Waits until the topic can be written to, however long that takes, and stores what was learned
    /// of it. Says what it waits for once, and once when that changes.
    pub async fn wait_for(&self, topic: &Topic, waits: &Waits) {
        let waiting = waits.begin(Awaited::Topic(topic.name().into()));
        let mut pause = Duration::from_millis(250);
        let mut said = None;
        loop {
            match self.ensure_one(topic.name()).await {
                Ok(info) => {
                    topic.learned(info.partitions, info.max_message_bytes);
                    if said.is_some() {
                        tracing::info!(topic = topic.name(), "topic is ready, going on");
                    }
                    return;
                }
                Err(problem) => {
                    if said.as_ref() != Some(&problem) {
                        tracing::warn!(topic = topic.name(), error = %problem, "waiting for a topic");
                        waiting.because(problem.to_string());
                        said = Some(problem);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The first of these that the brokers say does not exist; none where they do not answer.
    pub async fn missing(&self, names: impl Iterator<Item = &str>) -> Option<String> {
        for name in names {
            match self.cluster.look(name).await {
                Ok(State::Missing) => return Some(name.to_owned()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Looks again at topics in use, as limits and partitions change while running, and returns a
    /// sentence for each that has grown. To be called every few minutes; what cannot be looked at
    /// now stays as it was.
    pub async fn refresh(&self, topics: &[Arc<Topic>]) -> Vec<String> {
        let mut notices = Vec::new();
        for topic in topics {
            let Some(before) = topic.partitions() else {
                continue;
            };
            let Ok(State::Ready { partitions }) = self.cluster.look(topic.name()).await else {
                continue;
            };
            let limit = self.cluster.max_message_bytes(topic.name()).await;
            topic.learned(partitions, limit.or(topic.max_message_bytes()));
            notices.extend(grown(topic.name(), before, partitions));
        }
        notices
    }
}

/// The warning for a partition count that is not what it was.
pub fn grown(topic: &str, before: i32, now: i32) -> Option<String> {
    (now != before).then(|| {
        format!(
            "topic {topic} had {before} partitions and now has {now}: keys move to other \
             partitions, and across that moment only tw-seq tells the order of a document's records"
        )
    })
}
