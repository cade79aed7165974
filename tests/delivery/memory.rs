//! Memory is bounded in bytes, whatever Kafka does.

use crate::support::{Kafka, Tailwater, database, eventually};
use bson::doc;
use std::time::Duration;

/// `MAX_IN_FLIGHT_BYTES` of this test.
const IN_FLIGHT: usize = 16 << 20;
/// What the process takes beyond it, as `docs/delivery.md` states it.
const CONSTANT: usize = 96 << 20;

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_stands_still_and_the_source_writes_on_memory_stays_within_its_bound() {
    let db = database().await;
    // Frozen for longer than its session, the broker would be taken out by its own controller, and on a
    // busy machine it is long in coming back.
    let kafka = Kafka::dedicated(&["broker.session.timeout.ms=600000"]).await;
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, &kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("MAX_IN_FLIGHT_BYTES", IN_FLIGHT)
        .start()
        .await;
    let documents = db.documents("users");
    documents.insert_one(doc! {"_id": "first"}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;

    let mut kafka = kafka;
    kafka.stop_signal();
    let text = "x".repeat(10_000);
    let written = 8_000;
    let mut peak = 0;
    for _ in 0..written / 100 {
        let many = (0..100).map(|_| doc! {"text": &text});
        documents.insert_many(many).await.unwrap();
        peak = peak.max(resident(tailwater.pid()));
    }
    // Five times the budget was written: it is full, and nothing more is read.
    let mut calm = 0;
    eventually(Duration::from_secs(60), "memory stands still", async || {
        let before = peak;
        tokio::time::sleep(Duration::from_millis(200)).await;
        peak = peak.max(resident(tailwater.pid()));
        calm = if peak == before { calm + 1 } else { 0 };
        (calm > 10).then_some(())
    })
    .await;
    println!("{} MiB at most", peak >> 20);
    assert!(
        peak < IN_FLIGHT + CONSTANT,
        "{} MiB with {} MiB in flight",
        peak >> 20,
        IN_FLIGHT >> 20
    );

    kafka.cont();
    kafka.wait_for_records(&[&topic], written + 1).await;
    tailwater.stop().await;
}
