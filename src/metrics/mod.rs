//! What is counted and timed, for Prometheus. Names and meanings are in [`names`].
//!
//! What tasks count themselves goes through handles that are looked up once; what the board knows
//! anyway is read from it when somebody asks (`status::exposition`).

pub mod events;
mod flight;
mod kafka;
mod latency;
pub mod names;
pub(crate) mod process;
pub mod statistics;
pub mod topics;

use crate::flow::batch::ClosedBy;
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::EntryId;
use events::{Counted, Seen, Tally};
use flight::Flight;
pub(crate) use kafka::{KafkaClient, Totals};
use latency::Latencies;
pub use latency::Percentiles;
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use names::{Kind, Metric};
use statistics::Statistics;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use topics::{ByTopic, Produced, TopicCounts};

/// Seconds, from a millisecond to a minute.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Events of a batch, up to the largest `BATCH_SIZE`.
const EVENTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0, 100_000.0,
];
/// How often samples are put into their buckets: until then each takes some bytes of memory.
const UPKEEP: Duration = Duration::from_secs(1);

/// The registry of a process: every stream's series are in it.
#[derive(Debug)]
pub struct Registry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

/// Handles of everything that is counted where it happens, for one stream.
#[derive(Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// The value of the label `stream`.
    stream: String,
    batch_events: Histogram,
    closed: [Counter; ClosedBy::ALL.len()],
    latency: Histogram,
    ack_latency: Histogram,
    get_more: Histogram,
    checkpoint_seconds: Histogram,
    checkpoint_stored: Counter,
    checkpoint_failed: Counter,
    replaced: Counter,
    flight: Flight,
    /// Of acknowledgements, since it was last asked.
    recent: Latencies,
    /// By database, collection and operation.
    counted: Mutex<BTreeMap<Counted, Arc<Seen>>>,
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
    by_topic: Arc<ByTopic>,
    last: Mutex<Last>,
}

/// What was last heard from somewhere, kept until it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Last {
    pub(crate) tracker: Weak<Tracker>,
    pub(crate) replies: Weak<Budget>,
    pub(crate) records: Weak<Budget>,
    pub(crate) headroom: Option<Duration>,
    pub(crate) kafka: Option<KafkaClient>,
}

impl Default for Registry {
    fn default() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in names::ALL.iter().filter(|m| m.kind == Kind::Histogram) {
            let buckets = match metric.name == names::BATCH_EVENTS.name {
                true => EVENTS,
                false => SECONDS,
            };
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(matcher, buckets)
                .expect("the buckets are not empty");
        }
        let recorder = builder.build_recorder();
        for metric in names::ALL {
            let name = metric.name.into();
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(name, None, metric.help.into()),
                Kind::Histogram => recorder.describe_histogram(name, None, metric.help.into()),
            }
        }
        Self {
            handle: recorder.handle(),
            recorder,
        }
    }
}

impl Registry {
    /// Puts samples into their buckets until `done`; memory would grow with every sample otherwise.
    pub async fn keep_up(&self, done: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP);
        while done.run_until_cancelled(ticks.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }

    /// What was counted where it happened, in the exposition format.
    pub(crate) fn recorded(&self) -> String {
        self.handle.render()
    }

    fn counter(&self, metric: &Metric, stream: &str, values: &[&str]) -> Counter {
        let key = key(metric, stream, values);
        self.recorder.register_counter(&key, &METADATA)
    }

    fn histogram(&self, metric: &Metric, stream: &str) -> Histogram {
        let key = key(metric, stream, &[]);
        self.recorder.register_histogram(&key, &METADATA)
    }
}

impl Metrics {
    /// All metrics of a stream at zero.
    pub fn new(registry: &Arc<Registry>, stream: &str) -> Self {
        let counter = |metric, values: &[&str]| registry.counter(metric, stream, values);
        let histogram = |metric| registry.histogram(metric, stream);
        for reason in names::RECORD_ERRORS {
            // There from the start, so that the first one shows as an increase.
            for metric in [&names::DEAD_LETTERED, &names::SKIPPED] {
                counter(metric, &[reason]).absolute(0);
            }
        }
        for metric in [
            &names::SNAPSHOT_ROWS,
            &names::SNAPSHOT_BYTES,
            &names::SNAPSHOT_LEFT_OUT,
        ] {
            counter(metric, &[]).absolute(0);
        }
        Self {
            batch_events: histogram(&names::BATCH_EVENTS),
            closed: ClosedBy::ALL.map(|by| counter(&names::BATCHES, &[by.name()])),
            latency: histogram(&names::LATENCY),
            ack_latency: histogram(&names::ACK_LATENCY),
            get_more: histogram(&names::GET_MORE),
            checkpoint_seconds: histogram(&names::CHECKPOINT_SECONDS),
            checkpoint_stored: counter(&names::CHECKPOINT_WRITES, &["stored"]),
            checkpoint_failed: counter(&names::CHECKPOINT_WRITES, &["failed"]),
            replaced: counter(&names::REPLACED, &[]),
            flight: Flight::default(),
            recent: Latencies::default(),
            counted: Mutex::default(),
            tallies: Mutex::default(),
            by_topic: Arc::default(),
            last: Mutex::default(),
            stream: stream.to_owned(),
            registry: Arc::clone(registry),
        }
    }

    /// The registry that the stream's series are in.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The value of the label `stream`.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        self.registry.counter(metric, &self.stream, values)
    }

    /// The counters of one namespace and operation.
    fn counters_of(
        &self,
        database: &str,
        collection: &str,
        operation: &'static str,
    ) -> events::Counters {
        let labels = [database, collection, operation];
        let what = Counted {
            database: database.to_owned(),
            collection: collection.to_owned(),
            operation,
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        events::Counters {
            seen: Arc::clone(counted.entry(what).or_default()),
            events: self.counter(&names::EVENTS, &labels),
            event_bytes: self.counter(&names::EVENT_BYTES, &labels),
            record_bytes: self.counter(&names::RECORD_BYTES, &labels),
        }
    }

    /// How many events, and bytes of events and records, there were of each collection and operation.
    pub fn counted(&self) -> Vec<(Counted, [u64; 3])> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let all = counted
            .iter()
            .map(|(what, seen)| (what.clone(), seen.all()));
        all.collect()
    }

    /// What a pump counts by topic.
    pub fn topic_counts(&self) -> TopicCounts {
        TopicCounts::of(&self.by_topic)
    }

    /// What was produced to each topic.
    pub fn produced(&self) -> Vec<Produced> {
        self.by_topic.all()
    }

    /// How long acknowledgements took since this was last asked; none where there were none.
    pub fn recent_acknowledgements(&self) -> Option<Percentiles> {
        self.recent.take()
    }

    fn tally_of(&self, database: &str) -> Arc<Tally> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tallies.entry(database.to_owned()).or_default())
    }

    /// The databases that events came from, each with how many, and when the last one was read in ms
    /// since the Unix epoch; those beyond [`events::MOST_NAMESPACES`] together as one.
    pub fn databases(&self) -> Vec<(String, u64, i64)> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = |(name, tally): (&String, &Arc<Tally>)| {
            let events = tally.events.load(Ordering::Relaxed);
            (
                name.clone(),
                events,
                tally.last_millis.load(Ordering::Relaxed),
            )
        };
        tallies.iter().map(tally).collect()
    }

    /// A batch of `events` was closed.
    pub fn batch_closed(&self, by: ClosedBy, events: u32) {
        self.closed[by as usize].increment(1);
        self.batch_events.record(f64::from(events));
    }

    /// So many sequences of a record were not UTF-8.
    pub fn replaced(&self, sequences: u64) {
        if sequences > 0 {
            self.replaced.increment(sequences);
        }
    }

    /// The first record of a batch is about to be handed to the Kafka client.
    pub fn sent(&self, batch: EntryId, change_millis: Option<i64>) {
        self.flight.sent(batch, change_millis);
    }

    /// The first record of a batch was acknowledged.
    pub fn acknowledged(&self, batch: EntryId) {
        if let Some(took) = self.flight.acknowledged(batch) {
            self.ack_latency.record(took.acknowledgement);
            self.recent.add(took.acknowledgement);
            if let Some(end_to_end) = took.end_to_end {
                self.latency.record(end_to_end);
            }
        }
    }

    /// A reply with events came, so long after it was asked for.
    pub fn replied(&self, took: Duration) {
        self.get_more.record(took);
    }

    /// An attempt to store the checkpoint has ended.
    pub fn checkpoint(&self, is_stored: bool, took: Duration) {
        match is_stored {
            true => self.checkpoint_stored.increment(1),
            false => self.checkpoint_failed.increment(1),
        }
        self.checkpoint_seconds.record(took);
    }

    /// An event was written to the dead-letter topic. Seldom enough for a look-up.
    pub fn dead_lettered(&self, reason: &str) {
        self.counter(&names::DEAD_LETTERED, &[reason]).increment(1);
    }

    /// An event was left out.
    pub fn skipped(&self, reason: &str) {
        self.counter(&names::SKIPPED, &[reason]).increment(1);
    }

    /// Rows of a snapshot were sent, or left out because the stream had brought their documents.
    pub fn snapshot(&self, rows: u64, bytes: u64, left_out: u64) {
        self.counter(&names::SNAPSHOT_ROWS, &[]).increment(rows);
        self.counter(&names::SNAPSHOT_BYTES, &[]).increment(bytes);
        self.counter(&names::SNAPSHOT_LEFT_OUT, &[])
            .increment(left_out);
    }

    /// What the incarnation that runs now has in flight.
    pub fn flow(&self, replies: &Arc<Budget>, records: &Arc<Budget>, tracker: &Arc<Tracker>) {
        self.with_last(|last| {
            last.tracker = Arc::downgrade(tracker);
            last.replies = Arc::downgrade(replies);
            last.records = Arc::downgrade(records);
        });
    }

    /// The time of the oldest change whose record is not acknowledged, in ms since the Unix epoch.
    pub fn oldest_in_flight_millis(&self) -> Option<i64> {
        let tracker = self.with_last(|last| last.tracker.upgrade());
        tracker?.oldest_millis()
    }

    /// How far the checkpoint is from the oplog's end; none when that could not be read.
    pub fn headroom(&self, headroom: Option<Duration>) {
        self.with_last(|last| last.headroom = headroom);
    }

    /// librdkafka's statistics came.
    pub fn kafka_client(&self, statistics: &Statistics<'_>) {
        self.with_last(|last| last.kafka.get_or_insert_default().hear(statistics));
    }

    pub(crate) fn with_last<T>(&self, look: impl FnOnce(&mut Last) -> T) -> T {
        look(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(metric: &Metric, stream: &str, values: &[&str]) -> Key {
    let values = std::iter::once(stream).chain(values.iter().copied());
    let names = std::iter::once(names::STREAM).chain(metric.labels.iter().copied());
    let labels: Vec<_> = names
        .zip(values)
        .map(|(name, value)| Label::new(name, value.to_owned()))
        .collect();
    Key::from_parts(metric.name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_are_there_at_zero_before_the_first() {
        let metrics = Metrics::new(&Arc::default(), "shop");
        let text = metrics.registry().recorded();
        for reason in names::RECORD_ERRORS {
            let line =
                format!("tailwater_dead_lettered_total{{stream=\"shop\",reason=\"{reason}\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn the_latency_reaches_from_a_millisecond_to_a_minute() {
        let metrics = Metrics::new(&Arc::default(), "shop");
        let batch = EntryId::from_opaque(7);
        metrics.sent(batch, Some(1));
        metrics.acknowledged(batch);
        let text = metrics.registry().recorded();
        for le in ["0.001", "60", "+Inf"] {
            let line = format!(
                "tailwater_end_to_end_latency_seconds_bucket{{stream=\"shop\",le=\"{le}\"}}"
            );
            assert!(text.contains(&line), "{text}");
        }
        assert!(text.contains("tailwater_end_to_end_latency_seconds_count{stream=\"shop\"} 1"));
        assert!(
            text.contains("tailwater_acknowledgement_latency_seconds_count{stream=\"shop\"} 1")
        );
    }
}
