//! How far it is: one line that moves on a terminal, a line of the log every ten seconds otherwise.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const IN_THE_LOG: Duration = Duration::from_secs(10);

/// What was read so far.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// What is done now, in words.
    step: Mutex<&'static str>,
    records: AtomicU64,
    all_records: AtomicU64,
    documents: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            step: Mutex::new("connecting"),
            records: AtomicU64::new(0),
            all_records: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Progress {
    pub fn step(&self, step: &'static str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// How many records there are to be read.
    pub fn expect(&self, records: u64) {
        self.all_records.store(records, Relaxed);
    }

    pub fn record(&self) {
        self.records.fetch_add(1, Relaxed);
    }

    pub fn document(&self, bytes: usize) {
        self.documents.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    pub fn documents(&self) -> u64 {
        self.documents.load(Relaxed)
    }

    /// How many bytes of documents came from MongoDB.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn line(&self) -> String {
        let step = *self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, all) = (self.records(), self.all_records.load(Relaxed));
        let share = (records * 100).checked_div(all).unwrap_or(0).min(100);
        let documents = self.documents();
        let rate = documents as f64 / self.elapsed().as_secs_f64().max(0.001);
        format!(
            "{step}: {records} of {all} records ({share} %), {documents} documents ({rate:.0} a second)"
        )
    }

    /// Shows it, for as long as this is polled.
    pub async fn show(&self) {
        let is_terminal = io::stderr().is_terminal();
        let pause = match is_terminal {
            true => ON_A_TERMINAL,
            false => IN_THE_LOG,
        };
        loop {
            tokio::time::sleep(pause).await;
            match is_terminal {
                // Nobody may be there to see it.
                true => drop(write!(io::stderr(), "\r\x1b[K{}", self.line())),
                false => tracing::info!("{}", self.line()),
            }
        }
    }

    /// Takes the line away again.
    pub fn end(&self) {
        if io::stderr().is_terminal() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}
