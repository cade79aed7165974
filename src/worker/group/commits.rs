//! How far partitions are: what is committed of them, and what was.

use super::context::Context;
use super::{Shared, lock};
use crate::kafka::client;
use crate::kafka::commit::commit;
use crate::worker::assigned::Assigned;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the group's coordinator may take to say what is committed, while partitions wait for that.
const ANSWER: Duration = Duration::from_secs(2);

impl Shared {
    /// Commits how far each partition is, where that has moved.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Context>, mode: CommitMode) {
        self.commit_these(consumer, &self.all(), mode);
    }

    pub(super) fn commit_these(
        &self,
        consumer: &BaseConsumer<Context>,
        these: &[Arc<Assigned>],
        mode: CommitMode,
    ) {
        let mut list = TopicPartitionList::new();
        for assigned in these {
            if let Some(next) = assigned.to_commit() {
                let (topic, partition) = (&assigned.topic, assigned.partition);
                // Offsets come from Kafka itself, and are valid.
                let _ = list.add_partition_offset(topic, partition, Offset::Offset(next));
            }
        }
        if list.count() == 0 {
            return;
        }
        let committed = match mode {
            CommitMode::Async => commit(consumer, &list).map(|()| {
                // Until it is told of, no transaction overtakes it.
                self.committing.fetch_add(1, Ordering::Relaxed);
            }),
            CommitMode::Sync => consumer.commit(&list, mode),
        };
        match committed {
            Ok(()) if matches!(mode, CommitMode::Sync) => self.note_committed(&list),
            Ok(()) => {}
            Err(error) => self.not_committed(&list, &error),
        }
    }

    pub(super) fn note_committed(&self, list: &TopicPartitionList) {
        let assigned = lock(&self.assigned);
        for element in list.elements() {
            let place = (element.topic().to_owned(), element.partition());
            if let Some(assigned) = assigned.get(&place) {
                assigned.note_committed();
            }
        }
    }

    pub(super) fn not_committed(&self, list: &TopicPartitionList, error: &KafkaError) {
        for element in list.elements() {
            let place = (element.topic().to_owned(), element.partition());
            if let Some(assigned) = lock(&self.assigned).get(&place) {
                assigned.not_committed();
            }
        }
        use RDKafkaErrorCode as E;
        if let Some(
            E::IllegalGeneration | E::UnknownMemberId | E::RebalanceInProgress | E::AssignmentLost,
        ) = error.rdkafka_error_code()
        {
            // Partitions are being given away: what stays is committed again, and the rest is another's.
            return;
        }
        client::log_error(error, "committing what is done");
        let sentence = format!(
            "what is done cannot be committed, and would be repeated after a crash: {}",
            client::describe(error)
        );
        self.board.wait("commit", sentence);
    }

    /// Where the group reads these on: to tell what was deleted before that. Without an answer that is not told.
    pub(super) fn committed(
        consumer: &BaseConsumer<Context>,
        list: &TopicPartitionList,
    ) -> Option<BTreeMap<(String, i32), i64>> {
        if list.count() == 0 {
            return None;
        }
        let asked = consumer.committed_offsets(list.clone(), ANSWER);
        let asked = asked.inspect_err(|error| {
            client::log_error(error, "asking what is committed of what the group assigns");
        });
        let asked = asked.ok()?;
        let each = asked.elements().into_iter().filter_map(|element| {
            let place = (element.topic().to_owned(), element.partition());
            match element.offset() {
                Offset::Offset(next) => Some((place, next)),
                _ => None,
            }
        });
        Some(each.collect())
    }
}
