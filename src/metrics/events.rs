//! Counts by namespace and operation, for one pump: kept as plain numbers and handed to the shared
//! counters once a reply, so that an event costs a comparison and two additions.

use super::Metrics;
use crate::change::event::{Event, Operation};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How many namespaces get labels of their own in one process; those beyond are counted as `other`.
pub const MOST_NAMESPACES: usize = 500;
/// The label's value beyond the limit.
pub const OTHER: &str = "other";

const OPERATIONS: usize = 10;

/// What came from one database.
#[derive(Debug, Default)]
pub struct Tally {
    pub events: AtomicU64,
    /// When its last event was read, ms since the Unix epoch.
    pub last_millis: AtomicI64,
}

/// What is counted by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    pub database: String,
    pub collection: String,
    pub operation: &'static str,
}

/// Events, their bytes, and the bytes of their records, as they are told beside the metrics.
#[derive(Debug, Default)]
pub struct Seen([AtomicU64; 3]);

impl Seen {
    fn add(&self, counts: [u64; 3]) {
        for (sum, count) in self.0.iter().zip(counts) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn all(&self) -> [u64; 3] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// The counts since the last [`flush`](Self::flush), and the counters they belong to.
#[derive(Debug, Default)]
pub struct EventCounts {
    namespaces: Vec<Namespace>,
    /// Place in `namespaces` by `database.collection`, with a NUL between the two.
    indexes: HashMap<Vec<u8>, usize, foldhash::fast::RandomState>,
    lookup: Vec<u8>,
    /// Where the last event was counted: mostly the next is of the same index.
    current: usize,
    touched: Vec<usize>,
}

#[derive(Debug)]
struct Namespace {
    database: String,
    collection: String,
    is_touched: bool,
    operations: [Option<Counts>; OPERATIONS],
    last: usize,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Counts {
    counters: Counters,
    events: u64,
    event_bytes: u64,
    record_bytes: u64,
}

/// The shared counters of one namespace and operation.
#[derive(Debug, Clone)]
pub struct Counters {
    pub seen: Arc<Seen>,
    pub events: metrics::Counter,
    pub event_bytes: metrics::Counter,
    pub record_bytes: metrics::Counter,
}

impl EventCounts {
    /// Counts an event that was read.
    pub fn event(&mut self, metrics: &Metrics, event: &Event<'_>) {
        let collection = event.counted_for();
        let is_current = self
            .namespaces
            .get(self.current)
            .is_some_and(|n| n.collection == collection && n.database == event.database);
        if !is_current {
            self.current = self.index(metrics, event);
        }
        let namespace = &mut self.namespaces[self.current];
        if !namespace.is_touched {
            namespace.is_touched = true;
            self.touched.push(self.current);
        }
        let (index, operation) = operation(event.operation);
        namespace.last = index;
        let counts = namespace.operations[index].get_or_insert_with(|| Counts {
            counters: metrics.counters_of(&namespace.database, &namespace.collection, operation),
            events: 0,
            event_bytes: 0,
            record_bytes: 0,
        });
        counts.events += 1;
        counts.event_bytes += event.raw.len() as u64;
    }

    /// Counts a record made of the last event.
    pub fn record(&mut self, bytes: usize) {
        if let Some(namespace) = self.namespaces.get_mut(self.current)
            && let Some(counts) = &mut namespace.operations[namespace.last]
        {
            counts.record_bytes += bytes as u64;
        }
    }

    /// Hands what was counted to the shared counters.
    pub fn flush(&mut self) {
        let now = jiff::Timestamp::now().as_millisecond();
        for index in self.touched.drain(..) {
            let namespace = &mut self.namespaces[index];
            namespace.is_touched = false;
            namespace.tally.last_millis.store(now, Ordering::Relaxed);
            for counts in namespace.operations.iter_mut().flatten() {
                let Counts { counters, .. } = counts;
                let events = std::mem::take(&mut counts.events);
                let event_bytes = std::mem::take(&mut counts.event_bytes);
                let record_bytes = std::mem::take(&mut counts.record_bytes);
                namespace.tally.events.fetch_add(events, Ordering::Relaxed);
                counters.seen.add([events, event_bytes, record_bytes]);
                counters.events.increment(events);
                counters.event_bytes.increment(event_bytes);
                counters.record_bytes.increment(record_bytes);
            }
        }
    }

    fn index(&mut self, metrics: &Metrics, event: &Event<'_>) -> usize {
        self.lookup.clear();
        self.lookup.extend_from_slice(event.database.as_bytes());
        // Neither name may hold a NUL.
        self.lookup.push(0);
        self.lookup
            .extend_from_slice(event.counted_for().as_bytes());
        if let Some(index) = self.indexes.get(&self.lookup) {
            return *index;
        }
        let is_full = self.namespaces.len() >= MOST_NAMESPACES;
        let (database, collection) = match is_full {
            true => (OTHER, OTHER),
            false => (event.database, event.counted_for()),
        };
        if is_full
            && let Some(index) = self
                .namespaces
                .iter()
                .position(|n| n.database == OTHER && n.collection == OTHER)
        {
            return index;
        }
        self.namespaces.push(Namespace {
            database: database.to_owned(),
            collection: collection.to_owned(),
            is_touched: false,
            operations: [const { None }; OPERATIONS],
            last: 0,
            tally: metrics.tally_of(database),
        });
        let index = self.namespaces.len() - 1;
        if !is_full {
            self.indexes.insert(self.lookup.clone(), index);
        }
        index
    }
}

impl Drop for EventCounts {
    fn drop(&mut self) {
        self.flush();
    }
}

/// An operation's index and label. Expanded events share one label, as their names are not bounded.
fn operation(operation: Operation) -> (usize, &'static str) {
    match operation {
        Operation::Insert => (0, "insert"),
        Operation::Update => (1, "update"),
        Operation::Replace => (2, "replace"),
        Operation::Delete => (3, "delete"),
        Operation::Drop => (4, "drop"),
        Operation::Rename => (5, "rename"),
        Operation::DropDatabase => (6, "dropDatabase"),
        Operation::Invalidate => (7, "invalidate"),
        Operation::Other => (8, OTHER),
        Operation::Read => (9, "read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    fn event(collection: &str, operation: &str) -> RawDocumentBuf {
        RawDocumentBuf::try_from(&doc! {
            "_id": {"_data": "82"}, "operationType": operation,
            "ns": {"db": "shop", "coll": collection},
        })
        .unwrap()
    }

    #[test]
    fn events_are_counted_by_namespace_and_operation_when_flushed() {
        let metrics = Metrics::new(&Arc::default(), "shop");
        let mut counts = EventCounts::default();
        for (collection, operation) in [("a", "insert"), ("b", "insert"), ("a", "delete")] {
            let raw = event(collection, operation);
            counts.event(&metrics, &Event::parse(raw.as_bytes()).unwrap());
            counts.record(10);
        }
        assert!(
            metrics
                .databases()
                .iter()
                .all(|(_, events, _)| *events == 0)
        );
        let line = "tailwater_events_total{stream=\"shop\",database=\"shop\",collection=\"a\",operation=\"insert\"}";
        assert!(!metrics.registry().recorded().contains(&format!("{line} 1")));
        counts.flush();
        let databases = metrics.databases();
        assert_eq!(databases.len(), 1);
        assert_eq!((databases[0].0.as_str(), databases[0].1), ("shop", 3));
        let text = metrics.registry().recorded();
        assert!(text.contains(&format!("{line} 1")), "{text}");
        let bytes = "tailwater_record_bytes_total{stream=\"shop\",database=\"shop\",collection=\"a\",operation=\"delete\"} 10";
        assert!(text.contains(bytes), "{text}");
    }

    #[test]
    fn namespaces_beyond_the_limit_share_one_label() {
        let metrics = Metrics::new(&Arc::default(), "shop");
        let mut counts = EventCounts::default();
        for number in 0..MOST_NAMESPACES + 40 {
            let raw = event(&format!("c{number}"), "insert");
            counts.event(&metrics, &Event::parse(raw.as_bytes()).unwrap());
        }
        counts.flush();
        let text = metrics.registry().recorded();
        let series = text.matches("tailwater_events_total{").count();
        assert_eq!(series, MOST_NAMESPACES + 1);
        assert!(text.contains(
            "tailwater_events_total{stream=\"shop\",database=\"other\",collection=\"other\",operation=\"insert\"} 40"
        ));
    }
}
