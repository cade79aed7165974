//! The producer of an incarnation, from its settings to its end.

use crate::checkpoint::committer::Checkpoints;
use crate::error::Error;
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::sink::producer::{Faults, Producer, Sizes};
use crate::sink::transaction;
use crate::stream::context::StreamContext;
use crate::tasks;
use std::sync::Arc;

/// Starts it, in transactions where positions are in them.
pub(super) fn start(
    context: &StreamContext,
    records: &Budget,
    checkpoints: &Checkpoints,
    tracker: &Arc<Tracker>,
) -> Result<Producer, Error> {
    let topics = context.router.table().all();
    let sizes = Sizes {
        budget: records.limit(),
        batch: topics.iter().filter_map(|t| t.max_message_bytes()).min(),
    };
    let transaction = match checkpoints {
        Checkpoints::Store(_) => None,
        Checkpoints::Transactions(leader) => Some(transaction::settings(
            leader,
            context.spec.pipeline.commit_interval,
        )),
    };
    Producer::start(
        &context.shared.kafka,
        sizes,
        transaction,
        Arc::clone(tracker),
        Arc::clone(context.board()),
    )
}

/// Sees to it that the producer has its connection and its id by the time of the first record.
pub(super) fn settle(context: &StreamContext, producer: &Producer) {
    let topics = context.router.table().all();
    let Some(topic) = topics
        .into_iter()
        .find(|topic| topic.partitions().is_some())
    else {
        return;
    };
    producer.settle_beside(topic.name().to_owned());
}

/// Waits for librdkafka's threads, which may take a moment.
pub(super) async fn purge(producer: Producer) -> Result<Faults, Error> {
    tasks::blocking("the kafka producer", move || producer.purge()).await
}
