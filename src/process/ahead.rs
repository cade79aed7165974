//! Topics of templates, made before the stream is opened: one by one, as events come, each would hold up the
//! stream for as long as Kafka takes to make it.

use crate::change::namespace::Namespace;
use crate::config::Config;
use crate::mongo::describe::describe;
use crate::preflight::Finding;
use crate::route::Router;
use crate::sink::topics::{MOST_AHEAD, Topics};
use crate::source::{Filter, collections};
use mongodb::Client;
use std::time::Duration;

/// How long the list of the collections may take: the stream does not depend on it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether topics depend on the collections that are there. Where stages of the user's decide which of them have
/// events, nobody here knows: their topics are made at their first event.
pub(super) fn is_wanted(config: &Config) -> bool {
    let topics = &config.kafka.topics;
    let always = [
        &topics.insert,
        &topics.update,
        &topics.replace,
        &topics.delete,
    ];
    let mut all = always.into_iter().chain(&topics.ddl);
    all.any(|topic| topic.contains('{')) && config.mongo.user_pipeline.is_empty()
}

/// The collections that events are expected of.
///
/// # Errors
/// The finding that they could not be listed.
pub(super) async fn collections(
    config: &Config,
    client: &Client,
) -> Result<Vec<Namespace>, Finding> {
    let filter = Filter::of(config);
    let listing = collections::watched(client, &config.mongo.scope, &filter);
    let why = match tokio::time::timeout(PATIENCE, listing).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(error)) => describe(&error),
        Err(elapsed) => elapsed.to_string(),
    };
    let sentence = format!(
        "the collections cannot be listed ({why}): each topic with placeholders is made at its first event"
    );
    Err(Finding::ok("kafka.topics", sentence))
}

/// Makes the topics of the collections that are there. Those that do not come about here do at their first
/// event.
pub(super) async fn make(config: &Config, client: &Client, router: &mut Router, topics: &Topics) {
    if !is_wanted(config) {
        return;
    }
    match collections(config, client).await {
        Ok(collections) => {
            let operations = Filter::of(config).operations();
            let ahead = router.topics_of(&collections, &operations, MOST_AHEAD);
            topics.make_ahead(&ahead).await;
        }
        Err(finding) => finding.log(),
    }
}
