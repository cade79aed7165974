//! What is said of a snapshot while it runs: in the log, and where others look.

use super::Rows;
use crate::log::event_id;
use crate::snapshot::progress::{Ended, Progress};
use crate::status::snapshot::{Collection, Stage, View};
use std::time::{Duration, Instant};

/// How often the log has a line.
const LINE: Duration = Duration::from_secs(10);

/// How often what others see is made new.
const LOOK: Duration = Duration::from_millis(250);

/// When what was told last.
#[derive(Debug)]
pub(super) struct Told {
    line: Instant,
    look: Instant,
    /// Rows at the last line, and the rate since.
    rows: u64,
    rate: f64,
}

impl Default for Told {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            line: now,
            look: now,
            rows: 0,
            rate: 0.0,
        }
    }
}

impl Rows {
    /// Shows where the snapshot is.
    pub(super) fn tell(&mut self) {
        self.told.look = Instant::now();
        let view = match (&self.state.running, &self.state.last) {
            (Some(progress), _) => Some(of_progress(progress, self.told.rate)),
            (None, Some(ended)) => Some(of_ended(ended)),
            (None, None) => None,
        };
        self.source.board.snapshots.set(view);
    }

    /// The same, where it is time; and a line in the log, where it is time for that.
    pub(super) fn tell_now_and_then(&mut self) {
        if self.told.look.elapsed() < LOOK {
            return;
        }
        let since = self.told.line.elapsed();
        if since >= LINE
            && let Some(progress) = &self.state.running
        {
            let rows = progress.rows.saturating_sub(self.told.rows);
            self.told.rate = rows as f64 / since.as_secs_f64();
            self.told.rows = progress.rows;
            self.told.line = Instant::now();
            let view = of_progress(progress, self.told.rate);
            let reading: Vec<_> = view.reading.iter().map(line).take(5).collect();
            tracing::info!(
                event_id = event_id::SNAPSHOT_PROGRESS,
                snapshot = view.id,
                rows = view.rows,
                bytes = view.bytes,
                collections = view.collections,
                rows_per_second = view.rate.round(),
                seconds_left = view.seconds_left(),
                reading = reading.join(", "),
                "snapshot"
            );
        }
        self.tell();
    }
}

fn line(collection: &Collection) -> String {
    match collection.total.filter(|total| *total > 0) {
        Some(total) => {
            let percent = (collection.rows as f64 * 100.0 / total as f64).min(100.0);
            format!("{} {percent:.0} %", collection.namespace)
        }
        None => format!("{} {} rows", collection.namespace, collection.rows),
    }
}

fn of_progress(progress: &Progress, rate: f64) -> View {
    let reading = progress.parts.iter().map(|part| Collection {
        namespace: part.at.to_string(),
        rows: part.rows,
        bytes: part.bytes,
        total: part.total,
    });
    View {
        id: progress.id.clone(),
        reason: progress.reason.name(),
        state: match progress.is_paused {
            true => Stage::Paused,
            false => Stage::Running,
        },
        started: progress.started,
        ended: None,
        rows: progress.rows,
        bytes: progress.bytes,
        left_out: progress.left_out,
        collections: progress.collections,
        skipped: progress.skipped.iter().map(ToString::to_string).collect(),
        reading: reading.take(MOST).collect(),
        rate,
    }
}

/// How many collections are shown.
const MOST: usize = 100;

fn of_ended(ended: &Ended) -> View {
    View {
        id: ended.id.clone(),
        reason: ended.reason.name(),
        state: match ended.is_complete {
            true => Stage::Finished,
            false => Stage::Stopped,
        },
        started: ended.started,
        ended: Some(ended.ended),
        rows: ended.rows,
        bytes: ended.bytes,
        left_out: ended.left_out,
        collections: ended.collections,
        skipped: ended.skipped.iter().map(ToString::to_string).collect(),
        reading: Vec::new(),
        rate: 0.0,
    }
}
