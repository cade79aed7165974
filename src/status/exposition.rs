//! The page at `/metrics`: what was counted, and what the boards show at this moment.

use super::listeners::OUTCOMES;
use super::live::Counts;
use super::owner::Ownership;
use super::schedules::{Phase, Schedules};
use super::values::Counter;
use super::waiting::{Awaited, Wait};
use super::worker;
use super::{Board, State};
use crate::flow::budget::Budget;
use crate::metrics::names::{self, Metric};
use crate::metrics::process::Usage;
use crate::metrics::{KafkaClient, Totals};
use metrics_exporter_prometheus::formatting::sanitize_label_value;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// Everything, in Prometheus's text format.
pub fn render(
    boards: &[Arc<Board>],
    live: Option<&Counts>,
    schedules: Option<&Schedules>,
    worker: Option<&worker::Board>,
) -> String {
    let mut page = Page {
        boards,
        text: boards.first().map_or_else(String::new, |board| {
            // Every stream's series are in one registry.
            board.metrics.registry().recorded()
        }),
    };
    counts(&mut page);
    gauges(&mut page);
    checkpoint(&mut page);
    owners(&mut page);
    kafka(&mut page);
    if let Some(live) = live {
        of_live(&mut page, live);
    }
    if let Some(schedules) = schedules {
        of_schedules(&mut page, schedules);
    }
    if let Some(worker) = worker {
        of_worker(&mut page, worker);
    }
    process(&mut page);
    page.text
}

/// What `tailwater live` shows, which has no streams.
pub fn render_live(live: &Counts) -> String {
    let mut page = Page {
        boards: &[],
        text: String::new(),
    };
    of_live(&mut page, live);
    process(&mut page);
    page.text
}

fn of_live(page: &mut Page<'_>, live: &Counts) {
    page.value(&names::LIVE_READY, u8::from(live.ready.get()));
    page.value(&names::LIVE_CLIENTS, live.clients.get());
    page.value(&names::LIVE_SUBSCRIPTIONS, live.subscriptions.get());
    page.value(&names::LIVE_QUESTIONS, live.questions.get());
    page.value(&names::LIVE_QUEUE, live.queue_bytes.get());
    let counters: [(&Metric, &Counter); 8] = [
        (&names::LIVE_READ, &live.read),
        (&names::LIVE_FOREIGN, &live.foreign),
        (&names::LIVE_SENT, &live.sent),
        (&names::LIVE_CUT, &live.cut),
        (&names::LIVE_RESUMED, &live.resumed),
        (&names::LIVE_CAUGHT_UP, &live.caught_up),
        (&names::LIVE_GAPS, &live.gaps),
        (&names::LIVE_REFUSED, &live.refused),
    ];
    for (metric, counter) in counters {
        page.value(metric, counter.get());
    }
}

fn of_schedules(page: &mut Page<'_>, schedules: &Schedules) {
    page.head(&names::SCHEDULES);
    for (state, count) in schedules.count() {
        page.sample(&names::SCHEDULES, &[("state", state)], count);
    }
    let is_running = schedules.phase() == Phase::Running;
    page.value(&names::SCHEDULES_RUNNING, u8::from(is_running));
    page.value(&names::SCHEDULES_LATE, schedules.late_seconds());
    page.value(&names::SCHEDULE_RECORDS, schedules.produced.get());
    by_name(page, schedules);
    page.value(&names::SCHEDULE_INTERRUPTIONS, schedules.failed.get());
}

/// So many schedules have series of their own.
const NAMED: usize = 1000;

fn by_name(page: &mut Page<'_>, schedules: &Schedules) {
    let mut all: Vec<_> = schedules.all().into_iter().map(|(_, it)| it).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let others: u64 = all.iter().skip(NAMED).map(|it| it.produced).sum();
    let is_more = all.len() > NAMED;
    all.truncate(NAMED);
    let metric = &names::SCHEDULE_MADE;
    page.head(metric);
    for schedule in &all {
        page.sample(metric, &[("schedule", &schedule.name)], schedule.produced);
    }
    if is_more {
        page.sample(metric, &[("schedule", worker::OTHERS)], others);
    }
    let metric = &names::SCHEDULE_NEXT;
    page.head(metric);
    for schedule in &all {
        if let Some(next) = schedule.next {
            page.sample(metric, &[("schedule", &schedule.name)], next as f64 / 1e3);
        }
    }
}

/// Reads a value off the counts of a job.
type OfJob = fn(&worker::Counts) -> f64;

fn of_worker(page: &mut Page<'_>, board: &worker::Board) {
    let view = board.view();
    page.value(&names::WORKER_READY, u8::from(board.ready.get()));
    page.value(&names::WORKER_PARTITIONS, view.partitions);
    let of_jobs: [(&Metric, OfJob); 7] = [
        (&names::WORKER_WAITING, |counts| counts.waiting as f64),
        (&names::WORKER_ACTIVE, |counts| counts.active as f64),
        (&names::WORKER_PARKED, |counts| counts.parked as f64),
        (&names::WORKER_COMPLETED, |counts| counts.completed as f64),
        (&names::WORKER_FAILED, |counts| counts.failed as f64),
        (&names::WORKER_RETRIED, |counts| counts.retried as f64),
        (&names::WORKER_SECONDS, |counts| counts.seconds),
    ];
    for (metric, of) in of_jobs {
        let values = view.jobs.iter().map(|(job, counts)| (job, of(counts)));
        page.by_label(metric, values);
    }
    page.by_label(&names::WORKER_LAG, view.lag.iter());
    times(page, &names::WORKER_TIMES, &view.times);
    let held = view.handlers.iter();
    let held = held.map(|(job, handler)| (job, u8::from(handler.held.is_some())));
    page.by_label(&names::WORKER_HELD, held);
}

fn times(page: &mut Page<'_>, metric: &Metric, times: &worker::Times) {
    page.head(metric);
    let name = metric.name;
    // Writing to a string does not fail.
    for (bound, count) in times.buckets() {
        let _ = writeln!(page.text, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let (count, sum) = (times.count, times.sum);
    let _ = writeln!(
        page.text,
        "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
    );
}

fn counts(page: &mut Page<'_>) {
    page.each(&names::WITHOUT_RECORD, |board| Some(board.passed.get()));
    page.each(&names::PRODUCED, |board| Some(board.produced.get()));
    page.each(&names::ACKNOWLEDGED, |board| Some(board.acked.get()));
    page.each(&names::REPLIES, |board| Some(board.replies.get()));
    page.each(&names::RECONNECTS, |board| Some(board.reconnects.get()));
    page.each(&names::GAPS, |board| Some(board.gaps.get()));
}

fn gauges(page: &mut Page<'_>) {
    page.each(&names::LAG, |board| Some(board.lag().as_secs_f64()));
    page.labelled(&names::WAITING, |board| {
        let waits = board.waiting();
        let longest = |name: &'static str| {
            let waits = waits.iter().filter(|wait| wait.what.name() == name);
            let longest = waits
                .filter(|wait| wait.is_noticed())
                .map(Wait::lasts)
                .max();
            (name, longest.unwrap_or_default().as_secs_f64())
        };
        Awaited::NAMES.into_iter().map(longest).collect()
    });
    page.each(&names::IN_FLIGHT_RECORDS, |board| Some(board.in_flight()));
    page.labelled(&names::IN_FLIGHT_BYTES, |board| {
        halves(board, |half| half.used())
    });
    page.labelled(&names::IN_FLIGHT_LIMIT, |board| {
        halves(board, |half| half.limit())
    });
    page.each(&names::HEADROOM, |board| {
        board.headroom().map(|headroom| headroom.as_secs())
    });
    page.labelled(&names::STATE, |board| {
        let now = board.state();
        let is_it = |state: State| (state.name(), u8::from(state == now));
        State::ALL.into_iter().map(is_it).collect()
    });
    page.labelled(&names::LISTENERS, |board| match board.has_listeners.get() {
        true => board.listeners.states().into_iter().collect(),
        false => Vec::new(),
    });
    page.labelled(&names::LISTENER_EVENTS, |board| {
        match board.has_listeners.get() {
            true => Vec::from_iter(OUTCOMES.into_iter().zip(board.listeners.sums())),
            false => Vec::new(),
        }
    });
    let flags: [(&Metric, Read<bool>); 6] = [
        (&names::READY, Board::is_ready),
        (&names::DRY_RUN, |board| board.dry_run.get()),
        (&names::SNAPSHOT_RUNNING, |board| {
            let view = board.snapshots.view();
            view.is_some_and(|view| view.ended.is_none())
        }),
        (&names::MONGODB_CONNECTED, |board| {
            board.mongo_connected.get()
        }),
        (&names::KAFKA_CONNECTED, |board| board.kafka_connected.get()),
        (&names::CHECKPOINT_FAILING, |board| {
            board.checkpoint_failing.get()
        }),
    ];
    for (metric, is_so) in flags {
        page.each(metric, |board| Some(u8::from(is_so(board))));
    }
}

/// Reads a value off a board.
type Read<T> = fn(&Board) -> T;

/// The two halves of the memory budget; empty before the stream was open.
fn halves(board: &Board, value: fn(&Budget) -> usize) -> Vec<(&'static str, usize)> {
    let (replies, records) = board
        .metrics
        .with_last(|last| (last.replies.upgrade(), last.records.upgrade()));
    let halves = [("replies", replies), ("records", records)];
    let told = |(name, half): (_, Option<Arc<Budget>>)| half.map(|half| (name, value(&half)));
    halves.into_iter().filter_map(told).collect()
}

fn checkpoint(page: &mut Page<'_>) {
    page.each(&names::CHECKPOINT_AGE, |board| {
        let committed = board.committed();
        committed.map(|committed| committed.at.elapsed().as_secs_f64())
    });
    page.each(&names::CHECKPOINT_SEQ, |board| {
        board.committed().map(|committed| committed.position.seq)
    });
    page.each(&names::CHECKPOINT_POSITION, |board| {
        let millis = board.committed()?.position.time_millis?;
        Some(millis as f64 / 1e3)
    });
}

fn owners(page: &mut Page<'_>) {
    fn seen<T>(board: &Board, value: impl FnOnce(Ownership) -> T) -> Option<T> {
        board.ownership().map(value)
    }
    page.each(&names::OWNED, |board| {
        seen(board, |seen| u8::from(seen.owner.is_some()))
    });
    page.each(&names::MINE, |board| {
        seen(board, |seen| u8::from(seen.mine))
    });
    page.each(&names::HAND_OVERS, |board| {
        seen(board, |seen| seen.hand_overs)
    });
    page.each(&names::EPOCH, |board| seen(board, |seen| seen.epoch));
    page.each(&names::HEARTBEAT_AGE, |board| {
        let at = seen(board, |seen| seen.last_heartbeat)??;
        Some(at.elapsed().unwrap_or_default().as_secs_f64())
    });
}

fn kafka(page: &mut Page<'_>) {
    fn client<T>(board: &Board, value: impl FnOnce(&KafkaClient) -> T) -> Option<T> {
        board
            .metrics
            .with_last(|last| last.kafka.as_ref().map(value))
    }
    page.each(&names::KAFKA_QUEUE_RECORDS, |board| {
        client(board, |client| client.queue_records)
    });
    page.each(&names::KAFKA_QUEUE_BYTES, |board| {
        client(board, |client| client.queue_bytes)
    });
    page.each(&names::KAFKA_BROKERS_UP, |board| {
        client(board, |client| client.brokers_up)
    });
    type Time = fn(&KafkaClient) -> Option<Duration>;
    let times: [(&Metric, Time); 3] = [
        (&names::KAFKA_ROUND_TRIP, |client| client.round_trip),
        (&names::KAFKA_QUEUEING, |client| client.queueing),
        (&names::KAFKA_THROTTLING, |client| client.throttling),
    ];
    for (metric, time) in times {
        page.each(metric, |board| Some(client(board, time)??.as_secs_f64()));
    }
    type Count = fn(&Totals) -> u64;
    let totals: [(&Metric, Count); 6] = [
        (&names::KAFKA_REQUESTS, |totals| totals.requests),
        (&names::KAFKA_BYTES, |totals| totals.bytes),
        (&names::KAFKA_RETRIES, |totals| totals.retries),
        (&names::KAFKA_ERRORS, |totals| totals.errors),
        (&names::KAFKA_TIMEOUTS, |totals| totals.timeouts),
        (&names::KAFKA_DISCONNECTS, |totals| totals.disconnects),
    ];
    for (metric, count) in totals {
        page.each(metric, |board| {
            client(board, |client| count(&client.totals))
        });
    }
}

fn process(page: &mut Page<'_>) {
    page.head(&names::BUILD_INFO);
    let version = env!("CARGO_PKG_VERSION");
    page.sample(&names::BUILD_INFO, &[("version", version)], 1);
    if let Some(board) = page.boards.first() {
        page.value(&names::UPTIME, board.uptime().as_secs_f64());
        // The same at every scrape: whoever counts restarts counts its changes.
        page.value(&names::PROCESS_START, board.started_millis() as f64 / 1e3);
    }
    let usage = Usage::read();
    if let Some(seconds) = usage.cpu_seconds {
        page.value(&names::PROCESS_CPU, seconds);
    }
    if let Some(bytes) = usage.resident_bytes {
        page.value(&names::PROCESS_MEMORY, bytes);
    }
    if let Some(fds) = usage.open_fds {
        page.value(&names::PROCESS_FDS, fds);
    }
}

/// Text in the exposition format, and whose values it shows.
struct Page<'a> {
    boards: &'a [Arc<Board>],
    text: String,
}

impl Page<'_> {
    fn head(&mut self, metric: &Metric) {
        // Writing to a string does not fail.
        let _ = writeln!(
            self.text,
            "# HELP {0} {1}\n# TYPE {0} {2}",
            metric.name,
            metric.help,
            metric.kind.name()
        );
    }

    fn sample(&mut self, metric: &Metric, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(metric.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let begin = if index == 0 { '{' } else { ',' };
            let _ = write!(
                self.text,
                "{begin}{name}=\"{}\"",
                sanitize_label_value(value)
            );
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// A metric of the process, without labels.
    fn value(&mut self, metric: &Metric, value: impl Display) {
        self.head(metric);
        self.sample(metric, &[], value);
    }

    /// A metric of a worker, by its one label.
    fn by_label<'v, V: Display>(
        &mut self,
        metric: &Metric,
        values: impl Iterator<Item = (&'v String, V)>,
    ) {
        self.head(metric);
        let label = metric.labels.first().copied().unwrap_or_default();
        for (of, value) in values {
            self.sample(metric, &[(label, of)], value);
        }
    }

    /// One value for each stream that has one.
    fn each<V: Display>(&mut self, metric: &Metric, value: impl Fn(&Board) -> Option<V>) {
        self.labelled(metric, |board| {
            value(board).map(|value| ("", value)).into_iter().collect()
        });
    }

    /// Values for each stream, by the metric's own label where it has one.
    fn labelled<V: Display>(
        &mut self,
        metric: &Metric,
        values: impl Fn(&Board) -> Vec<(&'static str, V)>,
    ) {
        let boards = self.boards;
        let values: Vec<_> = boards.iter().map(|board| values(board)).collect();
        if values.iter().all(Vec::is_empty) {
            return;
        }
        self.head(metric);
        for (board, values) in boards.iter().zip(values) {
            let stream = (names::STREAM, board.metrics.stream());
            for (label, value) in values {
                match metric.labels.first() {
                    Some(name) => self.sample(metric, &[stream, (name, label)], value),
                    None => self.sample(metric, &[stream], value),
                }
            }
        }
    }
}
