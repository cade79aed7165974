//! Keys that leave little or no room in a record: their dead letters are written all the same, in little
//! memory, and come back whole.

use super::committed;
use super::dead_letters::json;
use crate::support::{self, Database, PATIENCE, Record, Tailwater};
use bson::doc;
use std::collections::BTreeMap;
use tailwater::error::Code;
use tailwater::sink::parts::hashed;

/// `MAX_IN_FLIGHT_BYTES` of these tests.
const IN_FLIGHT: usize = 16 << 20;
/// What the process takes beyond it, as `docs/delivery.md` states it.
const CONSTANT: usize = 96 << 20;
/// The largest event here, its record and its dead letter.
const LARGEST: usize = 20 << 20;

/// The most memory that a process has had so far.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

fn key(db: &Database, id: &str) -> String {
    format!(
        r#"{{"database":"{}","collection":"users","_id":"{id}"}}"#,
        db.name()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_written_in_little_memory_and_replayed_under_their_own_keys() {
    for delivery in ["at_least_once", "exactly_once"] {
        let db = support::database().await;
        let kafka = support::kafka().await;
        let (topic, dead) = (db.topic("changes"), db.topic("dead"));
        kafka.create_topic(&topic, 1, &[]).await;
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("KAFKA_DLQ_TOPIC", &dead)
            .env("ON_RECORD_ERROR", "dlq")
            .env("MAX_IN_FLIGHT_BYTES", IN_FLIGHT)
            .env("DELIVERY", delivery)
            .env("COMMIT_INTERVAL_MS", 100);
        let tailwater = setup.start().await;
        let documents = db.documents("users");
        let (long, longer) = ("k".repeat(5_000), "K".repeat(1_100_000));
        for (id, text) in [(&long, 1_200_000), (&longer, 10)] {
            let document = doc! {"_id": id, "text": "x".repeat(text)};
            documents.insert_one(document).await.unwrap();
        }
        documents.insert_one(doc! {"_id": "after"}).await.unwrap();
        committed(kafka, &topic, 1).await;
        let most = peak(tailwater.pid());
        tailwater.stop().await;
        println!("{delivery}: {} MiB at most", most >> 20);
        assert!(most < IN_FLIGHT + CONSTANT + LARGEST, "{} MiB", most >> 20);

        let parts = kafka.committed_records(&[&dead]).await;
        let of = |key: &str| -> Vec<&Record> {
            let is_of = |part: &&Record| part.key_bytes.as_deref() == Some(key.as_bytes());
            parts.iter().filter(is_of).collect()
        };
        let kept = of(&key(&db, &long));
        assert!(kept.len() == 2 && !kept[0].headers.contains_key("tw-dlq-hashed"));
        let short = of(&hashed(key(&db, &longer).as_bytes()));
        assert!(short[0].header("tw-dlq-hashed").starts_with("key"));
        assert_eq!(kept.len() + short.len(), parts.len());

        kafka
            .alter_topic(&topic, &[("max.message.bytes", "9000000")])
            .await;
        let replayed = json(&setup, &["dlq", "replay", "--output", "json"], 0).await;
        assert_eq!(replayed.as_array().unwrap().len(), 2);
        let records = committed(kafka, &topic, 3).await;
        let by_key: BTreeMap<_, _> = records
            .iter()
            .map(|r| {
                (
                    r.key_bytes.clone().unwrap(),
                    &r.value["fullDocument"]["text"],
                )
            })
            .collect();
        let text = |id: &str| by_key[key(&db, id).as_bytes()].as_str().unwrap().len();
        assert_eq!((text(&long), text(&longer)), (1_200_000, 10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_of_small_records_takes_them_and_one_without_room_is_named() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, dead) = (db.topic("changes"), db.topic("dead"));
    for (name, limit) in [(&topic, "20000"), (&dead, "2048")] {
        kafka
            .create_topic(name, 1, &[("max.message.bytes", limit)])
            .await;
    }
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("TOMBSTONES", "true")
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    let documents = db.documents("users");
    let long = "k".repeat(20_000);
    documents.insert_one(doc! {"_id": &long}).await.unwrap();
    // A delete has a record and a tombstone; neither fits, and one dead letter stands for both.
    documents.delete_one(doc! {"_id": &long}).await.unwrap();
    documents.insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    let list = json(&setup, &["dlq", "list", "--output", "json"], 0).await;
    let operations: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["operation"])
        .collect();
    assert_eq!(operations, ["insert", "delete"], "{list}");

    let settings = [("max.message.bytes", "300")];
    kafka.alter_topic(&dead, &settings).await;
    let mut tailwater = setup.start().await;
    documents.insert_one(doc! {"_id": &long}).await.unwrap();
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(i32::from(Code::RecordRefused.exit_code())));
    let said = format!("into the topic {dead}");
    assert!(exit.output.contains(&said), "{}", exit.output);
    assert!(
        exit.output.contains("max.message.bytes of 300"),
        "{}",
        exit.output
    );
}

/// A resume token holds the key: one that no checkpoint has room for is no commit point.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_rests_behind_a_key_too_long_for_a_checkpoint_goes_on_from_the_one_before() {
    for delivery in ["at_least_once", "exactly_once"] {
        let db = support::database().await;
        let kafka = support::kafka().await;
        let topic = db.topic("changes");
        let roomy = [("max.message.bytes", "9000000")];
        kafka.create_topic(&topic, 1, &roomy).await;
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("DELIVERY", delivery)
            .env("COMMIT_INTERVAL_MS", 50);
        let tailwater = setup.start().await;
        let documents = db.documents("users");
        documents.insert_one(doc! {"_id": "before"}).await.unwrap();
        committed(kafka, &topic, 1).await;
        let longest = "K".repeat(1_100_000);
        documents.insert_one(doc! {"_id": &longest}).await.unwrap();
        kafka.wait_for_records(&[&topic], 2).await;
        documents.insert_one(doc! {"_id": "after"}).await.unwrap();
        let records = committed(kafka, &topic, 3).await;
        assert_eq!(records.len(), 3);
        let output = tailwater.stop().await.output;
        assert!(!output.contains("built anew"), "{output}");
    }
}
