//! Which topics are served: those that the streams' records of changes go to.

use super::change::Change;
use super::position;
use crate::config::{Config, Coordination, ResumeBackend, Scope, StreamSpec, covers};
use crate::error::{Code, Error};
use crate::kafka::client;
use crate::route::Template;
use rdkafka::client::{Client, ClientContext};
use std::time::Duration;

/// How long the brokers may take to name their topics.
const ANSWER: Duration = Duration::from_secs(10);

/// What is read, and what of it is served.
#[derive(Debug, Clone)]
pub struct Topics {
    patterns: Vec<String>,
    /// Topics of Tailwater's own.
    reserved: Vec<String>,
    /// The databases of the streams; none where the configuration does not say.
    scopes: Option<Vec<Scope>>,
}

/// A topic with its partitions.
pub type Found = (String, usize);

impl Topics {
    pub fn of(config: &Config, knows_source: bool) -> Self {
        let mut topics = Self {
            patterns: Vec::new(),
            reserved: Vec::new(),
            scopes: knows_source.then(|| {
                config
                    .streams
                    .iter()
                    .map(|it| it.source.scope.clone())
                    .collect()
            }),
        };
        for stream in &config.streams {
            topics.add(stream, knows_source);
        }
        if let Coordination::Kafka(group) = &config.coordination {
            topics.reserved.push(group.topic.clone());
        }
        topics.patterns.sort();
        topics.patterns.dedup();
        topics
    }

    fn add(&mut self, stream: &StreamSpec, knows_source: bool) {
        let database = match &stream.source.scope {
            Scope::Database(name) if knows_source => Some(name.as_str()),
            Scope::Database(_) | Scope::Deployment { .. } => None,
        };
        // What is no template was refused before.
        let templates = stream.sink.topics.of_records();
        let patterns = templates.filter_map(|it| Template::pattern(it, database));
        self.patterns.extend(patterns);
        self.reserved.extend(stream.sink.topics.dead_letter.clone());
        if let ResumeBackend::Kafka { topic } = &stream.resume.backend {
            self.reserved.push(topic.clone());
        }
    }

    /// Whether a change is one of the streams'.
    pub fn hold(&self, change: &Change) -> bool {
        let scopes = self.scopes.as_deref();
        scopes.is_none_or(|scopes| scopes.iter().any(|scope| scope.holds(&change.database)))
    }

    /// Those that are there now, with all their partitions. Blocks.
    ///
    /// # Errors
    /// When the brokers cannot say now; [`Code::Config`] where there are more than positions can name.
    pub fn find<C: ClientContext>(&self, client: &Client<C>) -> Result<Vec<Found>, Error> {
        let metadata = client.fetch_metadata(None, ANSWER);
        let metadata = metadata.map_err(|error| {
            client::error("looking for the topics that are served live", &error)
        })?;
        let mut found: Vec<Found> = Vec::new();
        for topic in metadata.topics() {
            let (name, partitions) = (topic.name(), topic.partitions().len());
            let is_ours = self.patterns.iter().any(|pattern| covers(pattern, name));
            let is_reserved = name.starts_with("__") || self.reserved.iter().any(|own| own == name);
            if is_ours && !is_reserved && partitions > 0 && topic.error().is_none() {
                found.push((name.to_owned(), partitions));
            }
        }
        found.sort();
        check(&found)?;
        Ok(found)
    }
}

fn check(found: &[Found]) -> Result<(), Error> {
    let partitions = found.iter().map(|(_, partitions)| partitions).sum();
    if !position::fits(found.len(), partitions) {
        let topics = found.len();
        return Err(Error::new(
            Code::Config,
            format!(
                "LIVE_ADDR: {topics} topics have {partitions} partitions, and a position must name each of them within \
                 {} bytes, which a client sends with a header; serve fewer: topics with fewer partitions, or a stream of \
                 one database",
                position::LONGEST
            ),
        ));
    }
    let mut hashes: Vec<_> = found
        .iter()
        .map(|(name, _)| (position::hash(name), name))
        .collect();
    hashes.sort();
    match hashes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::new(
            Code::Config,
            format!(
                "LIVE_ADDR: a position cannot tell the topics {} and {} apart; rename one",
                pair[0].1, pair[1].1
            ),
        )),
        None => Ok(()),
    }
}
