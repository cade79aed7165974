//! Each due time has one record, whatever happens around it.

use super::{assert_each_once, committed, dues, put, schedule, scheduling, status, topic};
use crate::support::{self, Clock, Database, Kafka, PATIENCE, Random, Setup, eventually, unique};
use bson::{DateTime, doc};
use std::time::Duration;

#[tokio::test]
async fn a_line_an_interval_and_one_time_are_due_and_say_so() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let soon = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_000);
    let payload = doc! {"to": "all", "n": 5_i64};
    put(
        &db,
        schedule(
            &db,
            "line",
            doc! {"cron": "* * * * * *", "timezone": "Europe/Berlin", "payload": &payload},
        ),
    )
    .await;
    put(
        &db,
        schedule(&db, "interval", doc! {"every": "1s", "priority": 7}),
    )
    .await;
    put(&db, schedule(&db, "one", doc! {"at": soon})).await;
    put(
        &db,
        schedule(&db, "off", doc! {"every": "1s", "isActive": false}),
    )
    .await;
    let changes = db.topic("changes");
    let setup = scheduling(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &changes);
    let process = setup.start().await;

    let line = committed(kafka, &topic(&db, "line"), 3).await;
    assert_each_once(&line, 1_000);
    let (first, due) = (&line[0], dues(&line)[0]);
    let time = jiff::Timestamp::from_millisecond(due).unwrap().to_string();
    assert_eq!(first.key_bytes.as_deref(), Some(&b"line"[..]));
    assert_eq!(first.value["operationType"], "schedule");
    assert_eq!(
        first.value["fullDocument"],
        serde_json::json!({"to": "all", "n": 5})
    );
    assert_eq!(first.value["timestamp"], time);
    assert_eq!(first.header("tw-job"), "line");
    assert_eq!(first.header("tw-priority"), "1");
    assert!(
        first
            .header("tw-id")
            .ends_with(&format!("/schedules/line@{time}")),
        "{}",
        first.header("tw-id")
    );
    let interval = committed(kafka, &topic(&db, "interval"), 3).await;
    assert_each_once(&interval, 1_000);
    assert_eq!(interval[0].header("tw-priority"), "7");

    let told = status(&db, "one", "done").await;
    assert_eq!(told.get_datetime("lastScheduledFor").ok(), Some(&soon));
    let one = committed(kafka, &topic(&db, "one"), 1).await;
    assert_eq!(dues(&one), [soon.timestamp_millis()]);
    status(&db, "off", "disabled").await;
    let detailed = process.get("/health/detailed").await.json();
    let schedules = &detailed["schedules"];
    assert_eq!(
        (&schedules["state"], &schedules["status"]),
        (&"running".into(), &"healthy".into()),
        "{detailed}"
    );
    assert_eq!(schedules["count"]["active"], 2);
    process.stop().await;
    let (ended, off) = (
        kafka.committed_records(&[&topic(&db, "one")]).await,
        kafka.committed_records(&[&topic(&db, "off")]).await,
    );
    assert_eq!((ended.len(), off.len()), (1, 0));
    // Their collection is no data.
    assert!(kafka.records(&[&changes]).await.is_empty());
}

/// It dies around due times: between making a record and storing that it is made there is nothing.
#[tokio::test]
async fn no_due_time_is_lost_or_made_twice_over_kill_9() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(
        &db,
        schedule(&db, "a", doc! {"every": "1s", "missed": "all"}),
    )
    .await;
    put(
        &db,
        schedule(&db, "b", doc! {"every": "2s", "missed": "all"}),
    )
    .await;
    let setup = scheduling(&db, kafka).env("RESUME_STORE", "file");
    let mut random = Random(16);
    let mut made = 0;
    for _ in 0..4 {
        let mut process = setup.spawn();
        let records = committed(kafka, &topic(&db, "a"), made + 2).await;
        made = records.len();
        // Anywhere within a second, and often where a transaction is open.
        let left = 1_000 - jiff::Timestamp::now().as_millisecond() % 1_000;
        let around = u64::try_from(left).unwrap() + random.below(20);
        tokio::time::sleep(Duration::from_millis(around)).await;
        process.kill9();
    }
    let process = setup.start().await;
    committed(kafka, &topic(&db, "a"), made + 3).await;
    process.stop().await;
    for (name, every) in [("a", 1_000), ("b", 2_000)] {
        let records = kafka.committed_records(&[&topic(&db, name)]).await;
        assert_each_once(&records, every);
    }
}

#[tokio::test]
async fn no_due_time_is_lost_or_made_twice_over_hand_overs() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = scheduling(&db, kafka)
        .env("COORDINATION", "mongodb")
        .env("LEASE_DATABASE", unique("leases").replace('-', "_"))
        .env("LEASE_HEARTBEAT_MS", 200)
        .env("LEASE_TIMEOUT_MS", 1000)
        .env("LEASE_POLL_MS", 500);
    hand_over(&db, kafka, &setup).await;
}

#[tokio::test]
async fn no_due_time_is_lost_or_made_twice_over_hand_overs_by_a_group_of_kafka() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = scheduling(&db, kafka)
        .env("COORDINATION", "kafka")
        .env("COORDINATION_TOPIC", unique("instances"))
        .env("KAFKA_SESSION_TIMEOUT_MS", 2000);
    hand_over(&db, kafka, &setup).await;
}

/// Two instances: one is stopped, one dies, one is frozen and wakes up when another has its schedules.
async fn hand_over(db: &Database, kafka: &Kafka, setup: &Setup) {
    put(db, schedule(db, "a", doc! {"every": "1s", "missed": "all"})).await;
    let (mut one, mut other) = (setup.start().await, setup.start().await);
    let mut made = committed(kafka, &topic(db, "a"), 2).await.len();
    for way in ["freeze", "kill", "stop"] {
        let owner = async |process: &support::Tailwater| {
            process.get("/health/detailed").await.json()["schedules"]["state"] == "running"
        };
        let is_one = eventually(PATIENCE, "one of them runs the schedules", async || match (
            owner(&one).await,
            owner(&other).await,
        ) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        })
        .await;
        if !is_one {
            std::mem::swap(&mut one, &mut other);
        }
        match way {
            "freeze" => {
                one.signal(rustix::process::Signal::STOP);
                made = committed(kafka, &topic(db, "a"), made + 6).await.len();
                one.signal(rustix::process::Signal::CONT);
                made = committed(kafka, &topic(db, "a"), made + 3).await.len();
            }
            "kill" => {
                one.kill9();
                made = committed(kafka, &topic(db, "a"), made + 4).await.len();
                one = setup.start().await;
            }
            _ => {
                one.stop().await;
                made = committed(kafka, &topic(db, "a"), made + 3).await.len();
                one = setup.start().await;
            }
        }
    }
    one.stop().await;
    other.stop().await;
    let records = kafka.committed_records(&[&topic(db, "a")]).await;
    assert_each_once(&records, 1_000);
}

#[tokio::test]
async fn what_was_missed_is_made_once_or_not_or_all_of_it() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let hour = 3_600_000;
    for missed in ["once", "skip", "all"] {
        put(
            &db,
            schedule(&db, missed, doc! {"every": "1h", "missed": missed}),
        )
        .await;
    }
    put(
        &db,
        schedule(&db, "gone-by", doc! {"at": DateTime::from_millis(hour)}),
    )
    .await;
    put(&db, schedule(&db, "tick", doc! {"every": "1s"})).await;
    let clock = Clock::new();
    // Kafka takes no record of a time to come.
    clock.step_to(-10 * 3_600);
    let setup = clock.of(&scheduling(&db, kafka));
    let process = setup.start().await;
    committed(kafka, &topic(&db, "tick"), 1).await;
    process.stop().await;
    // Nobody runs for ten hours.
    clock.step_to(0);
    let process = setup.start().await;
    let ticks = kafka.committed_records(&[&topic(&db, "tick")]).await.len();
    committed(kafka, &topic(&db, "tick"), ticks + 2).await;
    process.stop().await;
    let of = async |name: &str| dues(&kafka.committed_records(&[&topic(&db, name)]).await);
    let all = of("all").await;
    assert_eq!(all.len(), 10, "{all:?}");
    assert!(all.windows(2).all(|two| two[1] - two[0] == hour));
    assert_eq!(of("once").await, all[9..]);
    assert!(of("skip").await.is_empty());
    assert_eq!(of("gone-by").await, [hour]);
}

/// A machine that slept, or a clock that was set: what was due meanwhile was missed. One that goes back makes nothing twice.
#[tokio::test]
async fn a_clock_that_is_set_while_it_runs_makes_no_flood_and_nothing_twice() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    put(&db, schedule(&db, "tick", doc! {"every": "1s"})).await;
    let clock = Clock::new();
    let process = clock.of(&scheduling(&db, kafka)).start().await;
    let before = committed(kafka, &topic(&db, "tick"), 2).await.len();
    clock.step_to(3_600);
    let after = committed(kafka, &topic(&db, "tick"), before + 3).await;
    let all = dues(&after);
    let jumps = all
        .windows(2)
        .filter(|two| two[1] - two[0] > 3_000_000)
        .count();
    assert_eq!(jumps, 1, "{all:?}");
    // Back: what is due next has its record already, for an hour.
    clock.step_to(3_590);
    let last = committed(kafka, &topic(&db, "tick"), after.len() + 2).await;
    let all = dues(&last);
    assert!(all.is_sorted_by(|one, other| one < other), "{all:?}");
    process.stop().await;
}
