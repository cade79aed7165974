//! Several instances that agree on who runs what, over real servers.
//!
//! In [`mongodb`] and [`kafka`], and in what these have in common ([`alike`]), they are all in this process and run no streams: what is told and asked of
//! [`Coordination`] is what a process would, and a journal says who ran what, and when. In the others they are
//! real processes, under writes ([`fleet`]).

mod alike;
mod checking;
mod clocks;
mod dying;
mod figures;
pub mod fleet;
mod handing_over;
mod kafka;
mod mongodb;
mod rights;
mod spreading;
mod store;
mod versions;

use crate::support::{PATIENCE, eventually};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tailwater::coordination::{Coordination, Settings};
use tokio::task::JoinHandle;

const TWELVE: [&str; 12] = [
    "s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11",
];

/// What happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    at: Instant,
    instance: String,
    stream: String,
    started: bool,
}

impl Journal {
    fn note(&self, instance: &str, stream: &str, started: bool) {
        self.0.lock().unwrap().push(Entry {
            at: Instant::now(),
            instance: instance.to_owned(),
            stream: stream.to_owned(),
            started,
        });
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }

    /// How often each stream was started.
    fn starts(&self) -> BTreeMap<String, usize> {
        let mut starts = BTreeMap::new();
        for entry in self.entries().into_iter().filter(|entry| entry.started) {
            *starts.entry(entry.stream).or_default() += 1;
        }
        starts
    }

    fn count(&self) -> usize {
        self.starts().values().sum()
    }

    /// The longest time in which a stream ran nowhere between two instances.
    fn longest_gap(&self) -> Duration {
        let mut stopped: BTreeMap<String, Instant> = BTreeMap::new();
        let mut longest = Duration::ZERO;
        for entry in self.entries() {
            match entry.started {
                false => {
                    stopped.insert(entry.stream, entry.at);
                }
                true => {
                    if let Some(since) = stopped.remove(&entry.stream) {
                        longest = longest.max(entry.at - since);
                    }
                }
            }
        }
        longest
    }

    /// No stream was started while it ran or drained somewhere else.
    fn assert_one_at_a_time(&self) {
        let mut runs: BTreeMap<String, String> = BTreeMap::new();
        for entry in self.entries() {
            match entry.started {
                true => {
                    let other = runs.insert(entry.stream.clone(), entry.instance.clone());
                    assert!(other.is_none(), "{entry:?} while it ran on {other:?}");
                }
                false => {
                    runs.remove(&entry.stream);
                }
            }
        }
    }
}

/// How long a stream takes to stop: it drains and commits.
const DRAIN: Duration = Duration::from_millis(30);

/// An instance whose streams do nothing.
struct Instance {
    name: String,
    coordination: Coordination,
    running: Arc<Mutex<BTreeSet<String>>>,
    journal: Journal,
    process: JoinHandle<()>,
}

impl Instance {
    async fn start(settings: Settings, name: &str, streams: &[&str], journal: &Journal) -> Self {
        let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
        let coordination = Coordination::start(settings, name.to_owned(), streams).await;
        let coordination = coordination.unwrap_or_else(|error| panic!("{name}: {error}"));
        let running = Arc::new(Mutex::new(BTreeSet::new()));
        let process = tokio::spawn(process(
            name.to_owned(),
            coordination.clone(),
            Arc::clone(&running),
            journal.clone(),
        ));
        let journal = journal.clone();
        Self {
            name: name.to_owned(),
            coordination,
            running,
            journal,
            process,
        }
    }

    fn running(&self) -> BTreeSet<String> {
        self.running.lock().unwrap().clone()
    }

    /// It stops in the middle of whatever it did, and tells nobody.
    async fn kill(self) {
        self.process.abort();
        let _ = self.process.await;
        for stream in self.running.lock().unwrap().iter() {
            self.journal.note(&self.name, stream, false);
        }
    }

    /// A planned stop.
    async fn stop(self) {
        self.coordination.leave().await;
        self.process.abort();
        assert_eq!(self.running(), BTreeSet::new());
    }
}

/// What a process does about its streams.
async fn process(
    name: String,
    coordination: Coordination,
    running: Arc<Mutex<BTreeSet<String>>>,
    journal: Journal,
) {
    let mut wanted = coordination.wanted();
    loop {
        let now = wanted.borrow_and_update().clone();
        let (stopping, left): (Vec<String>, BTreeSet<String>) = {
            let mut running = running.lock().unwrap();
            for stream in now.streams.difference(&running) {
                journal.note(&name, stream, true);
            }
            let stopping = running.difference(&now.streams).cloned().collect();
            running.extend(now.streams.iter().cloned());
            (stopping, running.clone())
        };
        coordination.running(now.version, left).await;
        if !stopping.is_empty() {
            tokio::time::sleep(DRAIN).await;
            let left = {
                let mut running = running.lock().unwrap();
                for stream in &stopping {
                    running.remove(stream);
                    journal.note(&name, stream, false);
                }
                running.clone()
            };
            coordination.running(now.version, left).await;
            continue;
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until the instances run so many streams each.
async fn spread(instances: &[&Instance], expected: &[usize]) {
    let what = format!("{expected:?} streams each");
    let counts = || -> Vec<usize> {
        let counts = instances.iter().map(|instance| instance.running().len());
        counts.collect()
    };
    eventually(PATIENCE, &what, async || {
        (counts() == expected).then_some(())
    })
    .await;
}
