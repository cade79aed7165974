//! Topics of templates, made before the stream is opened: one by one, as events come, each would hold up the
//! stream for as long as Kafka takes to make it.

use crate::change::namespace::Namespace;
use crate::config::StreamSpec;
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
pub fn is_wanted(stream: &StreamSpec) -> bool {
    let topics = &stream.sink.topics;
    let always = [
        &topics.insert,
        &topics.update,
        &topics.replace,
        &topics.delete,
    ];
    let mut all = always.into_iter().chain(&topics.ddl);
    all.any(|topic| topic.contains('{')) && stream.source.user_pipeline.is_empty()
}

/// The collections that events are expected of.
///
/// # Errors
/// The finding that they could not be listed.
pub async fn collections(stream: &StreamSpec, client: &Client) -> Result<Vec<Namespace>, Finding> {
    let filter = Filter::of(stream);
    let listing = collections::watched(client, &stream.source.scope, &filter);
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
pub(super) async fn make(
    stream: &StreamSpec,
    client: &Client,
    router: &mut Router,
    topics: &Topics,
) {
    if !is_wanted(stream) {
        return;
    }
    match collections(stream, client).await {
        Ok(collections) => {
            let operations = Filter::of(stream).operations();
            let ahead = router.topics_of(&collections, &operations, MOST_AHEAD);
            topics.make_ahead(&ahead).await;
        }
        Err(finding) => finding.log(),
    }
}
