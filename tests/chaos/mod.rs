//! Breaks the process and both servers at random moments under load, and checks the whole history.
//!
//! The short run is a test like any other; `scripts/chaos` starts the long one. A run is told by its
//! seed: which faults, in which order, after which pauses (what they meet on their way is the machine's
//! doing).

pub mod history;
pub(crate) mod plan;
pub mod workload;

use crate::support::{
    Direction, Kafka, Mongo, Operation, PATIENCE, Record, Resource, Setup, Tailwater, eventually,
    unique,
};
use history::Verdict;
use plan::{DENIED_ALL, DENIED_CHECKPOINTS, DENIED_ID, DENIED_TOPIC, NO_CHECKPOINTS};
use plan::{Dice, Fault, Plan};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tailwater::kafka::transaction::transactional_id;
use tokio_util::sync::CancellationToken;
use workload::Workload;

/// What a run has done and seen.
struct Report {
    faults: BTreeMap<&'static str, u32>,
    verdict: Verdict,
    /// From the end of a fault, and of which, until a write made after it had arrived.
    longest_stall: (Duration, &'static str),
    took: Duration,
}

impl Report {
    /// One row of the table in `docs/delivery.md`.
    fn print(&self, plan: &Plan) {
        let faults: Vec<String> = self
            .faults
            .iter()
            .map(|(name, count)| format!("{count} × {name}"))
            .collect();
        let verdict = &self.verdict;
        println!(
            "\nseed {}, {}, {:.0} s",
            plan.seed,
            plan.delivery,
            self.took.as_secs_f64()
        );
        println!("faults: {}", faults.join(", "));
        println!(
            "| delivery | faults | written | lost | repeated | reordered | longest stall after a fault |"
        );
        println!("|---|---|---|---|---|---|---|");
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.1} s ({}) |",
            plan.delivery,
            self.faults.values().sum::<u32>(),
            verdict.written,
            verdict.lost,
            verdict.repeated,
            verdict.reordered,
            self.longest_stall.0.as_secs_f64(),
            self.longest_stall.1
        );
    }
}

/// The user whose rights are taken away and given back.
const USER: &str = "tailwater";

/// A broker that forgets ids soon: also those of an instance that stands still.
const BROKER: &[&str] = &[
    "transactional.id.expiration.ms=2000",
    "transaction.remove.expired.transaction.cleanup.interval.ms=500",
];

struct Scene {
    topic: String,
    checkpoints: String,
    /// The transactional id.
    id: String,
    workload: Workload,
    mongo: Mongo,
    mongo_proxy: crate::support::Proxy,
    kafka: Kafka,
    kafka_proxy: crate::support::Proxy,
    setup: Setup,
    tailwater: Tailwater,
}

impl Scene {
    /// Does the fault and ends it.
    async fn suffer(&mut self, fault: Fault, dice: &mut Dice) {
        let Fault { kind, lasts } = fault;
        match kind {
            "kill -9 of tailwater" => {
                self.tailwater.kill9();
                tokio::time::sleep(lasts).await;
                self.tailwater = self.setup.spawn();
            }
            "SIGSTOP of tailwater" => {
                self.tailwater.signal(Signal::STOP);
                tokio::time::sleep(lasts).await;
                self.tailwater.signal(Signal::CONT);
            }
            "kafka killed" => {
                self.kafka.kill9();
                tokio::time::sleep(lasts).await;
                self.kafka.restart().await;
            }
            "mongodb killed" => {
                self.mongo.kill9();
                tokio::time::sleep(lasts).await;
                self.mongo.restart().await;
            }
            "kafka frozen" => {
                self.kafka.stop_signal();
                tokio::time::sleep(lasts).await;
                self.kafka.cont();
            }
            DENIED_TOPIC => {
                let name = self.topic.clone();
                let topic = Resource::Topic(&name);
                self.deny(topic, Operation::Write, lasts).await;
            }
            DENIED_ID => {
                let name = self.id.clone();
                let id = Resource::TransactionalId(&name);
                self.deny(id, Operation::Write, lasts).await;
            }
            DENIED_CHECKPOINTS => {
                let name = self.checkpoints.clone();
                let topic = Resource::Topic(&name);
                self.deny(topic, Operation::All, lasts).await;
            }
            DENIED_ALL => {
                let topics = Resource::Topic("*");
                self.deny(topics, Operation::All, lasts).await;
            }
            NO_CHECKPOINTS => self.lose_checkpoints().await,
            "a rest, in which ids expire" => self.workload.rest(lasts).await,
            // Below what a batch holds, above every record.
            "limit of the topic lowered" => self.alter("max.message.bytes", "3000", lasts).await,
            "timestamps of the topic changed" => {
                let name = "message.timestamp.type";
                self.alter(name, "LogAppendTime", lasts).await;
            }
            "kafka connections closed" => self.kafka_proxy.drop_connections(),
            "mongodb connections closed" => self.mongo_proxy.drop_connections(),
            other => {
                let proxy = match other.starts_with("kafka") {
                    true => &self.kafka_proxy,
                    false => &self.mongo_proxy,
                };
                let direction = match dice.roll(3) {
                    0 => Direction::ToServer,
                    1 => Direction::ToClient,
                    _ => Direction::Both,
                };
                match other.split_once(' ').map_or("", |(_, what)| what) {
                    "cut off" => proxy.cut(),
                    "stalled" => proxy.stall(direction),
                    "half open" => proxy.half_open(direction),
                    what => panic!("no such fault: {what}"),
                }
                tokio::time::sleep(lasts).await;
                proxy.heal();
            }
        }
    }
}

impl Scene {
    /// Takes a right away from a running instance: one that starts without it is refused.
    async fn deny(&mut self, resource: Resource<'_>, operation: Operation, lasts: Duration) {
        self.tailwater.wait_ready().await;
        self.kafka.deny(USER, resource, operation).await;
        tokio::time::sleep(lasts).await;
        self.kafka.end_denial(USER, resource, operation).await;
    }

    async fn alter(&self, name: &str, value: &str, lasts: Duration) {
        self.kafka.alter_topic(&self.topic, &[(name, value)]).await;
        tokio::time::sleep(lasts).await;
        self.kafka.alter_topic(&self.topic, &[]).await;
    }

    /// Deletes the checkpoint topic under a running instance, and waits until it is written again: one that
    /// starts without it knows nothing.
    async fn lose_checkpoints(&mut self) {
        self.tailwater.wait_ready().await;
        self.kafka.delete_topic(&self.checkpoints).await;
        let what = format!("a checkpoint again\n{}", self.tailwater.log());
        eventually(PATIENCE, &what, async || {
            let checkpoints = self.kafka.committed_records(&[&self.checkpoints]).await;
            (!checkpoints.is_empty()).then_some(())
        })
        .await;
    }
}

async fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let mongo = Mongo::dedicated(&["--oplog-max-entries", "10000000"]).await;
    let (kafka, kafka_proxy) = Kafka::with_acls_behind_proxy(&[USER], BROKER).await;
    kafka.allow_everything(USER).await;
    let mongo_proxy = mongo.proxy().await;
    let db = mongo.database().await;
    let (topic, checkpoints) = (db.topic("changes"), unique("checkpoints"));
    let stream = unique("stream");
    kafka.create_topic(&topic, 3, &[]).await;
    let setup = Tailwater::on(&db, &kafka)
        .env("MONGODB_URI", mongo.uri_through(&mongo_proxy, db.name()))
        .logged_in_as(&kafka, USER)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("RESUME_TOPIC", &checkpoints)
        .env("STREAM_ID", &stream)
        .env("FULL_DOCUMENT", "default")
        .env("DELIVERY", plan.delivery)
        .env("COMMIT_INTERVAL_MS", 200)
        .env("RECONNECT_DELAY_MS", 50);
    let tailwater = setup.start().await;
    let arrived = Arc::new(AtomicU64::new(0));
    watch(&kafka, &topic, plan, Arc::clone(&arrived));

    let stop = CancellationToken::new();
    let workload = Workload::start(&db, plan.seed, stop.clone());
    let mut scene = Scene {
        topic: topic.clone(),
        checkpoints,
        id: transactional_id(&stream),
        workload,
        mongo,
        mongo_proxy,
        kafka,
        kafka_proxy,
        setup,
        tailwater,
    };
    let mut dice = Dice::new(plan.seed);
    let mut report = BTreeMap::new();
    let mut longest_stall = (Duration::ZERO, "none");
    let faults = plan.faults(&mut dice);
    let count = faults.len();
    for (index, fault) in faults.into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(dice.roll(700))).await;
        *report.entry(fault.kind).or_default() += 1;
        let kind = fault.kind;
        scene.suffer(fault, &mut dice).await;
        let ended = Instant::now();
        // Kills may follow each other before the process is up again; every other fault is waited out.
        if kind == "kill -9 of tailwater" && dice.roll(3) == 0 {
            println!("[{:>3}/{count}] {kind}, and on", index + 1);
            continue;
        }
        let log = scene.tailwater.log();
        let written = eventually(PATIENCE, "a write after the fault", async || {
            scene.workload.later()
        })
        .await;
        let what = format!("delivery after: {kind}\n{log}");
        eventually(2 * PATIENCE, &what, async || {
            (arrived.load(Ordering::Relaxed) >= written).then_some(())
        })
        .await;
        let stall = ended.elapsed();
        if stall > longest_stall.0 {
            longest_stall = (stall, kind);
        }
        println!(
            "[{:>3}/{count}] {kind}, delivered again after {} ms",
            index + 1,
            stall.as_millis()
        );
    }
    let Scene {
        tailwater,
        kafka,
        workload,
        ..
    } = scene;
    stop.cancel();
    let written = workload.finish().await;
    let last = written.last_version();
    eventually(2 * PATIENCE, "the last write arrives", async || {
        (arrived.load(Ordering::Relaxed) >= last).then_some(())
    })
    .await;
    tailwater.stop().await;
    let records: Vec<Record> = match plan.delivery {
        "exactly_once" => kafka.committed_records(&[&topic]).await,
        _ => kafka.records(&[&topic]).await,
    };
    let state = workload::contents(&db).await;
    Report {
        faults: report,
        verdict: history::judge(&written, &records, &state),
        longest_stall,
        took: began.elapsed(),
    }
}

/// Keeps in `arrived` the highest version that a consumer has seen.
fn watch(kafka: &Kafka, topic: &str, plan: &Plan, arrived: Arc<AtomicU64>) {
    let mut tail = kafka.tail(&[topic], plan.isolation());
    tokio::spawn(async move {
        while let Some(record) = tail.recv().await {
            if let Some(version) = history::version(&record) {
                arrived.fetch_max(version, Ordering::Relaxed);
            }
        }
    });
}

/// What stands still for longer after a fault has ended is stuck.
const LONGEST_STALL: Duration = Duration::from_secs(60);

async fn hold(plan: Plan) {
    let report = run(&plan).await;
    report.print(&plan);
    let verdict = &report.verdict;
    assert!(verdict.written > 0);
    assert_eq!((verdict.lost, verdict.reordered), (0, 0), "{verdict:?}");
    assert!(verdict.is_history_for_a_careful_consumer, "{verdict:?}");
    assert!(verdict.is_same_state, "{verdict:?}");
    let (stall, kind) = report.longest_stall;
    assert!(stall < LONGEST_STALL, "{stall:?} after: {kind}");
    if plan.delivery == "exactly_once" {
        assert_eq!(verdict.repeated, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_kills_and_every_other_fault_lose_nothing_and_keep_the_order() {
    hold(Plan::short("at_least_once")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/chaos runs it"]
async fn the_long_run() {
    hold(Plan::from_env()).await;
}
