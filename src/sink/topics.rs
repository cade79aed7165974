//! Topics: whether they exist and may be written, making those that do not, and their limits.
//!
//! The clients' own auto-creation is off: a topic that a broker makes up has neither the partitions
//! nor the settings that were asked for. What can never be made is the fault of the event that needs it;
//! what is missing or forbidden may still be made or allowed, and is waited for and reported, or by
//! `ON_MISSING_TOPIC` treated as if it never could.

mod ahead;
mod check;
mod cluster;
mod many;
mod problem;

pub use ahead::{Ahead, MOST as MOST_AHEAD};
pub use check::{check, check_jobs};
pub use problem::TopicProblem;

use crate::config::{Kafka, OnMissingTopic, TopicCreation};
use crate::error::Error;
use crate::log::event_id;
use crate::preflight::Finding;
use crate::route::{TimeLimits, Topic};
use crate::status::waiting::{Awaited, Waits};
pub use cluster::Cluster;
use cluster::{Creation, Limits, State};
use futures_util::StreamExt;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long brokers may take to answer at all.
const REACH_PATIENCE: Duration = Duration::from_secs(10);

/// How long a topic may take from its creation to a leader for each partition.
const LEADER_PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at a topic that is about to be ready: the first pause, which doubles, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SOON: Duration = Duration::from_millis(50);

/// How long records are refused for a topic before it is looked at again: each look costs some questions,
/// and each record would ask them.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where a look costs a producer, the longest time between two.
const LONGEST_REFUSAL: Duration = Duration::from_secs(300);

/// Longest pause between two looks at a topic that somebody else must see to.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the brokers say of a topic that can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicInfo {
    pub partitions: i32,
    /// The topic's `max.message.bytes`; `None` where describing it is not permitted.
    pub max_message_bytes: Option<usize>,
    /// How far from now its records may be, where that is bounded and known.
    pub times: TimeLimits,
    /// False in a dry run, for a topic that would be made.
    pub exists: bool,
}

impl TopicInfo {
    /// Stores what was learned of a topic.
    fn tell(&self, topic: &Topic) {
        topic.learned_times(self.times);
        topic.learned(self.partitions, self.max_message_bytes);
    }
}

impl Refusal {
    fn of(problem: TopicProblem, pause: Duration) -> Self {
        Self {
            problem,
            pause,
            again: Instant::now() + pause,
        }
    }
}

/// How many topics are looked at side by side.
const AT_ONCE: usize = 8;

/// The administrator's view of one Kafka cluster. Connects when first used.
#[derive(Debug)]
pub struct Topics {
    cluster: Arc<Cluster>,
    creation: TopicCreation,
    may_compress: bool,
    is_dry_run: bool,
    /// Topics that records are refused for without asking again, for a while.
    refused: Mutex<HashMap<String, Refusal>>,
    /// What a dry run would have made.
    would_be: Mutex<BTreeSet<String>>,
}

/// Why a topic takes no records, until it is looked at again.
#[derive(Debug)]
struct Refusal {
    problem: TopicProblem,
    pause: Duration,
    again: Instant,
}

impl Topics {
    /// Sets up the clients; nothing is asked yet.
    ///
    /// # Errors
    /// [`Code::Config`](crate::error::Code::Config) when librdkafka refuses a property.
    pub fn new(kafka: &Kafka) -> Result<Self, Error> {
        Ok(Self::through(Arc::new(Cluster::new(kafka)?), kafka))
    }

    /// As [`new`](Self::new), through clients that several share.
    pub fn through(cluster: Arc<Cluster>, kafka: &Kafka) -> Self {
        let compression = ["compression.type", "compression.codec"];
        Self {
            cluster,
            creation: kafka.creation.clone(),
            may_compress: kafka
                .properties
                .iter()
                .any(|(name, value)| compression.contains(&name.as_str()) && value != "none"),
            is_dry_run: kafka.dry_run,
            refused: Mutex::default(),
            would_be: Mutex::default(),
        }
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
        let looks = futures_util::stream::iter(topics.to_vec())
            .map(|topic| async move {
                let look = self.ensure_one(topic.name()).await;
                (topic, look)
            })
            .buffered(AT_ONCE);
        let mut looks = std::pin::pin!(looks);
        while let Some((topic, look)) = looks.next().await {
            match look {
                Ok(info) => {
                    info.tell(&topic);
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
        let mut pause = FIRST_LOOK;
        loop {
            let problem = match self.cluster.look(name).await {
                Ok(State::Ready { partitions }) => {
                    let limits = self.cluster.limits(name).await.unwrap_or_default();
                    return Ok(TopicInfo {
                        partitions,
                        max_message_bytes: limits.max_message_bytes,
                        times: limits.times,
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
                Ok(State::Illegal) => {
                    return Err(self.not_created(name, RDKafkaErrorCode::InvalidTopic).await);
                }
                Ok(State::Missing) if !self.creation.enabled => {
                    return Err(self.not_there(name).await);
                }
                Ok(State::Missing) if self.is_dry_run => {
                    self.would_make(name)?;
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
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SOON);
        }
    }

    /// What a topic that a dry run does not make would be, as far as the configuration says.
    fn as_it_would_be(&self) -> TopicInfo {
        let limits = Limits::of(|name| {
            let mut settings = self.creation.config.iter();
            let found = settings.rfind(|(setting, _)| setting == name);
            found.map(|(_, value)| value.clone())
        });
        TopicInfo {
            partitions: self.creation.partitions.unwrap_or(1),
            max_message_bytes: limits.max_message_bytes,
            times: limits.times,
            exists: false,
        }
    }

    /// Takes note of what a dry run does not make: the brokers cannot tell that two such names clash.
    fn would_make(&self, name: &str) -> Result<(), TopicProblem> {
        let mut names = self.would_be.lock().unwrap_or_else(PoisonError::into_inner);
        let metric_name = name.replace('.', "_");
        let clash = |other: &&String| *other != name && other.replace('.', "_") == metric_name;
        if let Some(other) = names.iter().find(clash) {
            return Err(TopicProblem::Clash {
                name: name.to_owned(),
                other: other.clone(),
            });
        }
        names.insert(name.to_owned());
        Ok(())
    }

    /// The problem of a topic that is not there and may not be made: whether it ever could be.
    async fn not_there(&self, name: &str) -> TopicProblem {
        let name = name.to_owned();
        match self.cluster.clashing(&name).await {
            Ok(Some(other)) => TopicProblem::Clash { name, other },
            Ok(None) => TopicProblem::Missing { name },
            Err(error) => self.unreachable(&error),
        }
    }

    /// The problem of a topic that the broker did not make.
    async fn not_created(&self, name: &str, code: RDKafkaErrorCode) -> TopicProblem {
        if code == RDKafkaErrorCode::InvalidTopic
            && let Ok(Some(other)) = self.cluster.clashing(name).await
        {
            let name = name.to_owned();
            return TopicProblem::Clash { name, other };
        }
        TopicProblem::not_created(name, code, &self.creation)
    }

    async fn create(&self, name: &str) -> Result<(), TopicProblem> {
        match self
            .cluster
            .create(name, &self.creation, Creation::Real)
            .await
        {
            Ok(Ok(())) => {
                tracing::info!(
                    event_id = event_id::TOPIC_CREATED,
                    topic = name,
                    "topic created"
                );
                Ok(())
            }
            // Another instance was faster.
            Ok(Err(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Ok(Err(code)) => Err(self.not_created(name, code).await),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    fn unreachable(&self, error: &rdkafka::error::KafkaError) -> TopicProblem {
        TopicProblem::Unreachable(self.cluster.why(error))
    }

    /// Why records of a topic are refused, as it was found a moment ago; none when it is time to look.
    pub fn refusal(&self, name: &str) -> Option<TopicProblem> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refused.get(name).filter(|it| Instant::now() < it.again)?;
        Some(refusal.problem.clone())
    }

    /// Refuses the records of a topic that may be seen and not be written to, for longer each time: only a
    /// record, and the end of its producer, tells whether that has changed.
    pub fn refuse_writes(&self, name: &str) {
        let problem = TopicProblem::Forbidden {
            name: name.to_owned(),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = refused.get(name).filter(|it| it.problem == problem);
        let pause = before.map_or(LOOK_AGAIN, |it| (it.pause * 2).min(LONGEST_REFUSAL));
        refused.insert(name.to_owned(), Refusal::of(problem, pause));
    }

    /// Waits until the topic can be written to, however long that takes, and stores what was learned
    /// of it. Says what it waits for once, and once when that changes.
    ///
    /// # Errors
    /// What can never be made; under [`OnMissingTopic::RecordError`] also what could be. The next call finds
    /// out anew; [`refusal`](Self::refusal) spares it for a while.
    pub async fn wait_for(
        &self,
        topic: &Topic,
        policy: OnMissingTopic,
        waits: &Waits,
    ) -> Result<(), TopicProblem> {
        let waiting = waits.begin(Awaited::Topic(topic.name().into()));
        let mut pause = Duration::from_millis(250);
        let mut said = None;
        loop {
            match self.ensure_one(topic.name()).await {
                Ok(info) => {
                    info.tell(topic);
                    if said.is_some() {
                        tracing::info!(
                            topic = topic.name(),
                            "the topic is ready; the stream continues"
                        );
                    }
                    return Ok(());
                }
                Err(problem)
                    if problem.is_for_good()
                        || (policy == OnMissingTopic::RecordError && problem.is_missing()) =>
                {
                    let refusal = Refusal::of(problem.clone(), LOOK_AGAIN);
                    let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.insert(topic.name().to_owned(), refusal);
                    return Err(problem);
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

    /// The first of these that the brokers say does not exist.
    ///
    /// # Errors
    /// When they do not answer.
    pub async fn missing(
        &self,
        names: impl Iterator<Item = &str>,
    ) -> Result<Option<String>, KafkaError> {
        for name in names {
            if self.cluster.look(name).await? == State::Missing {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
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
            // Where they may not be read, what refusals have taught is forgotten: it may have changed.
            let limits = self.cluster.limits(topic.name()).await.unwrap_or_default();
            topic.learned(partitions, limits.max_message_bytes);
            topic.learned_times(limits.times);
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
