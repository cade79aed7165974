//! The page at `/metrics`: what was counted, and what the board shows at this moment.

use super::waiting::{Awaited, Wait};
use super::{Board, State};
use crate::metrics::names::{self, Metric};
use crate::metrics::process::Usage;
use std::fmt::{Display, Write as _};

/// Everything, in Prometheus's text format.
pub fn render(board: &Board) -> String {
    let mut page = Page(board.metrics.recorded());
    counts(&mut page, board);
    gauges(&mut page, board);
    checkpoint(&mut page, board);
    kafka(&mut page, board);
    process(&mut page, board);
    page.0
}

fn counts(page: &mut Page, board: &Board) {
    page.value(&names::WITHOUT_RECORD, board.passed.get());
    page.value(&names::PRODUCED, board.produced.get());
    page.value(&names::ACKNOWLEDGED, board.acked.get());
    page.value(&names::REPLIES, board.replies.get());
    page.value(&names::RECONNECTS, board.reconnects.get());
    page.value(&names::GAPS, board.gaps.get());
}

fn gauges(page: &mut Page, board: &Board) {
    page.value(&names::LAG, board.lag().as_secs_f64());
    let waits = board.waiting();
    page.head(&names::WAITING);
    for name in Awaited::NAMES {
        let waits = waits.iter().filter(|wait| wait.what.name() == name);
        let longest = waits
            .filter(|wait| wait.is_noticed())
            .map(Wait::lasts)
            .max();
        let seconds = longest.unwrap_or_default().as_secs_f64();
        page.line(&names::WAITING, name, seconds);
    }
    page.value(&names::IN_FLIGHT_RECORDS, board.in_flight());
    let (replies, records, headroom) = board.metrics.with_last(|last| {
        let budgets = (last.replies.upgrade(), last.records.upgrade());
        (budgets.0, budgets.1, last.headroom)
    });
    if let (Some(replies), Some(records)) = (replies, records) {
        let halves = [("replies", replies), ("records", records)];
        page.head(&names::IN_FLIGHT_BYTES);
        for (half, budget) in &halves {
            page.line(&names::IN_FLIGHT_BYTES, half, budget.used());
        }
        page.head(&names::IN_FLIGHT_LIMIT);
        for (half, budget) in &halves {
            page.line(&names::IN_FLIGHT_LIMIT, half, budget.limit());
        }
    }
    if let Some(headroom) = headroom {
        page.value(&names::HEADROOM, headroom.as_secs());
    }
    let now = board.state();
    page.head(&names::STATE);
    for state in State::ALL {
        page.line(&names::STATE, state.name(), u8::from(state == now));
    }
    for (metric, is_so) in [
        (&names::READY, board.is_ready()),
        (&names::DRY_RUN, board.dry_run.get()),
        (&names::MONGODB_CONNECTED, board.mongo_connected.get()),
        (&names::KAFKA_CONNECTED, board.kafka_connected.get()),
        (&names::CHECKPOINT_FAILING, board.checkpoint_failing.get()),
    ] {
        page.value(metric, u8::from(is_so));
    }
}

fn checkpoint(page: &mut Page, board: &Board) {
    let Some(committed) = board.committed() else {
        return;
    };
    page.value(&names::CHECKPOINT_AGE, committed.at.elapsed().as_secs_f64());
    page.value(&names::CHECKPOINT_SEQ, committed.position.seq);
    if let Some(millis) = committed.position.time_millis {
        page.value(&names::CHECKPOINT_POSITION, millis as f64 / 1e3);
    }
}

fn kafka(page: &mut Page, board: &Board) {
    let Some(client) = board.metrics.with_last(|last| last.kafka.clone()) else {
        return;
    };
    page.value(&names::KAFKA_QUEUE_RECORDS, client.queue_records);
    page.value(&names::KAFKA_QUEUE_BYTES, client.queue_bytes);
    page.value(&names::KAFKA_BROKERS_UP, client.brokers_up);
    for (metric, time) in [
        (&names::KAFKA_ROUND_TRIP, client.round_trip),
        (&names::KAFKA_QUEUEING, client.queueing),
        (&names::KAFKA_THROTTLING, client.throttling),
    ] {
        if let Some(time) = time {
            page.value(metric, time.as_secs_f64());
        }
    }
    let totals = client.totals;
    page.value(&names::KAFKA_REQUESTS, totals.requests);
    page.value(&names::KAFKA_BYTES, totals.bytes);
    page.value(&names::KAFKA_RETRIES, totals.retries);
    page.value(&names::KAFKA_ERRORS, totals.errors);
    page.value(&names::KAFKA_TIMEOUTS, totals.timeouts);
    page.value(&names::KAFKA_DISCONNECTS, totals.disconnects);
}

fn process(page: &mut Page, board: &Board) {
    page.head(&names::BUILD_INFO);
    page.line(&names::BUILD_INFO, env!("CARGO_PKG_VERSION"), 1);
    page.value(&names::UPTIME, board.uptime().as_secs_f64());
    // The same at every scrape: whoever counts restarts counts its changes.
    page.value(&names::PROCESS_START, board.started_millis() as f64 / 1e3);
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

/// Text in the exposition format. Label values written here are our own words: nothing to escape.
struct Page(String);

impl Page {
    fn head(&mut self, metric: &Metric) {
        // Writing to a string does not fail.
        let _ = writeln!(
            self.0,
            "# HELP {0} {1}\n# TYPE {0} {2}",
            metric.name,
            metric.help,
            metric.kind.name()
        );
    }

    /// A metric without labels.
    fn value(&mut self, metric: &Metric, value: impl Display) {
        self.head(metric);
        let _ = writeln!(self.0, "{} {value}", metric.name);
    }

    /// One value of a metric with one label.
    fn line(&mut self, metric: &Metric, label: &str, value: impl Display) {
        let name = metric.labels.first().copied().unwrap_or_default();
        let _ = writeln!(self.0, "{}{{{name}=\"{label}\"}} {value}", metric.name);
    }
}
