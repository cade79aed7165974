//! `FIELDS_*`: what is hidden is in no topic, whichever way it could get there.

use crate::support::{self, Database, Kafka, PATIENCE, Record, Setup, Tailwater, eventually};
use bson::{Document, doc};
use serde_json::{Value, json};

/// In every value that is to be hidden.
const SECRET: &str = "hush-4711";

fn setup(db: &Database, kafka: &Kafka) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("COMMIT_INTERVAL_MS", 100)
        .env("FIELDS_EXCLUDE", "users:password,*:deep.secret")
        .env("FIELDS_MASK", "users:email=hash,users:cards.number=last4")
        .env("FIELDS_MASK_SALT", "a salt of enough bytes")
        .env("FIELDS_RENAME", "users:cards=wallet");
    (setup, topic)
}

fn user(id: i32) -> Document {
    doc! {
        "_id": id, "password": SECRET, "email": format!("{SECRET}@example.com"),
        "deep": [{"secret": SECRET, "n": 1}, [{"secret": SECRET}]],
        "cards": [{"number": format!("{SECRET}-{SECRET}"), "n": 2}],
    }
}

/// The same of each user, as records have it.
fn shown(id: i32, email: &Value) -> Value {
    json!({
        "_id": id, "email": email, "deep": [{"n": 1}, [{}]],
        "wallet": [{"number": "****4711", "n": 2}],
    })
}

fn assert_hidden(records: &[Record]) {
    for record in records {
        let headers = record.headers.values().map(String::as_bytes);
        let value = record.bytes.as_deref().unwrap_or_default();
        let key = record.key_bytes.as_deref().unwrap_or_default();
        for bytes in [value, key].into_iter().chain(headers) {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(SECRET), "{}: {text}", record.topic);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_in_no_record_of_changes_rows_and_listeners() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let jobs = format!("jobs.{}.mail", db.name());
    // It asks for what its records do not show.
    let listener = doc! {
        "_id": "mail", "collection": "users", "jobName": "mail", "topic": &jobs,
        "filter": {"password": SECRET}, "operationType": ["insert"], "isActive": true,
    };
    db.documents("listeners")
        .insert_one(listener)
        .await
        .unwrap();
    let users = db.documents("users");
    users.insert_one(user(1)).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_COLLECTIONS", "users")
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()));
    let tailwater = setup.start().await;
    tailwater.wait_for_snapshot().await;
    users.insert_one(user(2)).await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    let update = doc! {
        "$set": {"deep.0.secret": SECRET, "deep.0.n": 3, "password": SECRET, "cards.0.number": format!("{SECRET}-new-{SECRET}")},
        "$unset": {"deep.1": ""},
    };
    users.update_one(doc! {"_id": 2}, update).await.unwrap();
    kafka.wait_for_records(&[&topic], 3).await;
    let replacement = doc! {"password": SECRET, "email": SECRET, "n": 1};
    users
        .replace_one(doc! {"_id": 2}, replacement)
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 4).await;
    users.delete_one(doc! {"_id": 2}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 5).await;
    let told = kafka.wait_for_records(&[&jobs], 1).await;
    tailwater.stop().await;
    assert_hidden(&records);
    assert_hidden(&told);

    let email = &records[0].value["fullDocument"]["email"];
    assert_eq!(email.as_str().map(str::len), Some(64));
    assert_eq!(records[0].value["operationType"], "read");
    assert_eq!(records[0].value["fullDocument"], shown(1, email));
    // Equal values have equal hashes.
    assert_eq!(records[1].value["fullDocument"], shown(2, email));
    assert_eq!(told[0].value["fullDocument"], shown(2, email));
    let description = &records[2].value["updateDescription"];
    let updated = description["updatedFields"].as_object().unwrap();
    let names: Vec<_> = updated.keys().map(String::as_str).collect();
    assert!(
        names.contains(&"deep.0.n") && names.contains(&"wallet.0.number"),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|name| name.contains("secret") || name.contains("cards")),
        "{names:?}"
    );
    assert_eq!(records[3].value["fullDocument"]["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_compares_documents_as_they_are_in_kafka_and_still_finds_damage() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup.start().await;
    let users = db.documents("users");
    for id in 1..=3 {
        users.insert_one(user(id)).await.unwrap();
    }
    kafka.wait_for_records(&[&topic], 3).await;
    let equal = crate::verify::run(
        &setup,
        &["verify", "--output", "json"],
        crate::verify::EQUAL,
    )
    .await;
    assert_eq!(equal["records"], 3);
    let notes = equal["notes"].to_string();
    assert!(notes.contains("FIELDS_*"), "{notes}");
    // Without the settings, it is what it is.
    let without = setup.clone().without("FIELDS_EXCLUDE");
    let different = crate::verify::run(&without, &["verify", "--output", "json"], 1).await;
    let users = crate::verify::of(&different, "users");
    assert_eq!(users["different"], 3, "{different:#}");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_hold_nothing_that_is_hidden_and_are_replayed_by_the_same_rules_alone() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, kafka);
    let dead = db.topic("dead");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "20000")])
        .await;
    let setup = setup
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq");
    let mut tailwater = setup.start().await;
    let mut long = user(1);
    long.insert("text", "x".repeat(30_000));
    db.documents("users").insert_one(long).await.unwrap();
    tailwater.wait_for_event("record_dead_lettered").await;
    tailwater.stop().await;
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    assert_hidden(&letters);
    kafka
        .alter_topic(&topic, &[("max.message.bytes", "200000")])
        .await;
    let other = setup.clone().env("FIELDS_EXCLUDE", "users:email");
    let refused = other.args(&["dlq", "replay"]).run().await;
    assert!(
        refused.output.contains("say something else now"),
        "{}",
        refused.output
    );
    assert!(kafka.records(&[&topic]).await.is_empty());
    let replayed = setup.clone().args(&["dlq", "replay"]).run().await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.output);
    let records = kafka.wait_for_records(&[&topic], 1).await;
    assert_hidden(&records);
    // Once, and not once more.
    let document = &records[0].value["fullDocument"];
    assert_eq!(document["wallet"], json!([{"number": "****4711", "n": 2}]));
    assert_eq!(document["email"].as_str().map(str::len), Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_of_the_stream_shows_no_more_than_kafka_does() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, _) = setup(&db, kafka);
    let mut tail = setup.args(&["tail", "--json", "--count", "1"]).spawn();
    let users = db.documents("users");
    let mut id = 0;
    // Until it looks: it says nothing when it has begun.
    let exit = eventually(PATIENCE, "a change is shown", async || {
        id += 1;
        users.insert_one(user(id)).await.unwrap();
        tail.log().contains("fullDocument").then_some(())
    });
    exit.await;
    let exit = tail.wait_exit(PATIENCE).await;
    assert!(
        exit.output.contains(r#""number":"****4711""#),
        "{}",
        exit.output
    );
    assert!(!exit.output.contains(SECRET), "{}", exit.output);
}
