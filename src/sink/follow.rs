//! Following the ends of topics, to look at what comes.

use crate::config::Kafka;
use crate::error::Error;
use crate::kafka::client::{self, Logging};
use crate::kafka::reader;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = client::poll_wait(100);
/// How often is looked for topics that are new.
const LOOK: Duration = Duration::from_secs(5);

/// What comes.
#[derive(Debug)]
pub enum Followed<'a> {
    Record(&'a BorrowedMessage<'a>),
    /// Nothing for a moment: a time to see whether anybody still wants more.
    Nothing,
}

/// Hands over what is committed to topics from now on, until `each` breaks. A topic that is made meanwhile is read from its
/// beginning. Blocks.
///
/// # Errors
/// What Kafka says, where it ends the reading.
pub fn follow(
    kafka: &Kafka,
    is_meant: impl Fn(&str) -> bool,
    mut each: impl FnMut(Followed<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let failed = |error: &KafkaError| client::error("following the topics", error);
    let consumer = reader::reader(kafka, "tailwater-tail", false)?;
    let mut known = HashSet::new();
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            let from = match looked {
                None => Offset::End,
                Some(_) => Offset::Beginning,
            };
            take_up(&consumer, &is_meant, from, &mut known).map_err(|error| failed(&error))?;
            looked = Some(Instant::now());
        }
        let next = match consumer.poll(POLL) {
            Some(Ok(message)) => each(Followed::Record(&message)),
            Some(Err(error)) if client::ends_reading(&error) => return Err(failed(&error)),
            // The client continues by itself.
            Some(Err(_)) | None => each(Followed::Nothing),
        };
        if next.is_break() {
            return Ok(());
        }
    }
}

/// Takes up the partitions that are not read yet.
fn take_up(
    consumer: &BaseConsumer<Logging>,
    is_meant: impl Fn(&str) -> bool,
    from: Offset,
    known: &mut HashSet<(String, i32)>,
) -> Result<(), KafkaError> {
    let metadata = consumer.fetch_metadata(None, QUERY_TIMEOUT)?;
    let mut list = TopicPartitionList::new();
    for topic in metadata
        .topics()
        .iter()
        .filter(|topic| is_meant(topic.name()))
    {
        for partition in topic.partitions() {
            if known.insert((topic.name().to_owned(), partition.id())) {
                list.add_partition_offset(topic.name(), partition.id(), from)?;
            }
        }
    }
    match list.count() {
        0 => Ok(()),
        _ => consumer.incremental_assign(&list),
    }
}
