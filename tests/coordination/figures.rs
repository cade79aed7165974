//! How long a stream pauses when its instance goes, each way that there is: the table of docs/delivery.md, by
//! `scripts/coordination`.
//!
//! A pause is from the last record of the one instance to the first of the next, by the times that the records have.

use super::fleet::{BOTH, Fleet, Kind, name, spread, with_times};
use super::handing_over::ask;
use crate::support::{self, Direction, Kafka, Proxy, Setup, Tailwater, eventually};
use crate::support::{Mongo, PATIENCE};
use rustix::process::Signal;
use std::time::Duration;

/// What the instances agree by, with which times.
#[derive(Debug, Clone, Copy)]
enum Setting {
    /// Heartbeat, time-out and poll in ms.
    Leases([u64; 3]),
    /// Session in ms.
    Group(u64),
}

const SHORTEST: Setting = Setting::Leases([100, 500, 200]);
const USUAL: Setting = Setting::Leases([10_000, 30_000, 15_000]);
const SHORT_SESSION: Setting = Setting::Group(6_000);
const USUAL_SESSION: Setting = Setting::Group(10_000);

impl Setting {
    fn on(self, fleet: Fleet<'_>) -> Fleet<'_> {
        let mut fleet = fleet;
        match self {
            Self::Leases(times) => {
                fleet.setup = with_times(fleet.setup, times);
                fleet
            }
            Self::Group(session) => {
                fleet.setup = fleet.setup.env("KAFKA_SESSION_TIMEOUT_MS", session);
                fleet.by(Kind::Group)
            }
        }
    }

    fn described(self) -> String {
        match self {
            Self::Leases([heartbeat, timeout, poll]) => {
                format!("`mongodb` | {heartbeat}/{timeout}/{poll} ms")
            }
            Self::Group(session) => format!("`kafka` | {session} ms"),
        }
    }
}

/// How the owner of the stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Moved,
    Stopped,
    Killed,
    Frozen,
    Cut { mongo: bool, kafka: bool },
}

/// The stream, two instances, and what can be cut between one of them and the servers.
struct Stage<'a> {
    fleet: Fleet<'a>,
    /// The setup of an instance that can be cut off.
    through: Setup,
    from_mongo: Proxy,
    from_kafka: &'a Proxy,
    owner: Tailwater,
    other: Tailwater,
}

impl<'a> Stage<'a> {
    async fn new(
        (mongo, kafka): (&Mongo, &'a Kafka),
        from_kafka: &'a Proxy,
        setting: Setting,
        delivery: &str,
        way: Way,
    ) -> Self {
        let mut fleet = setting.on(Fleet::over(mongo, kafka, 1, delivery).await);
        let from_mongo = Proxy::to(mongo.addr()).await;
        let through = fleet
            .setup
            .clone()
            .env("MONGODB_URI", mongo.uri_through(&from_mongo, ""))
            .env("KAFKA_BROKERS", from_kafka.addr());
        // Whoever is cut off cannot drain.
        let through = match way {
            Way::Cut { .. } => through.env("SHUTDOWN_TIMEOUT_MS", 1000),
            _ => through,
        };
        let owner = through.start().await;
        spread(&[&owner], &[1]).await;
        let other = fleet.setup.start().await;
        fleet.write();
        fleet.flows().await;
        Self {
            fleet,
            through,
            from_mongo,
            from_kafka,
            owner,
            other,
        }
    }

    /// The owner goes, the other one takes over, and there are two again.
    async fn go(&mut self, way: Way) {
        match way {
            Way::Moved => self.hand_over().await,
            Way::Stopped => {
                self.owner.signal(Signal::TERM);
                assert_eq!(self.owner.wait_exit(PATIENCE).await.code, Some(0));
                self.is_replaced().await;
            }
            Way::Killed => {
                self.owner.kill9();
                self.is_replaced().await;
            }
            Way::Frozen => {
                self.owner.signal(Signal::STOP);
                self.is_taken_over().await;
                self.owner.signal(Signal::CONT);
                self.stands_by().await;
                std::mem::swap(&mut self.owner, &mut self.other);
            }
            Way::Cut { mongo, kafka } => {
                if mongo {
                    self.from_mongo.half_open(Direction::Both);
                }
                if kafka {
                    self.from_kafka.half_open(Direction::Both);
                }
                self.is_taken_over().await;
                self.from_mongo.heal();
                self.from_kafka.heal();
            }
        }
    }

    /// The longest pauses, one for each time that the owner goes.
    async fn pauses(mut self, way: Way, times: usize) -> Vec<Duration> {
        for _ in 0..times {
            self.go(way).await;
        }
        let mut pauses = self.fleet.pauses().await;
        pauses.truncate(times);
        self.owner.kill9();
        self.other.stop().await;
        pauses
    }

    async fn hand_over(&mut self) {
        let to = name(&self.other).await;
        let stream = self.fleet.databases[0].name();
        let exit = ask(
            &self.fleet,
            &self.owner,
            &["streams", "move", stream, "--to", &to],
        )
        .await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        spread(&[&self.owner, &self.other], &[0, 1]).await;
        self.fleet.flows().await;
        std::mem::swap(&mut self.owner, &mut self.other);
    }

    async fn is_taken_over(&self) {
        spread(&[&self.other], &[1]).await;
        self.fleet.flows().await;
    }

    async fn is_replaced(&mut self) {
        self.is_taken_over().await;
        let new = self.through.start().await;
        self.owner = std::mem::replace(&mut self.other, new);
    }

    async fn stands_by(&self) {
        spread(&[&self.owner, &self.other], &[0, 1]).await;
        eventually(PATIENCE, "it stands by", async || {
            let health = self.owner.get("/health").await;
            (self.owner.is_ready().await && health.status == 200).then_some(())
        })
        .await;
    }
}

/// Prints a row for each setting and delivery: the median and the longest of so many pauses.
async fn rows(what: &str, way: Way, settings: &[(Setting, usize)]) {
    let mongo = support::mongo().await;
    let (kafka, from_kafka) = Kafka::behind_proxy(&[]).await;
    for (setting, times) in settings {
        for delivery in BOTH {
            // Whoever was cut off is as the others only after a while.
            let (rounds, each) = match way {
                Way::Cut { .. } => (*times, 1),
                _ => (1, *times),
            };
            let mut pauses = Vec::new();
            for _ in 0..rounds {
                let servers = (mongo, &kafka);
                let stage = Stage::new(servers, &from_kafka, *setting, delivery, way).await;
                pauses.extend(stage.pauses(way, each).await);
            }
            pauses.sort_unstable();
            let seconds = |pause: Duration| format!("{:.2} s", pause.as_secs_f64());
            println!(
                "| {what} | {} | `{delivery}` | {} | {} | {times} |",
                setting.described(),
                seconds(pauses[times / 2]),
                seconds(pauses[times - 1]),
            );
        }
    }
}

const ALL: [(Setting, usize); 4] = [
    (SHORTEST, 7),
    (USUAL, 2),
    (SHORT_SESSION, 3),
    (USUAL_SESSION, 3),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn moved() {
    let settings = [(USUAL, 20), (USUAL_SESSION, 20)];
    rows("moved", Way::Moved, &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn stopped() {
    let settings = [(USUAL, 7), (USUAL_SESSION, 7)];
    rows("stopped (SIGTERM)", Way::Stopped, &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn killed() {
    rows("killed (SIGKILL)", Way::Killed, &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn frozen() {
    rows("frozen (SIGSTOP)", Way::Frozen, &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn cut_from_what_the_coordination_is_kept_in() {
    let (mongo, kafka) = (true, false);
    let settings = [(SHORTEST, 3), (USUAL, 1)];
    rows("cut from MongoDB", Way::Cut { mongo, kafka }, &settings).await;
    let (mongo, kafka) = (false, true);
    let settings = [(SHORT_SESSION, 2), (USUAL_SESSION, 1)];
    rows("cut from Kafka", Way::Cut { mongo, kafka }, &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by scripts/coordination"]
async fn cut_from_both() {
    let (mongo, kafka) = (true, true);
    let settings = [
        (SHORTEST, 3),
        (USUAL, 1),
        (SHORT_SESSION, 2),
        (USUAL_SESSION, 1),
    ];
    rows("cut from both", Way::Cut { mongo, kafka }, &settings).await;
}
