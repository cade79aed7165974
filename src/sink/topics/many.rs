//! Questions about many topics in one request each.

use super::cluster::{ANSWER_PATIENCE, Cluster, Creation, Limits, State};
use crate::config::TopicCreation;
use rdkafka::admin::{
    AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::HashMap;
use std::time::Duration;

impl Cluster {
    /// Every topic of the cluster that this user may see.
    pub(super) async fn look_at_all(&self) -> Result<HashMap<String, State>, KafkaError> {
        self.blocking(|consumer| {
            let metadata = consumer.fetch_metadata(None, ANSWER_PATIENCE);
            while consumer.poll(Duration::ZERO).is_some() {}
            let metadata = metadata?;
            let states = metadata.topics().iter().filter_map(|topic| {
                // What is wrong with one of them is found out when it is asked about alone.
                let state = State::of(topic).ok()?;
                Some((topic.name().to_owned(), state))
            });
            Ok(states.collect())
        })
        .await?
    }

    /// Makes topics by one request, or asks whether that would be allowed. The inner results are the broker's,
    /// in the order of the names.
    pub(super) async fn create_all(
        &self,
        names: &[&str],
        wanted: &TopicCreation,
        creation: Creation,
    ) -> Result<Vec<Result<(), RDKafkaErrorCode>>, KafkaError> {
        // -1 leaves the choice to the broker.
        let replication = wanted.replication.unwrap_or(-1);
        let partitions = wanted.partitions.unwrap_or(-1);
        let topics = names.iter().map(|name| {
            let replication = TopicReplication::Fixed(replication);
            let topic = NewTopic::new(name, partitions, replication);
            let config = wanted.config.iter();
            config.fold(topic, |topic, (key, value)| topic.set(key, value))
        });
        let topics: Vec<_> = topics.collect();
        let options = AdminOptions::new()
            .request_timeout(Some(ANSWER_PATIENCE))
            .operation_timeout(Some(ANSWER_PATIENCE))
            .validate_only(creation == Creation::Trial);
        let asked = self.admin().create_topics(&topics, &options);
        let answers = self.answer(asked).await?;
        let mut refused: HashMap<String, RDKafkaErrorCode> =
            answers.into_iter().filter_map(Result::err).collect();
        let result = |name: &&str| refused.remove(*name).map_or(Ok(()), Err);
        Ok(names.iter().map(result).collect())
    }

    /// What the topics' effective settings say of their records, by one request; without those of which asking
    /// is not permitted.
    pub(super) async fn limits_of_all(&self, names: &[&str]) -> HashMap<String, Limits> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER_PATIENCE));
        let topics: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let asked = self.admin().describe_configs(&topics, &options);
        let described = self.answer(asked).await;
        let configs = described.into_iter().flatten().flatten();
        configs
            .filter_map(|config| {
                let OwnedResourceSpecifier::Topic(name) = &config.specifier else {
                    return None;
                };
                let value = |name: &str| config.get(name)?.value.clone();
                Some((name.clone(), Limits::of(value)))
            })
            .collect()
    }
}
