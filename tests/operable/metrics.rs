//! `/metrics` of the real process, and its documentation.

use super::exposition::Scrape;
use super::promtool;
use crate::support::{self, PATIENCE, Setup, Tailwater, eventually};
use bson::doc;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tailwater::metrics::names::{self, Kind};

/// Reads `/metrics`.
///
/// # Panics
/// When it breaks a rule of the format.
async fn scrape(tailwater: &Tailwater) -> Scrape {
    let reply = tailwater.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let kind = reply
        .headers
        .iter()
        .find(|(name, _)| name == "content-type");
    assert_eq!(kind.unwrap().1, "text/plain; version=0.0.4; charset=utf-8");
    promtool::passes(&["check", "metrics"], &reply.body);
    Scrape::parse(&reply.body).unwrap_or_else(|problem| panic!("{problem}\n{}", reply.body))
}

#[tokio::test]
async fn every_change_is_counted_by_collection_and_operation() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .start()
        .await;
    let users = db.documents("users");
    let odd = db.documents("odd \"name\"");
    for id in 0..3 {
        users.insert_one(doc! {"_id": id}).await.unwrap();
    }
    users.delete_one(doc! {"_id": 0}).await.unwrap();
    odd.insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 5).await;

    let scrape = eventually(PATIENCE, "all is acknowledged and stored", async || {
        let scrape = scrape(&tailwater).await;
        let acknowledged = scrape.value("tailwater_records_acknowledged_total", &[]);
        let stored = scrape.value(
            "tailwater_checkpoint_writes_total",
            &[("outcome", "stored")],
        );
        (acknowledged == Some(5.0) && stored >= Some(1.0)).then_some(scrape)
    })
    .await;
    let events = |collection, operation| {
        let labels = [("collection", collection), ("operation", operation)];
        scrape.value("tailwater_events_total", &labels)
    };
    assert_eq!(events("users", "insert"), Some(3.0));
    assert_eq!(events("users", "delete"), Some(1.0));
    assert_eq!(events("odd \"name\"", "insert"), Some(1.0));
    assert_eq!(events("users", "update"), None);
    for bytes in [
        "tailwater_event_bytes_total",
        "tailwater_record_bytes_total",
    ] {
        assert!(scrape.value(bytes, &[("collection", "users")]) > Some(100.0));
    }
    let batches = scrape.value("tailwater_batches_total", &[]).unwrap();
    assert!((1.0..=5.0).contains(&batches), "{batches}");
    for histogram in [
        "tailwater_batch_events",
        "tailwater_end_to_end_latency_seconds",
        "tailwater_acknowledgement_latency_seconds",
    ] {
        let count = scrape.value(&format!("{histogram}_count"), &[]);
        assert_eq!(count, Some(batches), "{histogram}");
    }
    assert_eq!(scrape.value("tailwater_batch_events_sum", &[]), Some(5.0));
    assert_eq!(scrape.value("tailwater_ready", &[]), Some(1.0));
    assert_eq!(
        scrape.value("tailwater_state", &[("state", "running")]),
        Some(1.0)
    );
    assert_eq!(scrape.value("tailwater_state", &[]), Some(1.0));
    tailwater.stop().await;
}

#[tokio::test]
async fn every_metric_that_is_described_shows_up_and_no_other() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka).env("COORDINATION", "mongodb");
    let setup = setup.env("LEASE_DATABASE", support::unique("leases"));
    // Some are there only with listeners, and others only with records of the configuration's own topics.
    let listeners = format!("{}.listeners", db.name());
    let job = support::unique("job");
    let schedule = doc! {"_id": &job, "name": &job, "every": "1d", "jobName": &job};
    let schedules = db.documents("schedules");
    schedules.insert_one(schedule).await.unwrap();
    let tailwater = setup
        .env("LISTENERS_COLLECTION", listeners)
        .env("SCHEDULES_COLLECTION", format!("{}.schedules", db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("LIVE_ADDR", "127.0.0.1:0")
        .start()
        .await;
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();

    let described: BTreeSet<_> = names::ALL
        .iter()
        .filter(|metric| !metric.is_of_worker())
        .map(|metric| metric.name.to_owned())
        .collect();
    let scrape = eventually(PATIENCE, "every metric shows up", async || {
        let scrape = scrape(&tailwater).await;
        let shown: BTreeSet<_> = scrape.types.keys().cloned().collect();
        assert!(shown.is_subset(&described), "{:?}", &shown - &described);
        (shown == described).then_some(scrape)
    })
    .await;
    for metric in names::ALL.iter().filter(|metric| !metric.is_of_worker()) {
        assert_eq!(scrape.types[metric.name], metric.kind.name());
        let mut labels: BTreeSet<_> = metric.labels.iter().copied().collect();
        if !metric.is_of_process() {
            labels.insert(names::STREAM);
        }
        assert_eq!(scrape.labels(metric.name), labels, "{}", metric.name);
    }
    let headroom = scrape.value("tailwater_oplog_headroom_seconds", &[]);
    assert!(headroom >= Some(0.0));
    let memory = scrape.value("process_resident_memory_bytes", &[]).unwrap();
    assert!((1e6..1e9).contains(&memory), "{memory}");
    // Restarts are counted by its changes.
    let started = |scrape: &Scrape| scrape.value("process_start_time_seconds", &[]);
    let again = self::scrape(&tailwater).await;
    assert_eq!(started(&scrape), started(&again));
    tailwater.stop().await;
}

#[tokio::test]
async fn a_process_that_watches_nothing_can_be_scraped() {
    let mut tailwater = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let scrape = scrape(&tailwater).await;
    assert_eq!(
        scrape.value("tailwater_state", &[("state", "disabled")]),
        Some(1.0)
    );
    assert_eq!(scrape.value("tailwater_ready", &[]), Some(1.0));
    // What was never seen is absent, not zero.
    for metric in [
        &names::HEADROOM,
        &names::CHECKPOINT_AGE,
        &names::KAFKA_BROKERS_UP,
    ] {
        assert_eq!(scrape.value(metric.name, &[]), None, "{}", metric.name);
    }
    tailwater.stop().await;
}

/// The reference table in Markdown, as in `docs/operations.md`.
fn reference() -> String {
    let mut table = String::from("| Metric | Type | Labels | What it says |\n|---|---|---|---|\n");
    for metric in names::ALL {
        let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    table
}

#[test]
fn the_documentation_lists_every_metric_as_the_code_describes_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("<!-- metrics:start -->\n\n").unwrap();
    let (table, _) = rest.split_once("\n<!-- metrics:end -->").unwrap();
    assert_eq!(
        table,
        reference(),
        "docs/operations.md must hold:\n{}",
        reference()
    );
    assert!(
        names::ALL
            .iter()
            .any(|metric| metric.kind == Kind::Histogram)
    );
}
