//! Several real processes over the same streams, under writes.

use crate::chaos::history::{Verdict, judge, version};
use crate::chaos::workload::{Workload, contents};
use crate::support::{
    self, Database, Isolation, Kafka, Mongo, PATIENCE, Record, Setup, Tailwater, eventually, unique,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub const BOTH: [&str; 2] = ["at_least_once", "exactly_once"];

/// How the instances come to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Leases,
    Group,
}

impl Kind {
    /// Each kind with each delivery.
    pub fn with_both() -> impl Iterator<Item = (Self, &'static str)> {
        let kinds = [Self::Leases, Self::Group].into_iter();
        kinds.flat_map(|kind| BOTH.map(|delivery| (kind, delivery)))
    }
}

/// Streams, who writes to them, and how an instance that carries them is set up.
pub struct Fleet<'a> {
    pub kafka: &'a Kafka,
    pub databases: Vec<Database>,
    pub setup: Setup,
    prefix: String,
    workloads: Vec<Workload>,
    stop: CancellationToken,
}

impl<'a> Fleet<'a> {
    /// So many streams, one written to each, over the servers that the tests share.
    pub async fn new(streams: usize, delivery: &str) -> Self {
        let (mongo, kafka) = (support::mongo().await, support::kafka().await);
        Self::over(mongo, kafka, streams, delivery).await
    }

    pub async fn over(mongo: &Mongo, kafka: &'a Kafka, streams: usize, delivery: &str) -> Self {
        let mut databases = Vec::new();
        for _ in 0..streams {
            databases.push(mongo.database().await);
        }
        let names: Vec<_> = databases.iter().map(|database| database.name()).collect();
        let (prefix, leases) = (unique("fleet"), unique("leases"));
        let setup = Setup::empty()
            .env("MONGODB_URI", mongo.uri())
            .env("KAFKA_BROKERS", kafka.brokers())
            .env("KAFKA_CLIENT_ID", unique("tailwater"))
            .env("KAFKA_DB_CHANGES_TOPIC", format!("{prefix}.{{database}}"))
            .env("RESUME_TOPIC", format!("{prefix}.checkpoints"))
            .env("RECORD_TIMESTAMP", "now")
            .env("COMMIT_INTERVAL_MS", 50)
            .env("STREAMS", names.join(","))
            .env("DELIVERY", delivery)
            .env("COORDINATION", "mongodb")
            .env("LEASE_DATABASE", &leases);
        // Fast, and slow enough for a machine that does other things too.
        let setup = with_times(setup, [200, 2000, 400]);
        Self {
            kafka,
            databases,
            setup,

            prefix,
            workloads: Vec::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Its instances agree by this.
    #[must_use]
    pub fn by(mut self, kind: Kind) -> Self {
        if kind == Kind::Group {
            let leases = [
                "LEASE_DATABASE",
                "LEASE_HEARTBEAT_MS",
                "LEASE_TIMEOUT_MS",
                "LEASE_POLL_MS",
            ];
            for name in leases {
                self.setup = self.setup.without(name);
            }
            let topic = format!("{}.instances", self.prefix);
            let setup = self.setup.env("COORDINATION", "kafka");
            let setup = setup.env("COORDINATION_TOPIC", topic);
            self.setup = match setup.vars().contains_key("KAFKA_SESSION_TIMEOUT_MS") {
                true => setup,
                false => setup.env("KAFKA_SESSION_TIMEOUT_MS", 2000),
            };
        }
        self
    }

    /// Begins to write; before that nothing is carried.
    pub fn write(&mut self) {
        for (index, database) in self.databases.iter().enumerate() {
            let stop = self.stop.clone();
            let workload = Workload::start(database, index as u64, stop);
            self.workloads.push(workload);
        }
    }

    pub fn id(&self, index: usize) -> String {
        let client = &self.setup.vars()["KAFKA_CLIENT_ID"];
        format!("{client}:{}", self.databases[index].name())
    }

    pub fn topic(&self, index: usize) -> String {
        format!("{}.{}", self.prefix, self.databases[index].name())
    }

    /// Waits until what is written from now on arrives.
    pub async fn flows(&self) {
        for (index, workload) in self.workloads.iter().enumerate() {
            let later = eventually(PATIENCE, "a later write", async || workload.later()).await;
            let topic = self.topic(index);
            let mut tail = self.kafka.tail(&[&topic], Isolation::ReadCommitted);
            let arrives = async {
                while let Some(record) = tail.recv().await {
                    if version(&record).is_some_and(|version| version >= later) {
                        return;
                    }
                }
            };
            let arrived = tokio::time::timeout(PATIENCE, arrives).await;
            assert!(arrived.is_ok(), "no write arrives in {topic}");
        }
    }

    /// Ends the writes, and compares what was written with what a consumer finds. Exactly once, nothing is
    /// repeated. Returns the longest pause between two records of a stream.
    pub async fn assert_whole(self) -> Duration {
        self.pauses().await.first().copied().unwrap_or_default()
    }

    /// As [`assert_whole`](Self::assert_whole); all pauses, the longest first.
    pub async fn pauses(self) -> Vec<Duration> {
        let is_exact = self.setup.vars()["DELIVERY"] == "exactly_once";
        self.stop.cancel();
        let mut pauses = Vec::new();
        for (database, workload) in self.databases.iter().zip(self.workloads) {
            let written = workload.finish().await;
            let topic = format!("{}.{}", self.prefix, database.name());
            let last = written.last_version();
            let kafka = self.kafka;
            let records = eventually(PATIENCE, "the last write arrives", async || {
                let records = match is_exact {
                    true => kafka.committed_records(&[&topic]).await,
                    false => kafka.records(&[&topic]).await,
                };
                let mut versions = records.iter().filter_map(version);
                versions.any(|found| found == last).then_some(records)
            })
            .await;
            let verdict = judge(&written, &records, &contents(database).await);
            if verdict.lost > 0 {
                // Was it never sent, aborted, or seen too early?
                let all = kafka.records(&[&topic]).await;
                let all = judge(&written, &all, &contents(database).await);
                eprintln!("without regard to transactions, a moment later: {all:?}");
                tell_ends(&records);
            }
            assert_sound(&verdict, is_exact);
            pauses.extend(between(&records));
        }
        pauses.sort_unstable_by(|one, two| two.cmp(one));
        pauses
    }
}

/// Heartbeat, time-out and poll of the leases, in ms.
pub fn with_times(setup: Setup, [heartbeat, timeout, poll]: [u64; 3]) -> Setup {
    setup
        .env("LEASE_HEARTBEAT_MS", heartbeat)
        .env("LEASE_TIMEOUT_MS", timeout)
        .env("LEASE_POLL_MS", poll)
}

fn assert_sound(verdict: &Verdict, is_exact: bool) {
    assert!(verdict.written > 0);
    assert_eq!((verdict.lost, verdict.reordered), (0, 0), "{verdict:?}");
    assert!(verdict.is_history_for_a_careful_consumer, "{verdict:?}");
    assert!(verdict.is_same_state, "{verdict:?}");
    assert!(!is_exact || verdict.repeated == 0, "{verdict:?}");
}

/// Says where the records begin and end: what was lost before it was read has no number and no offset.
fn tell_ends(records: &[Record]) {
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| record.seq());
    let (first, last) = (records.iter().take(12), records.iter().rev().take(3));
    for record in first.chain(last) {
        eprintln!(
            "  {} [{}] offset {} seq {} {} version {:?} {}",
            record.topic,
            record.partition,
            record.offset,
            record.seq(),
            record.header("tw-id"),
            version(record),
            record.timestamp.unwrap_or_default(),
        );
    }
}

/// The pauses between records, in whatever order they came.
fn between(records: &[Record]) -> Vec<Duration> {
    let mut times: Vec<_> = records.iter().filter_map(|r| r.timestamp).collect();
    times.sort_unstable();
    let pauses = times.windows(2).map(|two| two[1] - two[0]);
    pauses
        .map(|millis| Duration::from_millis(millis.unsigned_abs()))
        .collect()
}

/// What an instance says of the streams.
pub async fn subscriptions(tailwater: &Tailwater) -> Value {
    tailwater.get("/health/subscriptions").await.json()
}

/// What the others call this instance.
pub async fn name(tailwater: &Tailwater) -> String {
    eventually(PATIENCE, "the instance has a name", async || {
        let name = subscriptions(tailwater).await["instance"].clone();
        name.as_str().map(str::to_owned)
    })
    .await
}

/// Who has each stream, by what this instance says.
pub async fn owners(tailwater: &Tailwater) -> BTreeMap<String, Option<String>> {
    let said = subscriptions(tailwater).await;
    let rows = said["subscriptions"].as_array().cloned();
    let row = |row: Value| {
        let stream = row["stream"].as_str().unwrap_or_default().to_owned();
        (stream, row["owner"].as_str().map(str::to_owned))
    };
    rows.into_iter().flatten().map(row).collect()
}

pub async fn active(tailwater: &Tailwater) -> u64 {
    subscriptions(tailwater).await["active"]
        .as_u64()
        .unwrap_or(0)
}

/// Waits until an instance tells that it cannot reach what the instances agree by.
pub async fn says_that_it_waits(instance: &Tailwater) {
    eventually(PATIENCE, "it says what it waits for", async || {
        let health = instance.get("/health").await.json();
        let reason = health["reason"].as_str()?.to_owned();
        reason
            .contains("what COORDINATION is kept in")
            .then_some(())
    })
    .await;
}

/// Waits until the instances run so many streams each.
pub async fn spread(instances: &[&Tailwater], expected: &[u64]) {
    let what = format!("{expected:?} streams each");
    eventually(PATIENCE, &what, async || {
        let mut counts = Vec::new();
        for instance in instances {
            counts.push(active(instance).await);
        }
        (counts == expected).then_some(())
    })
    .await;
}
