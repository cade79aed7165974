//! Topics that were deleted and made again under the same name.
//!
//! librdkafka reads on where it was in the former one, and begins anew only where there is nothing: of a new one that is
//! longer by then it passes over the first records (its source says so, at `different_topic_id`). So which topic it is
//! is asked again and again, and another one is read from its beginning.

use super::context::Context;
use super::{Event, Shared, lock};
use crate::kafka::client;
use crate::worker::assigned::Assigned;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the client may take to read a partition from somewhere else.
const SEEK: Duration = Duration::from_secs(1);

impl Shared {
    /// What is known of the former topic is of no use.
    pub(super) fn begin_anew(&self, former: &Arc<Assigned>) -> Arc<Assigned> {
        if let Some(count) = former.all_lost() {
            self.tell_made_again(former, count);
        }
        former.void();
        let _ = self
            .events
            .blocking_send(Event::Revoked(Arc::clone(former)));
        let new = Arc::new(Assigned::anew(&former.topic, former.partition));
        let place = (former.topic.clone(), former.partition);
        lock(&self.assigned).insert(place, Arc::clone(&new));
        new
    }

    /// Reads the partitions of a topic from their beginnings: it is another one since then.
    pub(super) fn read_anew(&self, consumer: &BaseConsumer<Context>, topic: &str, since: Instant) {
        for former in self.all() {
            // Its offsets may have told that already.
            if former.topic != topic || former.is_anew_since(since) {
                continue;
            }
            // Where that was deleted meanwhile, it begins with what is there.
            let sought = consumer.seek(topic, former.partition, Offset::Offset(0), SEEK);
            if let Err(error) = sought {
                client::log_error(&error, "reading a topic from its beginning");
                // It is tried again, unless the partition is another's by then.
                lock(&self.others).insert(topic.to_owned(), since);
                continue;
            }
            self.begin_anew(&former);
            // One that held as much as it may is not read otherwise.
            let mut list = TopicPartitionList::new();
            list.add_partition(topic, former.partition);
            if let Err(error) = consumer.resume(&list) {
                client::log_error(&error, "resuming a partition");
            }
        }
    }
}
