//! Counts of records by topic, for one pump: kept as plain numbers and handed over once a reply, as those of events are.

use super::events::OTHER;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many topics of a stream are counted by themselves; those beyond are counted as `other`.
pub const MOST_TOPICS: usize = 500;

/// What was produced to one topic since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    pub topic: String,
    pub records: u64,
    pub bytes: u64,
    /// When the last one was, in ms since the Unix epoch.
    pub last_millis: i64,
}

#[derive(Debug, Default)]
struct Sums {
    records: AtomicU64,
    bytes: AtomicU64,
    last_millis: AtomicI64,
}

/// The topics of a stream, for as long as the process runs.
#[derive(Debug, Default)]
pub(super) struct ByTopic(Mutex<BTreeMap<String, Arc<Sums>>>);

impl ByTopic {
    fn sums_of(&self, topic: &str) -> Arc<Sums> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(topic) {
            return Arc::clone(known);
        }
        let name = match all.len() < MOST_TOPICS {
            true => topic,
            false => OTHER,
        };
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    pub(super) fn all(&self) -> Vec<Produced> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let produced = |(topic, sums): (&String, &Arc<Sums>)| Produced {
            topic: topic.clone(),
            records: sums.records.load(Ordering::Relaxed),
            bytes: sums.bytes.load(Ordering::Relaxed),
            last_millis: sums.last_millis.load(Ordering::Relaxed),
        };
        all.iter().map(produced).collect()
    }
}

/// The counts since the last [`flush`](Self::flush), by the topics' numbers.
#[derive(Debug)]
pub struct TopicCounts {
    all: Arc<ByTopic>,
    counts: Vec<Option<Counts>>,
    touched: Vec<usize>,
}

#[derive(Debug)]
struct Counts {
    sums: Arc<Sums>,
    records: u64,
    bytes: u64,
}

impl TopicCounts {
    pub(super) fn of(all: &Arc<ByTopic>) -> Self {
        Self {
            all: Arc::clone(all),
            counts: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Counts a record that was produced to the topic of this number; its name is asked for once.
    #[inline]
    pub fn record<'a>(&mut self, number: usize, name: impl FnOnce() -> &'a str, bytes: usize) {
        let Some(Some(counts)) = self.counts.get_mut(number) else {
            self.begin(number, name(), bytes);
            return;
        };
        if counts.records == 0 {
            self.touched.push(number);
        }
        counts.records += 1;
        counts.bytes += bytes as u64;
    }

    #[cold]
    fn begin(&mut self, number: usize, name: &str, bytes: usize) {
        if self.counts.len() <= number {
            self.counts.resize_with(number + 1, || None);
        }
        self.touched.push(number);
        self.counts[number] = Some(Counts {
            sums: self.all.sums_of(name),
            records: 1,
            bytes: bytes as u64,
        });
    }

    /// Hands over what was counted.
    pub fn flush(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let now = jiff::Timestamp::now().as_millisecond();
        for number in self.touched.drain(..) {
            let Some(counts) = &mut self.counts[number] else {
                continue;
            };
            let records = std::mem::take(&mut counts.records);
            let bytes = std::mem::take(&mut counts.bytes);
            counts.sums.records.fetch_add(records, Ordering::Relaxed);
            counts.sums.bytes.fetch_add(bytes, Ordering::Relaxed);
            counts.sums.last_millis.store(now, Ordering::Relaxed);
        }
    }
}

impl Drop for TopicCounts {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_topic_over_the_lives_of_producers() {
        let all = Arc::default();
        for _ in 0..2 {
            let mut counts = TopicCounts::of(&all);
            for (number, name) in [(1, "b"), (0, "a"), (1, "b")] {
                counts.record(number, || name, 10);
            }
            counts.flush();
            counts.record(1, || panic!("its name is known"), 5);
        }
        let said: Vec<_> = all
            .all()
            .into_iter()
            .map(|one| (one.topic, one.records, one.bytes))
            .collect();
        assert_eq!(said, [("a".to_owned(), 2, 20), ("b".to_owned(), 6, 50)]);
        assert!(all.all().iter().all(|one| one.last_millis > 0));
    }

    #[test]
    fn topics_beyond_the_limit_are_counted_together() {
        let all = Arc::default();
        let mut counts = TopicCounts::of(&all);
        for number in 0..MOST_TOPICS + 3 {
            counts.record(
                number,
                || Box::leak(format!("t{number:04}").into_boxed_str()),
                1,
            );
        }
        counts.flush();
        let told = all.all();
        assert_eq!(told.len(), MOST_TOPICS + 1);
        assert_eq!((told[0].topic.as_str(), told[0].records), (OTHER, 3));
    }
}
