//! `/api/streams`, `/api/samples`, `/api/instances`.

use super::{TOKEN, call, problem};
use crate::support::{self, PATIENCE, Setup, Tailwater, eventually};
use bson::doc;
use serde_json::{Value, json};

fn setup(db: &support::Database, kafka: &support::Kafka, topic: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", topic)
        .env("KAFKA_DLQ_TOPIC", format!("{topic}.dead"))
        .env("RESUME_TOPIC", support::unique("checkpoints"))
        .env("COMMIT_INTERVAL_MS", "50")
        .env("ADMIN_TOKEN", TOKEN)
}

async fn stream(tailwater: &Tailwater) -> Value {
    let list = call(tailwater, "GET", "/api/streams", "").await;
    assert_eq!(list.status, 200, "{}", list.body);
    list.json()["streams"][0].clone()
}

fn path(stream: &Value, rest: &str) -> String {
    let id = stream["id"].as_str().unwrap().replace(':', "%3A");
    format!("/api/streams/{id}{rest}")
}

async fn until(tailwater: &Tailwater, state: &str) -> Value {
    eventually(PATIENCE, state, async || {
        let stream = stream(tailwater).await;
        (stream["state"] == state).then_some(stream)
    })
    .await
}

#[tokio::test]
async fn a_stream_is_seen_paused_moved_and_resumed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let tailwater = setup(&db, kafka, &topic).start().await;
    let before = bson::Timestamp {
        time: u32::try_from(bson::DateTime::now().timestamp_millis() / 1000).unwrap(),
        increment: 1,
    };
    let documents = db.documents("orders");
    for id in 0..3 {
        documents.insert_one(doc! {"_id": id}).await.unwrap();
    }
    documents.delete_one(doc! {"_id": 0}).await.unwrap();
    kafka.wait_for_records(&[&topic], 4).await;
    let seen = stream(&tailwater).await;
    assert_eq!(
        (&seen["state"], &seen["health"]),
        (&json!("running"), &json!("healthy")),
        "{seen}"
    );
    assert_eq!(seen["troubles"], json!([]), "{seen}");
    assert_eq!(seen["name"], db.name(), "{seen}");
    let words = format!("database {}: all collections", db.name());
    assert_eq!(seen["filter"], words, "{seen}");
    let details = eventually(PATIENCE, "it is counted", async || {
        let details = call(&tailwater, "GET", &path(&seen, ""), "").await.json();
        let is_counted = details["counts"].as_array().unwrap().len() == 2;
        (is_counted && details["topics"][0]["records"] == 4).then_some(details)
    })
    .await;
    assert_eq!(details["counts"][1]["operation"], "insert", "{details}");
    assert_eq!(details["counts"][1]["events"], 3, "{details}");
    let made = &details["topics"][0];
    assert_eq!(made["topic"], topic, "{details}");
    let bytes = |of: &Value| of["recordBytes"].as_u64().unwrap();
    let counted: u64 = details["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(bytes)
        .sum();
    assert_eq!(made["bytes"], counted, "{details}");
    assert!(made["lastAt"].is_string(), "{details}");
    assert!(
        details["connections"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["well"] == true)
    );

    let checkpoint = path(&seen, "/checkpoint");
    let token = format!("{checkpoint}?token=true");
    problem(
        &call(&tailwater, "GET", &token, "").await,
        403,
        "documents_hidden",
    );
    let at = json!({"time": time(before)}).to_string();
    let said = problem(
        &call(&tailwater, "POST", &checkpoint, &at).await,
        409,
        "conflict",
    );
    assert!(said.contains("pause it first"), "{said}");
    let paused = call(&tailwater, "POST", &path(&seen, "/pause"), "").await;
    assert_eq!(paused.status, 200, "{}", paused.body);
    let paused = until(&tailwater, "paused").await;
    assert_eq!(
        paused["troubles"][0]["runbook"], "docs/operations.md#tailwaterpaused",
        "{paused}"
    );
    let stored = call(&tailwater, "GET", &checkpoint, "").await.json();
    assert!(
        stored["seq"].is_u64() && stored["time"].is_string(),
        "{stored}"
    );
    for wrong in [
        "{}",
        r#"{"time": "x"}"#,
        r#"{"reset": true, "token": "8200"}"#,
        r#"{"to": 1}"#,
    ] {
        problem(
            &call(&tailwater, "POST", &checkpoint, wrong).await,
            400,
            "malformed",
        );
    }
    let unknown = json!({"token": "8265000000000000012B0229296E04"}).to_string();
    let refused = call(&tailwater, "POST", &checkpoint, &unknown).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let moved = call(&tailwater, "POST", &checkpoint, &at).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    let resumed = call(&tailwater, "POST", &path(&seen, "/resume"), "").await;
    assert_eq!(resumed.status, 200, "{}", resumed.body);
    // All of them again.
    let records = kafka.wait_for_records(&[&topic], 8).await;
    assert!(records[4].seq() > records[3].seq());
    until(&tailwater, "running").await;

    problem(
        &call(&tailwater, "POST", "/api/streams/nobody/pause", "").await,
        404,
        "not_found",
    );
    let release = call(&tailwater, "POST", &path(&seen, "/release"), "").await;
    assert!(problem(&release, 409, "conflict").contains("COORDINATION=none"));
    let level = call(
        &tailwater,
        "POST",
        "/api/log-level",
        r#"{"level": "debug"}"#,
    )
    .await;
    assert_eq!(level.json()["level"], "debug", "{}", level.body);
    problem(
        &call(&tailwater, "POST", "/api/log-level", "{}").await,
        400,
        "malformed",
    );
    let instances = call(&tailwater, "GET", "/api/instances", "").await.json();
    assert_eq!(instances["instances"][0]["mine"], true, "{instances}");
    assert_eq!(
        instances["instances"][0]["streams"][0], seen["id"],
        "{instances}"
    );
    let samples = eventually(PATIENCE, "a sample is taken", async || {
        let samples = call(&tailwater, "GET", "/api/samples", "").await.json();
        let stream = samples["streams"][0].clone();
        (!stream["times"].as_array().unwrap().is_empty()).then_some(stream)
    })
    .await;
    for list in [
        "eventsPerSecond",
        "lagMs",
        "inFlightBytes",
        "acknowledgementP99Ms",
    ] {
        let length = |name: &str| samples[name].as_array().unwrap().len();
        assert_eq!(length(list), length("times"), "{samples}");
    }
    tailwater.stop().await;
}

fn time(at: bson::Timestamp) -> String {
    let time = bson::DateTime::from_millis(i64::from(at.time) * 1000);
    time.try_to_rfc3339_string().unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_reason_and_replayed_one_at_a_time_and_in_bulk() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "2000")])
        .await;
    let setup = setup(&db, kafka, &topic).env("ON_RECORD_ERROR", "dlq");
    let tailwater = setup.start().await;
    let documents = db.documents("orders");
    for id in 0..3 {
        let document = doc! {"_id": id, "secret": "hunter2".repeat(1000)};
        documents.insert_one(document).await.unwrap();
    }
    documents.insert_one(doc! {"_id": 3}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let seen = stream(&tailwater).await;
    let letters = path(&seen, "/dead-letters");
    eventually(PATIENCE, "all are dead letters", async || {
        let page = call(&tailwater, "GET", &letters, "").await;
        let all = page.json()["deadLetters"].as_array().map(Vec::len);
        (all == Some(3)).then_some(())
    })
    .await;
    let page = call(&tailwater, "GET", &format!("{letters}?limit=2"), "").await;
    assert!(!page.body.contains("hunter2"), "{}", page.body);
    let page = page.json();
    assert_eq!(page["deadLetters"].as_array().unwrap().len(), 2, "{page}");
    assert_eq!(page["deadLetters"][0]["reason"], "too_large", "{page}");
    assert_eq!(page["next"], 2, "{page}");
    let rest = call(&tailwater, "GET", &format!("{letters}?offset=2"), "")
        .await
        .json();
    assert_eq!(rest["deadLetters"].as_array().unwrap().len(), 1, "{rest}");
    assert!(rest["next"].is_null(), "{rest}");
    let shown = call(&tailwater, "GET", &format!("{letters}?documents=true"), "").await;
    problem(&shown, 403, "documents_hidden");
    let troubles = stream(&tailwater).await["troubles"].clone();
    assert_eq!(
        troubles[0]["runbook"], "docs/operations.md#tailwaterdeadletters",
        "{troubles}"
    );

    let replay = path(&seen, "/dead-letters/replay");
    problem(
        &call(&tailwater, "POST", &replay, "{}").await,
        400,
        "malformed",
    );
    let seq = page["deadLetters"][1]["seq"].as_u64().unwrap();
    let one = json!({"seq": [seq]}).to_string();
    let refused = call(&tailwater, "POST", &replay, &one).await.json();
    assert_eq!(
        (&refused["replayed"], &refused["left"]),
        (&json!(0), &json!(1)),
        "{refused}"
    );
    kafka
        .alter_topic(&topic, &[("max.message.bytes", "1000000")])
        .await;
    let replayed = eventually(PATIENCE, "the limit is known", async || {
        let replayed = call(&tailwater, "POST", &replay, &one).await.json();
        (replayed["replayed"] == 1).then_some(replayed)
    })
    .await;
    assert_eq!(
        replayed["results"][0]["replayedTo"],
        topic.as_str(),
        "{replayed}"
    );
    let records = kafka.wait_for_records(&[&topic], 2).await;
    assert_eq!(records[1].value["documentKey"]["_id"], 1);
    let all = call(&tailwater, "POST", &replay, r#"{"all": true}"#)
        .await
        .json();
    assert_eq!(
        (&all["replayed"], &all["next"]),
        (&json!(3), &Value::Null),
        "{all}"
    );
    kafka.wait_for_records(&[&topic], 5).await;
    tailwater.stop().await;

    let showing = setup.env("ADMIN_SHOW_DOCUMENTS", "true").start().await;
    let shown = call(
        &showing,
        "GET",
        &format!("{letters}?documents=true&limit=1"),
        "",
    )
    .await;
    let event = shown.json()["deadLetters"][0]["event"].clone();
    assert_eq!(event["documentKey"]["_id"], 0, "{event}");
    showing.stop().await;
}
