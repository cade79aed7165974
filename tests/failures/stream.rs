//! What ends a cursor and not the stream: kills, drops, renames; and what ends both.

use crate::support::{
    self, Database, Kafka, Mongo, PATIENCE, Record, Setup, Tailwater, eventually,
};
use bson::doc;

/// A stream of every change of a fresh database into one topic.
fn stream(db: &Database, kafka: &Kafka) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .env("RECONNECT_DELAY_MS", 50);
    (setup, topic)
}

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64();
    records.iter().filter_map(id).collect()
}

async fn insert(db: &Database, ids: impl Iterator<Item = i32>) {
    for id in ids {
        db.documents("things")
            .insert_one(doc! {"_id": id})
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_after_a_dropped_database_are_all_delivered() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    let tailwater = setup.start().await;
    for round in 0..5 {
        insert(&db, round * 10..round * 10 + 5).await;
        db.drop().await.unwrap();
        // At once: the server has closed the cursor, and the stream is not open again yet.
        insert(&db, round * 10 + 5..round * 10 + 10).await;
    }
    let records = kafka.wait_for_records(&[&topic], 50).await;
    assert_eq!(ids(&records), (0..50).collect::<Vec<_>>());
    let seqs: Vec<_> = records.iter().map(Record::seq).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    kafka
        .wait_until(&[&db.topic("ddl")], "five dropped databases", |records| {
            let dropped = |record: &&Record| record.value["operationType"] == "dropDatabase";
            records.iter().filter(dropped).count() == 5
        })
        .await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_right_after_a_dropped_database_loses_nothing_either() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    let tailwater = setup.start().await;
    insert(&db, 0..5).await;
    kafka.wait_for_records(&[&topic], 5).await;
    tailwater.stop().await;
    db.drop().await.unwrap();
    insert(&db, 5..10).await;
    let mut tailwater = setup.start().await;
    kafka.wait_for_records(&[&topic], 10).await;
    tailwater.kill9();
    insert(&db, 10..15).await;
    let tailwater = setup.start().await;
    let records = kafka
        .wait_until(&[&topic], "the writes after the crash", |records| {
            records.iter().any(|record| record.key["_id"] == 14)
        })
        .await;
    let mut seen = ids(&records);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..15).collect::<Vec<_>>());
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_collection_goes_on_under_its_new_name() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    let tailwater = setup.start().await;
    insert(&db, 0..3).await;
    let command = doc! {
        "renameCollection": format!("{}.things", db.name()),
        "to": format!("{}.renamed", db.name()),
    };
    db.client
        .database("admin")
        .run_command(command)
        .await
        .unwrap();
    let renamed = db.documents("renamed");
    for id in 3..6 {
        renamed.insert_one(doc! {"_id": id}).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 6).await;
    assert_eq!(ids(&records), [0, 1, 2, 3, 4, 5]);
    assert_eq!(records[5].key["collection"], "renamed");
    kafka
        .wait_until(&[&db.topic("ddl")], "the rename", |records| {
            records
                .iter()
                .any(|record| record.value["operationType"] == "rename")
        })
        .await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_is_read_on_where_the_stream_was() {
    let (mut mongo, kafka) = (Mongo::dedicated(&[]).await, support::kafka().await);
    let db = mongo.database().await;
    let (setup, topic) = stream(&db, kafka);
    let mut tailwater = setup.start().await;
    insert(&db, 0..5).await;
    kafka.wait_for_records(&[&topic], 5).await;
    mongo.kill9();
    tailwater.wait_for_event("source_interrupted").await;
    mongo.restart().await;
    insert(&db, 5..10).await;
    let records = kafka.wait_for_records(&[&topic], 10).await;
    assert_eq!(ids(&records), (0..10).collect::<Vec<_>>());
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_reconnect_end_when_a_number_of_them_is_given() {
    let (mongo, kafka) = (Mongo::dedicated(&[]).await, support::kafka().await);
    let db = mongo.database().await;
    let proxy = mongo.proxy().await;
    let (setup, topic) = stream(&db, kafka);
    let setup = setup
        .env("MONGODB_URI", mongo.uri_through(&proxy, db.name()))
        .env("RECONNECT_MAX_RETRIES", 2);
    let mut tailwater = setup.start().await;
    insert(&db, 0..5).await;
    kafka.wait_for_records(&[&topic], 5).await;
    proxy.cut();
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(11), "{}", exit.output);
    assert!(
        exit.output.contains("RECONNECT_MAX_RETRIES"),
        "{}",
        exit.output
    );
    proxy.heal();
    insert(&db, 5..10).await;
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&topic], 10).await;
    assert_eq!(ids(&records), (0..10).collect::<Vec<_>>());
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_resume_token_stops_it_with_the_reason_and_nothing_starts_again_from_now() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    let setup = setup
        .env("RESUME_STORE", "file")
        .env("RESUME_FILE", "here.json");
    let tailwater = setup.start().await;
    insert(&db, 0..1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    let file = setup.folder().join("here.json");
    let mut stored: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let token = find_token(&mut stored).expect("a token in the file");
    *token = serde_json::json!({"_data": "not a token"});
    std::fs::write(&file, serde_json::to_vec(&stored).unwrap()).unwrap();
    insert(&db, 1..2).await;
    for _ in 0..2 {
        let exit = setup.run().await;
        assert_eq!(exit.code, Some(5), "{}", exit.output);
        assert!(
            exit.output.contains("resume token is damaged"),
            "{}",
            exit.output
        );
    }
    assert_eq!(kafka.records(&[&topic]).await.len(), 1);
}

/// The first `token` field, wherever the file keeps it.
fn find_token(value: &mut serde_json::Value) -> Option<&mut serde_json::Value> {
    match value {
        serde_json::Value::Object(fields) => {
            if fields.contains_key("token") {
                return fields.get_mut("token");
            }
            fields.values_mut().find_map(find_token)
        }
        serde_json::Value::Array(items) => items.iter_mut().find_map(find_token),
        _ => None,
    }
}

/// Waits until `/health` is `status`.
async fn until_health(tailwater: &Tailwater, status: &str) {
    eventually(PATIENCE, status, async || {
        let health = tailwater.get("/health").await.json();
        (health["status"] == status).then_some(())
    })
    .await;
}

/// By a server that really takes them away; it is restarted, since it asks for rights at the log-in only.
#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_or_password_changed_while_it_runs_is_named_and_waited_for() {
    let mut mongo = Mongo::with_auth().await;
    let kafka = support::kafka().await;
    let db = mongo.database().await;
    let role = doc! {"role": "read", "db": db.name()};
    let roles = bson::bson!([&role]);
    mongo.add_user("reader", "reader-secret", roles).await;
    let (setup, topic) = stream(&db, kafka);
    let uri = mongo.uri_as("reader", "reader-secret", db.name());
    let tailwater = setup.env("MONGODB_URI", uri).start().await;
    insert(&db, 0..1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    let password = |text: &str| doc! {"updateUser": "reader", "pwd": text};
    for (number, take, give, said) in [
        (
            1,
            doc! {"revokeRolesFromUser": "reader", "roles": [&role]},
            doc! {"grantRolesToUser": "reader", "roles": [&role]},
            "changeStream",
        ),
        (
            2,
            password("another"),
            password("reader-secret"),
            "MONGODB_URI",
        ),
    ] {
        let admin = mongo.client().await.database("admin");
        admin.run_command(take).await.unwrap();
        mongo.restart().await;
        insert(&db, number..number + 1).await;
        until_health(&tailwater, "unhealthy").await;
        eventually(PATIENCE, said, async || {
            let detailed = tailwater.get("/health/detailed").await.json();
            let error = &detailed["components"]["source"]["lastError"]["message"];
            error.as_str()?.contains(said).then_some(())
        })
        .await;
        let admin = mongo.client().await.database("admin");
        admin.run_command(give).await.unwrap();
        mongo.restart().await;
        kafka.wait_for_records(&[&topic], number as usize + 1).await;
        until_health(&tailwater, "healthy").await;
    }
    let records = kafka.records(&[&topic]).await;
    assert_eq!(ids(&records), [0, 1, 2]);
    let exit = tailwater.stop().await;
    assert!(!exit.output.contains("reader-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_a_reply_is_put_together_again_between_its_neighbours() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "40000000")])
        .await;
    let tailwater = setup.env("FULL_DOCUMENT", "updateLookup").start().await;
    insert(&db, 0..1).await;
    let half = |letter: &str| letter.repeat(9 << 20);
    let things = db.documents("things");
    things
        .insert_one(doc! {"_id": 1, "a": half("a")})
        .await
        .unwrap();
    // Both the update and the document it led to: 18 MiB.
    let update = doc! {"$set": {"a": half("b")}};
    things.update_one(doc! {"_id": 1}, update).await.unwrap();
    insert(&db, 2..3).await;
    let records = kafka.wait_for_records(&[&topic], 4).await;
    assert_eq!(ids(&records), [0, 1, 1, 2]);
    let whole = &records[2].value;
    let lengths = [
        &whole["updateDescription"]["updatedFields"]["a"],
        &whole["fullDocument"]["a"],
    ];
    assert_eq!(
        lengths.map(|text| text.as_str().unwrap().len()),
        [9 << 20; 2]
    );
    assert!(whole.get("splitEvent").is_none());
    let seqs: Vec<_> = records.iter().map(Record::seq).collect();
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{seqs:?}"
    );
    tailwater.stop().await;
}

/// This server has no limit of 16 MiB a reply, and the driver takes none over 48 MB.
#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_too_large_to_take_are_asked_for_smaller() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = stream(&db, kafka);
    setup.start().await.stop().await;
    let text = "x".repeat(80_000);
    for first in (0..900).step_by(100) {
        let many = (first..first + 100).map(|id| doc! {"_id": id, "text": &text});
        db.documents("things").insert_many(many).await.unwrap();
    }
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&topic], 900).await;
    assert_eq!(ids(&records), (0..900).collect::<Vec<_>>());
    let detailed = tailwater.get("/health/detailed").await.json();
    let source = &detailed["components"]["source"]["counters"];
    assert_eq!(source["reconnects"], 0, "it was no outage");
    tailwater.stop().await;
}
