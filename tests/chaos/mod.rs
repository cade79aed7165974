//! Breaks the process and both servers at random moments under load, and checks the whole history.
//!
//! The short run is a test like any other; `scripts/chaos` starts the long one. A run is told by its
//! seed: which faults, in which order, after which pauses (what they meet on their way is the machine's
//! doing).

mod history;
mod plan;
mod workload;

use crate::support::{Direction, Kafka, Mongo, PATIENCE, Record, Setup, Tailwater, eventually};
use history::Verdict;
use plan::{Dice, Fault, Plan};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use workload::Workload;

/// What a run has done and seen.
struct Report {
    faults: BTreeMap<&'static str, u32>,
    verdict: Verdict,
    longest_stall: Duration,
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
            "| {} | {} | {} | {} | {} | {} | {:.1} s |",
            plan.delivery,
            self.faults.values().sum::<u32>(),
            verdict.written,
            verdict.lost,
            verdict.repeated,
            verdict.reordered,
            self.longest_stall.as_secs_f64()
        );
    }
}

struct Scene {
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

async fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let mongo = Mongo::dedicated(&["--oplog-max-entries", "10000000"]).await;
    let (kafka, kafka_proxy) = Kafka::behind_proxy(&[]).await;
    let mongo_proxy = mongo.proxy().await;
    let db = mongo.database().await;
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 3, &[]).await;
    let setup = Tailwater::on(&db, &kafka)
        .env("MONGODB_URI", mongo.uri_through(&mongo_proxy, db.name()))
        .env("KAFKA_BROKERS", kafka_proxy.addr())
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("FULL_DOCUMENT", "default")
        .env("DELIVERY", plan.delivery)
        .env("COMMIT_INTERVAL_MS", 200)
        .env("RECONNECT_DELAY_MS", 50);
    let tailwater = setup.start().await;
    let arrived = Arc::new(AtomicU64::new(0));
    watch(&kafka, &topic, plan, Arc::clone(&arrived));

    let stop = CancellationToken::new();
    let workload = Workload::start(&mongo, &db, plan.seed, stop.clone());
    let mut scene = Scene {
        mongo,
        mongo_proxy,
        kafka,
        kafka_proxy,
        setup,
        tailwater,
    };
    let mut dice = Dice::new(plan.seed);
    let mut report = BTreeMap::new();
    let mut longest_stall = Duration::ZERO;
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
        let (log, process) = (scene.tailwater.log(), &workload);
        let written = eventually(PATIENCE, "a write after the fault", async || {
            process.later()
        })
        .await;
        let what = format!("delivery after: {kind}\n{log}");
        eventually(2 * PATIENCE, &what, async || {
            (arrived.load(Ordering::Relaxed) >= written).then_some(())
        })
        .await;
        let stall = ended.elapsed();
        longest_stall = longest_stall.max(stall);
        println!(
            "[{:>3}/{count}] {kind}, delivered again after {} ms",
            index + 1,
            stall.as_millis()
        );
    }
    stop.cancel();
    let written = workload.finish().await;
    let last = written.last_version();
    eventually(2 * PATIENCE, "the last write arrives", async || {
        (arrived.load(Ordering::Relaxed) >= last).then_some(())
    })
    .await;
    let Scene {
        tailwater, kafka, ..
    } = scene;
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

async fn hold(plan: Plan) {
    let report = run(&plan).await;
    report.print(&plan);
    let verdict = &report.verdict;
    assert!(verdict.written > 0);
    assert_eq!((verdict.lost, verdict.reordered), (0, 0), "{verdict:?}");
    assert!(verdict.is_history_for_a_careful_consumer, "{verdict:?}");
    assert!(verdict.is_same_state, "{verdict:?}");
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
