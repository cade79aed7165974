//! `tailwater dlq`: letters are shown, and produced again once what was in their way is gone.

use crate::support::{self, Setup, Tailwater};
use bson::{Bson, doc};
use serde_json::Value;
use tailwater::error::Code;

pub(super) async fn json(setup: &Setup, args: &[&str], code: u8) -> Value {
    let exit = setup.clone().args(args).run().await;
    assert_eq!(exit.code, Some(i32::from(code)), "{}", exit.output);
    // Both outputs are captured together; no line of the log begins like this.
    let start = match exit.output.starts_with('[') {
        true => 0,
        false => exit.output.find("\n[").map_or(0, |at| at + 1),
    };
    let text = &exit.output[start..];
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    values
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("no JSON in {}", exit.output))
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_parts_are_shown_whole_and_replayed_as_the_records_they_would_have_been() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, dead) = (db.topic("changes"), db.topic("dead"));
    for name in [&topic, &dead] {
        let settings = [("max.message.bytes", "20000")];
        kafka.create_topic(name, 2, &settings).await;
    }
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let list = ["dlq", "list", "--output", "json"];
    let replay = ["dlq", "replay", "--output", "json"];

    let mut tailwater = setup.start().await;
    let documents = db.documents("users");
    let long = doc! {
        "_id": "long", "z": 1_i64 << 60, "a": 1.0, "m": Bson::Null, "text": "Ä\u{1F600}".repeat(9_000),
    };
    documents.insert_one(&long).await.unwrap();
    tailwater.wait_for_event("record_dead_lettered").await;
    tailwater.stop().await;

    let letters = json(&setup, &list, 0).await;
    let letter = &letters[0];
    assert_eq!(letters.as_array().unwrap().len(), 1);
    assert_eq!(letter["namespace"], format!("{}.users", db.name()));
    assert_eq!(
        (&letter["operation"], &letter["reason"]),
        (&Value::from("insert"), &Value::from("too_large"))
    );
    assert!(letter["parts"].as_u64().unwrap() > 1, "{letter}");
    assert!(letter["time"].is_string() && letter["bytes"].as_u64() > Some(20_000));

    // Still in its way, it stays where it is.
    let refused = json(&setup, &replay, Code::RecordRefused.exit_code()).await;
    assert!(
        refused[0]["refused"]
            .as_str()
            .unwrap()
            .contains("max.message.bytes")
    );
    assert!(kafka.records(&[&topic]).await.is_empty());

    let settings = [("max.message.bytes", "200000")];
    kafka.alter_topic(&topic, &settings).await;
    let other = json(&setup, &[&replay[..], &["--seq", "1"]].concat(), 0).await;
    assert_eq!(other, Value::Array(Vec::new()));
    let replayed = json(&setup, &replay, 0).await;
    assert_eq!(replayed[0]["replayedTo"], topic.as_str());
    let again = kafka.wait_for_records(&[&topic], 1).await.remove(0);
    assert!(again.headers.contains_key("tw-replayed"));
    assert_eq!(again.header("tw-id"), letter["id"]);
    assert_eq!(Value::from(again.seq()), letter["seq"]);

    // The same record as one that was never in the way.
    let tailwater = setup.start().await;
    documents.delete_one(doc! {"_id": "long"}).await.unwrap();
    documents.insert_one(&long).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;
    let straight = &records[2];
    let without_time = |record: &support::Record| {
        let (before, after) = record.text().split_once("\"timestamp\":\"").unwrap();
        format!("{before}{}", after.split_once('"').unwrap().1)
    };
    assert_eq!(without_time(&again), without_time(straight));
    assert_eq!(again.key_bytes, straight.key_bytes);
}

#[tokio::test]
async fn without_a_dead_letter_topic_it_says_what_to_set() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let exit = Tailwater::on(&db, kafka).args(&["dlq", "list"]).run().await;
    assert_eq!(exit.code, Some(i32::from(Code::Config.exit_code())));
    assert!(exit.output.contains("KAFKA_DLQ_TOPIC"), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_and_the_rest_is_replayed() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, dead) = (db.topic("changes"), db.topic("dead"));
    for name in [&topic, &dead] {
        let settings = [("max.message.bytes", "20000")];
        kafka.create_topic(name, 1, &settings).await;
    }
    kafka.produce(&dead, "foreign", "{}").await;
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    let documents = db.documents("users");
    let mut nested = doc! {"text": "x".repeat(30_000)};
    for _ in 0..150 {
        nested = doc! {"d": nested};
    }
    for (id, document) in [
        ("deep", nested),
        ("flat", doc! {"text": "x".repeat(30_000)}),
    ] {
        let mut document = document;
        document.insert("_id", id);
        documents.insert_one(document).await.unwrap();
    }
    documents.insert_one(doc! {"_id": "after"}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    kafka.produce(&dead, "foreign", "not even JSON").await;

    kafka
        .alter_topic(&topic, &[("max.message.bytes", "200000")])
        .await;
    let replay = ["dlq", "replay", "--output", "json"];
    let lines = json(&setup, &replay, Code::RecordRefused.exit_code()).await;
    let named: Vec<_> = lines
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["unreadable"].is_string())
        .map(|line| (line["topic"].as_str(), line["partition"].as_i64()))
        .collect();
    assert_eq!(named, [(Some(dead.as_str()), Some(0)); 2], "{lines}");
    assert_eq!(lines[0]["offset"], 0, "{lines}");
    let records = kafka.wait_for_records(&[&topic], 3).await;
    let keys: Vec<_> = records.iter().map(|r| &r.key["_id"]).collect();
    assert_eq!(keys, ["after", "deep", "flat"]);
    // What was asked for by name says nothing of records that have none.
    let namespace = format!("{}.users", db.name());
    let only = [&replay[..], &["--namespace", &namespace]].concat();
    assert_eq!(json(&setup, &only, 0).await.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dead_letter_is_replayed_into_a_topic_that_takes_no_changes() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (dead, checkpoints) = (db.topic("dead"), db.topic("checkpoints"));
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", "{collection}")
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("RESUME_TOPIC", &checkpoints)
        .env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    for collection in [&checkpoints, &dead, "__consumer_offsets"] {
        let document = doc! {"_id": 1};
        db.documents(collection).insert_one(document).await.unwrap();
    }
    kafka.wait_for_records(&[&dead], 3).await;
    tailwater.stop().await;
    let before = kafka.records(&[&checkpoints, &dead]).await.len();
    let replay = ["dlq", "replay", "--output", "json"];
    let lines = json(&setup, &replay, Code::RecordRefused.exit_code()).await;
    let lines = lines.as_array().unwrap();
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert!(
            line["refused"].as_str().unwrap().contains("takes no"),
            "{line}"
        );
    }
    assert_eq!(kafka.records(&[&checkpoints, &dead]).await.len(), before);
}
