//! Jobs that nobody will ever carry out, because their records are gone: nobody else would say so.
//!
//! What a topic held that was deleted and made again while no worker was there is not known: Kafka forgets what the group
//! has committed of it.

use super::{Shared, lock};
use crate::log::event_id;
use crate::worker::assigned::{Assigned, Lost};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a partition was given away its topic may be found to be gone: longer than it takes to look.
const AFTERWARDS: Duration = Duration::from_secs(15);

/// A partition that was given away while jobs waited in it.
#[derive(Debug)]
pub struct Left {
    assigned: Arc<Assigned>,
    at: Instant,
}

impl Shared {
    fn lost_event(&self, topic: &str) -> &'static str {
        match topic == self.parking.topic {
            true => event_id::RETRIES_LOST,
            false => event_id::JOBS_LOST,
        }
    }

    /// Records of a partition were deleted before they were read.
    pub(super) fn tell_expired(&self, assigned: &Assigned, lost: Lost) {
        let (topic, partition) = (&assigned.topic, assigned.partition);
        // A job in the topic of retries is written in a transaction, whose end is behind it: one offset is no job.
        if !lost.is_sure && *topic == self.parking.topic {
            return;
        }
        let (event_id, count) = (self.lost_event(topic), lost.count);
        match lost.is_sure {
            true => tracing::error!(
                event_id,
                topic,
                partition,
                count,
                "records of jobs were deleted before any worker of the group has read them: so many jobs are lost at most \
                 (ends of transactions are counted, too); raise retention.ms of the topic"
            ),
            false => tracing::warn!(
                event_id,
                topic,
                partition,
                count,
                "one record was deleted before any worker of the group has read it: a job is lost, unless that was the \
                 end of a transaction; if the topic is not written exactly once, raise its retention.ms"
            ),
        }
    }

    /// The topic was deleted and made again.
    pub(super) fn tell_made_again(&self, former: &Assigned, count: u64) {
        let (topic, partition) = (&former.topic, former.partition);
        if count == 0 {
            tracing::warn!(
                topic,
                partition,
                "the offsets of a partition begin anew, as those of a topic that was deleted and made again; as far as is \
                 known no job waited in it"
            );
            return;
        }
        tracing::error!(
            event_id = self.lost_event(topic),
            topic,
            partition,
            count,
            "the offsets of a partition begin anew, as those of a topic that was deleted and made again: the jobs that \
             waited in it are lost, so many as far as is known"
        );
    }

    /// What is given away may be found to be gone.
    pub(super) fn note_left(&self, assigned: &Arc<Assigned>) {
        let mut left = lock(&self.left);
        left.retain(|it| it.at.elapsed() < AFTERWARDS);
        left.push(Left {
            assigned: Arc::clone(assigned),
            at: Instant::now(),
        });
    }

    /// A partition is assigned: whether it was just before, too.
    pub(super) fn come_back(&self, assigned: &Assigned, committed: Option<i64>) {
        let mut left = lock(&self.left);
        let is_it = |it: &Left| {
            let former = &it.assigned;
            former.topic == assigned.topic && former.partition == assigned.partition
        };
        let Some(at) = left.iter().rposition(is_it) else {
            return;
        };
        let former = left.remove(at);
        drop(left);
        if former.at.elapsed() >= AFTERWARDS {
            return;
        }
        let is_other = former.assigned.is_committed() && committed.is_none();
        match is_other.then(|| former.assigned.all_lost()).flatten() {
            Some(count) => self.tell_made_again(&former.assigned, count),
            None => assigned.comes_after(&former.assigned),
        }
    }

    /// These topics were deleted.
    pub(super) fn tell_gone(&self, topics: &BTreeSet<String>) {
        let left: Vec<_> = std::mem::take(&mut *lock(&self.left));
        let left = left.into_iter().filter(|it| it.at.elapsed() < AFTERWARDS);
        let mut all: Vec<_> = self.all();
        all.extend(left.map(|it| it.assigned));
        for topic in topics {
            let partitions = all.iter().filter(|it| it.topic == *topic);
            let counts = partitions.filter_map(|it| Some((it.partition, it.all_lost()?)));
            let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
            if counts.is_empty() {
                tracing::warn!(
                    topic,
                    "a topic of jobs was deleted; none waited in the partitions that this worker had, as far as is known"
                );
            }
            for (partition, count) in counts {
                tracing::error!(
                    event_id = self.lost_event(topic),
                    topic,
                    partition,
                    count,
                    "a topic was deleted: the jobs that waited in it are lost, so many as far as is known"
                );
            }
        }
    }
}
