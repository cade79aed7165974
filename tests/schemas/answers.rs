//! What a registry answers on a bad day, and what becomes of the records meanwhile.

use super::gate::{Gate, Turn, answer, registration};
use super::{field, on, read, topic};
use crate::support;
use bson::doc;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Make = fn() -> Turn;

/// Nothing is lost, nothing is a record error, and no record names a schema that it has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_answers_nonsense_is_waited_for() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let gate = Gate::before(registry).await;
    let dead = db.topic("dead");
    let mut tailwater = on(&db, kafka, registry)
        .env("SCHEMA_REGISTRY_URL", gate.url())
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let (users, topic) = (db.documents("users"), topic(&db, "users"));
    let turns: [(Make, &str); 8] = [
        (
            || {
                let body = r#"{"error_code":50002,"message":"Register operation timed out"}"#;
                Turn::Instead(answer("500 Internal Server Error", body))
            },
            "Register operation timed out",
        ),
        (
            || Turn::Say(answer("429 Too Many Requests", "")),
            "answers 429",
        ),
        (
            || Turn::Say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":1".into()),
            "gives no answer",
        ),
        (
            || Turn::Say(answer("200 OK", "<html>hello</html>")),
            "but not as a registry does",
        ),
        (
            || Turn::Say(answer("200 OK", "")),
            "but not as a registry does",
        ),
        (
            || Turn::Say(answer("200 OK", r#"{"id":99999999999}"#)),
            "but not as a registry does",
        ),
        (
            || {
                let moved = "307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/";
                Turn::Say(answer(moved, ""))
            },
            "answers 307",
        ),
        // Nobody may register anything for a while, and no document is to blame for that.
        (
            || {
                let body = r#"{"error_code":42205,"message":"Subject is in read-only mode"}"#;
                Turn::Say(answer("422 Unprocessable Entity", body))
            },
            "read-only mode",
        ),
    ];
    for (id, (turn, said)) in (1..).zip(turns) {
        let mut is_first = true;
        gate.script(move |line| {
            let is_meant = line.starts_with("POST") && std::mem::take(&mut is_first);
            if is_meant { turn() } else { Turn::Pass }
        });
        let new = format!("field{id}");
        users.insert_one(doc! {"_id": id, new: id}).await.unwrap();
        let count = usize::try_from(id).unwrap();
        kafka.wait_for_records(&[&topic], count).await;
        tailwater.wait_for_log(said).await;
    }
    let log = tailwater.log();
    let waits = log.matches("a schema is needed, waiting").count();
    assert_eq!(waits, turns.len(), "{log}");
    let records = kafka.wait_for_records(&[&topic], turns.len()).await;
    for record in &records {
        let (_, value) = read(registry, record).await;
        let id = &record.key["_id"];
        assert_eq!(&field(&value, &format!("fullDocument.field{id}")), id);
    }
    // What registered it and said something else did not register it twice.
    let versions = registry
        .get(&format!("/subjects/{topic}-value/versions"))
        .await;
    assert_eq!(versions.as_array().unwrap().len(), turns.len());
    assert!(kafka.records(&[&dead]).await.is_empty());

    // A schema that is too large for it never fits, and holds up nobody else.
    gate.script(|line| match line.starts_with("POST") {
        true => Turn::Say(answer("413 Content Too Large", "")),
        false => Turn::Pass,
    });
    users
        .insert_one(doc! {"_id": 100, "large": 1})
        .await
        .unwrap();
    users.insert_one(doc! {"_id": 101}).await.unwrap();
    kafka.wait_for_records(&[&topic], turns.len() + 1).await;
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    let said = "`fullDocument.large` is new or has a wider type, and the schema registry at";
    assert!(detail.contains(said) && detail.contains("413"), "{detail}");

    // And one that never answers holds up no stop.
    let asked = Arc::new(AtomicUsize::new(0));
    let hangs = Arc::clone(&asked);
    gate.script(move |_| {
        hangs.fetch_add(1, Ordering::Relaxed);
        Turn::Hang
    });
    users
        .insert_one(doc! {"_id": 102, "more": 1})
        .await
        .unwrap();
    support::eventually(support::PATIENCE, "it is asked", async || {
        (asked.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let exit = tailwater.stop().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
}

/// A version that lacks a field of the newest one is incompatible, but in Avro: then it is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_somebody_registers_just_before_is_taken_in() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    for (kind, name, known, with_theirs) in [
        (
            "json_schema",
            "JSON",
            r#""properties":{"_id""#,
            r#""properties":{"theirs":{"oneOf":[{"type":"null"},{"type":"string"}]},"_id""#,
        ),
        (
            "protobuf",
            "PROTOBUF",
            "  optional int64 a = 2;\n",
            "  optional int64 a = 2;\n  optional string theirs = 3;\n",
        ),
    ] {
        let gate = Gate::before(registry).await;
        let of_topic = topic(&db, kind);
        let subject = format!("{of_topic}-value");
        let tailwater = on(&db, kafka, registry)
            .env("SCHEMA_REGISTRY_URL", gate.url())
            .env("WATCH_COLLECTIONS", kind)
            .env("SERIALIZATION", kind)
            .env("FORMAT", "document")
            .start()
            .await;
        let docs = db.documents(kind);
        docs.insert_one(doc! {"_id": 1, "a": 1}).await.unwrap();
        kafka.wait_for_records(&[&of_topic], 1).await;
        registry.demand_compatibility(&subject).await;
        let latest = async || {
            let path = format!("/subjects/{subject}/versions/latest");
            let found = registry.get(&path).await;
            found["schema"].as_str().unwrap().to_owned()
        };
        let text = latest().await;
        let theirs = text.replace(known, with_theirs);
        assert_ne!(text, theirs);
        let mut first = Some(registration(&subject, name, &theirs));
        gate.script(move |line| match line.starts_with("POST") {
            true => first.take().map_or(Turn::Pass, Turn::After),
            false => Turn::Pass,
        });
        docs.insert_one(doc! {"_id": 2, "ours": 1}).await.unwrap();
        let records = kafka.wait_for_records(&[&of_topic], 2).await;
        assert_eq!(records[1].key["_id"], 2);
        let text = latest().await;
        assert!(text.contains("theirs") && text.contains("ours"), "{text}");
        let versions = registry.get(&format!("/subjects/{subject}/versions")).await;
        assert_eq!(versions, json!([1, 2, 3]));
        tailwater.stop().await;
    }
}

/// A registry that was set up anew begins to count again, and may have another schema under a number that was in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_names_another_schema_by_now_is_written_no_more_as_before() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let registry = support::registry().await;
    let gate = Gate::before(registry).await;
    let tailwater = on(&db, kafka, registry)
        .env("SCHEMA_REGISTRY_URL", gate.url())
        .env("SCHEMA_RECHECK_MS", 1000)
        .env("FORMAT", "document")
        .start()
        .await;
    let (users, topic) = (db.documents("users"), topic(&db, "users"));
    users.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let path = format!("/subjects/{topic}-value/versions/latest");
    let mut latest = registry.get(&path).await;
    let mut schema: serde_json::Value =
        serde_json::from_str(latest["schema"].as_str().unwrap()).unwrap();
    // Another instance was faster, and its first document had another field first.
    let theirs = json!({"name": "theirs", "type": ["null", "string"], "default": null});
    schema["fields"].as_array_mut().unwrap().insert(0, theirs);
    latest["schema"] = json!(schema.to_string());
    let body = latest.to_string();
    gate.script(move |_| Turn::Say(answer("200 OK", &body)));
    let theirs = apache_avro::Schema::parse_str(&schema.to_string()).unwrap();
    let mut id = 1;
    support::eventually(support::PATIENCE, "their schema is used", async || {
        id += 1;
        users.insert_one(doc! {"_id": id, "n": id}).await.unwrap();
        let count = usize::try_from(id).unwrap();
        let records = kafka.wait_for_records(&[&topic], count).await;
        let record = records.iter().find(|record| record.key["_id"] == id)?;
        let mut bytes = &record.bytes.as_deref()?[5..];
        let value = apache_avro::from_avro_datum(&theirs, &mut bytes, None).ok()?;
        (bytes.is_empty() && field(&value, "n") == id).then_some(())
    })
    .await;
    tailwater.stop().await;
}
