//! What was measured, one JSON line per turn of a subject, so that each measurement can run against
//! servers of its own and the report is made of all of them afterwards.

use crate::error::Fallible;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

const FILE: &str = "results.jsonl";

/// The subject that reads the stream to its end and does nothing with it.
pub const RAW: &str = "raw drain";
/// The subject that reads the stream raw and produces each event's BSON untouched.
pub const RAW_PRODUCE: &str = "raw + produce";

/// Names of values; units in the names where they are not plain counts.
pub mod value {
    /// Events a second from the first record on.
    pub const RATE: &str = "rate";
    /// Events a second from the start of the process on.
    pub const RATE_FROM_START: &str = "rate_from_start";
    /// Millions of bytes of documents a second, from the first record on.
    pub const MB_RATE: &str = "mb_rate";
    /// From the start of the process to the first record.
    pub const FIRST_MS: &str = "first_ms";
    /// CPU time of the process per event, from the first record on.
    pub const CPU_US: &str = "cpu_us";
    /// The same with the start of the process.
    pub const CPU_US_WITH_START: &str = "cpu_us_with_start";
    /// CPU time of the process per million bytes of documents.
    pub const CPU_MS_PER_MB: &str = "cpu_ms_per_mb";
    /// Largest resident set, in millions of bytes.
    pub const RSS_MB: &str = "rss_mb";
    /// Cores that each process kept busy from the first record on.
    pub const CORES: &str = "cores";
    pub const MONGODB_CORES: &str = "mongodb_cores";
    pub const KAFKA_CORES: &str = "kafka_cores";
    /// All that the machine did in that time, and what its host took away.
    pub const MACHINE_CORES: &str = "machine_cores";
    pub const STOLEN_CORES: &str = "stolen_cores";
    /// CPU time in all, of a short life.
    pub const CPU_MS: &str = "cpu_ms";
    /// CPU time per event in the first fifth of a long run, and in its last.
    pub const CPU_US_FIRST: &str = "cpu_us_first";
    pub const CPU_US_LAST: &str = "cpu_us_last";
    /// Largest resident set before, while and after Kafka stands still.
    pub const RSS_BEFORE_MB: &str = "rss_before_mb";
    pub const RSS_STOPPED_MB: &str = "rss_stopped_mb";
    pub const RSS_AFTER_MB: &str = "rss_after_mb";
    /// From the first insert to the last acknowledgement.
    pub const ALL_S: &str = "all_s";
    /// Bytes in the broker's log per event.
    pub const BROKER_BYTES: &str = "broker_bytes";
    /// Latencies in milliseconds.
    pub const P50: &str = "p50";
    pub const P90: &str = "p90";
    pub const P99: &str = "p99";
    pub const HIGHEST: &str = "highest";
    /// Of the process, at rest.
    pub const THREADS: &str = "threads";
    /// Probes that never came.
    pub const LOST: &str = "lost";
}

/// One turn of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The measurement: `drain`, `latency`, …
    pub mode: String,
    /// What was varied: a size, a number of collections, …
    pub case: String,
    pub subject: String,
    pub turn: usize,
    pub values: BTreeMap<String, f64>,
    /// Points in time, in seconds, and what was seen there: for measurements that go on for long.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub series: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Run {
    pub fn new(mode: &str, case: &str, subject: &str, turn: usize) -> Self {
        Self {
            mode: mode.to_owned(),
            case: case.to_owned(),
            subject: subject.to_owned(),
            turn,
            values: BTreeMap::new(),
            series: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, name: &str, value: f64) -> &mut Self {
        // JSON knows no NaN: what is not known is left out.
        if value.is_finite() {
            self.values.insert(name.to_owned(), value);
        }
        self
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    Run(Run),
    /// What differs from a subject's defaults.
    Setting {
        subject: String,
        text: String,
    },
    /// Something about a measurement that its table should say.
    Note {
        mode: String,
        text: String,
    },
}

/// Where lines are added.
pub struct Results {
    file: File,
}

impl Results {
    /// Goes on with the file in `folder`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(folder: &Path) -> Fallible<Self> {
        let path = path(folder);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file })
    }

    /// Adds a turn, and says on stderr what came out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn run(&mut self, run: Run) -> Fallible {
        let values = run.values.iter();
        let values: Vec<String> = values.map(|(name, v)| format!("{name}={v:.2}")).collect();
        eprintln!(
            "{}, {}, {}, turn {}: {}",
            run.mode,
            run.case,
            run.subject,
            run.turn + 1,
            values.join(" ")
        );
        self.add(&Line::Run(run))
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn setting(&mut self, subject: &str, text: impl Into<String>) -> Fallible {
        self.add(&Line::Setting {
            subject: subject.to_owned(),
            text: text.into(),
        })
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, mode: &str, text: impl Into<String>) -> Fallible {
        self.add(&Line::Note {
            mode: mode.to_owned(),
            text: text.into(),
        })
    }

    fn add(&mut self, line: &Line) -> Fallible {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        Ok(())
    }
}

/// All lines of the file in `folder`.
///
/// # Errors
/// When it is missing, or not of this version.
pub fn read(folder: &Path) -> Fallible<Vec<Line>> {
    let text = std::fs::read_to_string(path(folder))?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
