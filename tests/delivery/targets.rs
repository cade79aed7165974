//! The real producer where one event makes several records.

use crate::support;
use std::sync::Arc;
use tailwater::change::position::Seq;
use tailwater::config::Config;
use tailwater::flow::budget::Budget;
use tailwater::flow::tracker::Tracker;
use tailwater::kafka::produce::Record;
use tailwater::route::TargetId;
use tailwater::sink::producer::{Producer, Sizes, Ticket};
use tailwater::status::Board;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_is_reported_with_its_event_and_whom_it_was_for() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, small) = (db.topic("changes"), db.topic("jobs"));
    kafka.create_topic(&topic, 1, &[]).await;
    let limit = [("max.message.bytes", "1000")];
    kafka.create_topic(&small, 1, &limit).await;
    let variables = [
        ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
        ("KAFKA_BROKERS", kafka.brokers()),
        ("KAFKA_DB_CHANGES_TOPIC", &topic),
        ("KAFKA_PROP_COMPRESSION_TYPE", "none"),
    ];
    let config = Config::from_vars(variables).unwrap().config;
    let tracker = Tracker::new(Budget::new(1 << 20));
    let board = Arc::new(Board::new("a:shop", "shop", &Arc::default()));
    let sizes = Sizes {
        budget: 1 << 20,
        batch: None,
    };
    let producer = Producer::start(&config.kafka, sizes, None, Arc::clone(&tracker), board);
    let producer = producer.unwrap();
    let listener = TargetId::of_listener(41).unwrap();
    let entry = tracker.open(Seq(7));
    let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(5_000));
    let (topic_name, small_name) = (cstring(&topic), cstring(&small));
    for (topic, target) in [(&topic_name, TargetId::STATIC), (&small_name, listener)] {
        let record = Record {
            topic,
            partition: None,
            key: b"{}",
            is_keyless: false,
            value: Some(value.as_bytes()),
            timestamp_millis: 0,
            headers: &[("tw-seq", b"8")],
            more_headers: &[],
        };
        let ticket = Ticket {
            entry,
            index: 1,
            target,
        };
        producer.send(&record, ticket).unwrap();
    }
    producer.pause(true);
    tokio::time::timeout(support::PATIENCE, producer.broken())
        .await
        .expect("the small topic refuses it");
    kafka.wait_for_records(&[&topic], 1).await;
    let faults = tokio::task::spawn_blocking(move || producer.purge());
    let records = faults.await.unwrap().records;
    let refused: Vec<_> = records.keys().copied().collect();
    assert_eq!(refused, [(Seq(8), listener)]);
}

fn cstring(name: &str) -> std::ffi::CString {
    std::ffi::CString::new(name).unwrap()
}
