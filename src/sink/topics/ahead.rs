//! Many topics at once, before the events that need them: those of templates at the start, and those of one
//! reply while running.
//!
//! Nothing here fails or is waited for long. What is not ready afterwards is seen to, with all its reasons, when
//! its first event comes.

use super::cluster::{Creation, State};
use super::{LEADER_PATIENCE, TopicInfo, TopicProblem, Topics};
use crate::checkpoint::filter::list;
use crate::preflight::Finding;
use crate::route::Topic;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many topics are made ahead at most: what is beyond waits for its first event.
pub const MOST: usize = 10_000;

/// A controller refuses a request as a whole that makes more than about 10,000 partitions and settings.
const MOST_PER_REQUEST: usize = 5_000;

/// What a broker's own default may be, as far as the size of a request goes.
const USUAL_PARTITIONS: usize = 9;

/// How many topics are described by one request.
const DESCRIBED_PER_REQUEST: usize = 500;

/// How long the whole may take: a slow cluster must not keep the stream from its other topics.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at topics that were just made: the first pause, which doubles, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

const NAME: &str = "kafka.topics";

/// What became of topics that were seen to ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ahead {
    /// Those that were there.
    pub present: usize,
    pub created: usize,
    /// Those that Kafka does not make now.
    pub refused: usize,
    /// How many requests to create topics that took.
    pub requests: usize,
}

impl Topics {
    /// Makes those of these topics that are missing, where that is allowed, and learns what is to be known of
    /// all of them.
    pub async fn make_ahead(&self, topics: &[Arc<Topic>]) -> Ahead {
        let mut done = Ahead::default();
        if topics.is_empty() {
            return done;
        }
        let seen_to = tokio::time::timeout(PATIENCE, self.see_to(topics, &mut done)).await;
        match seen_to {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = self.cluster.why(&error);
                tracing::warn!(%error, "topics are not made ahead, each is made at its first event");
            }
            Err(_elapsed) => tracing::warn!(
                seconds = PATIENCE.as_secs(),
                "kafka takes long to make topics, the others are made at their first event"
            ),
        }
        done
    }

    async fn see_to(&self, topics: &[Arc<Topic>], done: &mut Ahead) -> Result<(), KafkaError> {
        let mut states = self.cluster.look_at_all().await?;
        let missing = self.missing_among(topics, &states);
        done.present = topics
            .iter()
            .filter(|topic| states.contains_key(topic.name()))
            .count();
        if self.creation.enabled && !self.is_dry_run && !missing.is_empty() {
            let created = self.create_missing(&missing, done).await?;
            states = self.once_ready(&created).await?;
        }
        let ready = topics
            .iter()
            .filter_map(|topic| match states.get(topic.name()) {
                Some(State::Ready { partitions }) => Some((topic, *partitions)),
                _ => None,
            });
        self.learn(&ready.collect::<Vec<_>>()).await;
        Ok(())
    }

    /// Those that are not there and that Kafka could make. Two names that differ only in `.` and `_` are left
    /// to their first events: which of the two gets its topic must not depend on this list, and in one request
    /// Kafka would make both.
    fn missing_among<'a>(
        &self,
        topics: &'a [Arc<Topic>],
        states: &HashMap<String, State>,
    ) -> Vec<&'a str> {
        let missing = topics.iter().map(|topic| topic.name());
        let missing: Vec<_> = missing
            .filter(|name| !states.contains_key(*name) && self.refusal(name).is_none())
            .collect();
        let names = states
            .keys()
            .map(String::as_str)
            .chain(missing.iter().copied());
        let (mut seen, mut taken) = (HashSet::new(), HashSet::new());
        for metric_name in names.map(metric_name) {
            if !seen.insert(metric_name.clone()) {
                taken.insert(metric_name);
            }
        }
        let is_free = |name: &&str| !taken.contains(&metric_name(name));
        missing.into_iter().filter(is_free).collect()
    }

    /// The names of those that were made.
    async fn create_missing<'a>(
        &self,
        missing: &[&'a str],
        done: &mut Ahead,
    ) -> Result<Vec<&'a str>, KafkaError> {
        let mut created = Vec::new();
        let mut refused = None;
        for names in missing.chunks(self.per_request()) {
            let answers = self
                .cluster
                .create_all(names, &self.creation, Creation::Real);
            let answers = answers.await?;
            done.requests += 1;
            for (name, answer) in names.iter().zip(answers) {
                match answer {
                    Ok(()) => created.push(*name),
                    // Another instance was faster, or this user may not see it.
                    Err(RDKafkaErrorCode::TopicAlreadyExists) => done.present += 1,
                    Err(code) => {
                        done.refused += 1;
                        refused.get_or_insert((*name, code));
                    }
                }
            }
        }
        done.created = created.len();
        let Ahead { requests, .. } = *done;
        if !created.is_empty() {
            let names: Vec<_> = created.iter().map(|name| (*name).to_owned()).collect();
            let (count, topics) = (created.len(), list(&names));
            tracing::info!(count, requests, topics, "topics created");
        }
        if let Some((name, code)) = refused {
            let error = TopicProblem::not_created(name, code, &self.creation);
            tracing::warn!(
                count = done.refused,
                %error,
                "kafka does not create some topics, each is asked for again at its first event"
            );
        }
        Ok(created)
    }

    fn per_request(&self) -> usize {
        let partitions = match self.creation.partitions {
            Some(partitions) => usize::try_from(partitions).unwrap_or(1),
            None => USUAL_PARTITIONS,
        };
        (MOST_PER_REQUEST / (1 + partitions + self.creation.config.len())).max(1)
    }

    /// The topics of the cluster once these have a leader for each partition, or that has taken too long.
    async fn once_ready(&self, names: &[&str]) -> Result<HashMap<String, State>, KafkaError> {
        let deadline = Instant::now() + LEADER_PATIENCE;
        let mut pause = FIRST_LOOK;
        loop {
            let states = self.cluster.look_at_all().await?;
            let is_ready = |name: &&str| matches!(states.get(*name), Some(State::Ready { .. }));
            if names.iter().all(is_ready) || Instant::now() >= deadline {
                return Ok(states);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    async fn learn(&self, ready: &[(&Arc<Topic>, i32)]) {
        for some in ready.chunks(DESCRIBED_PER_REQUEST) {
            let names: Vec<_> = some.iter().map(|(topic, _)| topic.name()).collect();
            let limits = self.cluster.limits_of_all(&names).await;
            for (topic, partitions) in some {
                let limits = limits.get(topic.name()).copied().unwrap_or_default();
                let info = TopicInfo {
                    partitions: *partitions,
                    max_message_bytes: limits.max_message_bytes,
                    times: limits.times,
                    exists: true,
                };
                info.tell(topic);
            }
        }
    }

    /// What [`make_ahead`](Self::make_ahead) would do. Nothing is made.
    pub(super) async fn would_make_ahead(&self, topics: &[Arc<Topic>]) -> Vec<Finding> {
        match self.trial(topics).await {
            Ok(findings) => findings,
            Err(error) => vec![self.cluster.why(&error).finding()],
        }
    }

    async fn trial(&self, topics: &[Arc<Topic>]) -> Result<Vec<Finding>, KafkaError> {
        let states = self.cluster.look_at_all().await?;
        let of_kind = |is_there: bool| {
            let names = topics.iter().map(|topic| topic.name());
            let names = names.filter(|name| states.contains_key(*name) == is_there);
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        let (present, missing) = (of_kind(true), of_kind(false));
        let mut findings = Vec::new();
        if !present.is_empty() {
            let sentence = format!("topics of templates that exist: {}", list(&present));
            findings.push(Finding::ok(NAME, sentence));
        }
        if !self.creation.enabled {
            if !missing.is_empty() {
                let sentence = format!(
                    "topics of templates that do not exist, and KAFKA_CREATE_TOPICS is false: {}",
                    list(&missing)
                );
                let finding = Finding::warn(NAME, sentence);
                findings.push(finding.remedy(
                    "create those that events will come for, or set KAFKA_CREATE_TOPICS=true",
                ));
            }
            return Ok(findings);
        }
        let (mut allowed, mut refused) = (Vec::new(), HashMap::new());
        let to_make = self.missing_among(topics, &states);
        for names in to_make.chunks(self.per_request()) {
            let answers = self
                .cluster
                .create_all(names, &self.creation, Creation::Trial);
            for (name, answer) in names.iter().zip(answers.await?) {
                match answer {
                    Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => {
                        allowed.push((*name).to_owned());
                    }
                    // One of each kind says it all.
                    Err(code) => {
                        refused.entry(code.to_string()).or_insert((*name, code));
                    }
                }
            }
        }
        if !allowed.is_empty() {
            let sentence = format!(
                "topics of templates that do not exist yet and will be created at the start: {}",
                list(&allowed)
            );
            findings.push(Finding::ok(NAME, sentence));
        }
        findings.extend(refused.into_values().map(|(name, code)| {
            let problem = TopicProblem::not_created(name, code, &self.creation);
            let finding = problem.finding();
            Finding {
                remedy: finding.remedy.clone(),
                ..Finding::warn(NAME, finding.sentence)
            }
        }));
        Ok(findings)
    }
}

/// The name as Kafka's metrics have it.
fn metric_name(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::route::Router;

    fn config(vars: &[(&str, &str)]) -> Config {
        let mut all = vec![
            ("MONGODB_URI", "mongodb://localhost/shop"),
            ("KAFKA_BROKERS", "localhost:1"),
        ];
        all.extend(vars);
        Config::from_vars(all).unwrap().config
    }

    #[test]
    fn of_names_that_kafka_cannot_tell_apart_none_is_made_ahead() {
        let names = [
            ("KAFKA_TOPIC_INSERT", "a.b"),
            ("KAFKA_TOPIC_UPDATE", "c_d"),
            ("KAFKA_TOPIC_DELETE", "e"),
        ];
        let config = config(&names);
        let topics = Topics::new(&config.kafka).unwrap();
        let all = Router::of(&config.streams[0]).unwrap().table().all();
        let there = |names: &[&str]| {
            let state = |name: &&str| ((*name).to_owned(), State::Ready { partitions: 1 });
            names.iter().map(state).collect::<HashMap<_, _>>()
        };
        let missing = |names: &[&str]| topics.missing_among(&all, &there(names));
        assert_eq!(missing(&[]), ["a.b", "c_d", "e"]);
        assert_eq!(missing(&["e", "c.d"]), ["a.b"]);
        let mut twice = all.clone();
        twice.push(Arc::clone(&all[0]));
        assert_eq!(topics.missing_among(&twice, &there(&[])), ["c_d", "e"]);
        topics.refuse_writes("e");
        assert_eq!(missing(&["a.b"]), ["c_d"], "refused a moment ago");
    }

    #[test]
    fn a_request_makes_no_more_than_a_controller_takes() {
        let per_request = |vars: &[(&str, &str)]| {
            let config = config(vars);
            Topics::new(&config.kafka).unwrap().per_request()
        };
        assert_eq!(per_request(&[]), 500);
        assert_eq!(per_request(&[("KAFKA_TOPIC_PARTITIONS", "1")]), 2_500);
        let much = [
            ("KAFKA_TOPIC_PARTITIONS", "9999"),
            ("KAFKA_TOPIC_CONFIG", "retention.ms=1"),
        ];
        assert_eq!(per_request(&much), 1);
    }
}
