//! Snapshots that are started, stopped, paused and resumed at any moment, over restarts and other configurations; and
//! what is asked for in vain.

use super::{assert_equal, is_row, setup, wait_until_equal};
use crate::support::{
    Database, Kafka, PATIENCE, Random, Record, Setup, Tailwater, Wire, database, eventually, http,
    kafka, mongo, wire,
};
use bson::doc;
use std::collections::BTreeSet;
use std::time::Duration;

async fn fill(db: &Database, collection: &str, count: i32) {
    let documents =
        (0..count).map(|id| doc! {"_id": id, "open": id % 2 == 0, "pad": "x".repeat(200)});
    db.documents(collection)
        .insert_many(documents)
        .await
        .unwrap();
}

async fn ask(tailwater: &Tailwater, path: &str, body: &str) -> (u16, String) {
    let addr = tailwater.http_addr().unwrap();
    let path = format!("/api/snapshots{path}");
    let reply = http::post(addr, &path, "", body).await.unwrap();
    (reply.status, reply.body)
}

fn rows_of(records: &[Record], collection: &str) -> usize {
    let is_of = |record: &&Record| is_row(record) && record.value["collection"] == collection;
    records.iter().filter(is_of).count()
}

/// Slow enough that what is asked for comes in the midst of it.
fn slowly(setup: Setup) -> Setup {
    setup
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "2000docs")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_steered_at_random_moments_and_every_document_is_copied_in_the_end() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "orders", 3000).await;
    let (setup, topic) = setup(&db, kafka);
    let setup = slowly(setup).env("SNAPSHOT", "initial");
    let mut tailwater = setup.start().await;
    let mut random = Random(5);
    for _ in 0..40 {
        let (path, body) = match random.below(8) {
            0 | 1 => ("/pause", ""),
            2 | 3 => ("/resume", ""),
            4 => ("/stop", ""),
            5 => ("", r#"{"collection": "orders", "filter": {"open": true}}"#),
            6 => ("", r#"{"collection": "orders"}"#),
            _ => ("", "{}"),
        };
        let (status, said) = ask(&tailwater, path, body).await;
        assert!(
            matches!(status, 200 | 409),
            "{path} {body}: {status} {said}"
        );
        if random.once_in(8) {
            tailwater.kill9();
            tailwater = setup.start().await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(100))).await;
    }
    // What runs now may be of some documents alone.
    let _ = ask(&tailwater, "/stop", "").await;
    let (status, said) = ask(&tailwater, "", "{}").await;
    assert_eq!(status, 200, "{said}");
    let id: serde_json::Value = serde_json::from_str(&said).unwrap();
    let snapshot = tailwater.wait_for_snapshot().await;
    assert_eq!(snapshot["id"], id["snapshot"]);
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    let last = records.iter().filter(|record| {
        is_row(record) && record.header("tw-snapshot") == snapshot["id"].as_str().unwrap()
    });
    let keys: BTreeSet<_> = last.map(|record| record.key.to_string()).collect();
    assert_eq!(keys.len(), 3000);
    tailwater.stop().await;
}

/// Seen elsewhere: after a restart the rest came without its condition; or all came once more, where nothing had
/// changed since.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_and_the_end_survive_restarts_without_any_change() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "orders", 4000).await;
    let (setup, topic) = setup(&db, kafka);
    let setup = slowly(setup);
    let mut tailwater = setup.start().await;
    let (status, said) = ask(
        &tailwater,
        "",
        r#"{"collection": "orders", "filter": {"open": true}}"#,
    )
    .await;
    assert_eq!(status, 200, "{said}");
    for rows in [300, 900] {
        let is_so_far = |records: &[Record]| records.len() >= rows;
        kafka.wait_until(&[&topic], "rows", is_so_far).await;
        tailwater.kill9();
        // Another condition for what begins from now on.
        let other = setup
            .clone()
            .env("SNAPSHOT_FILTER", r#"{"orders": {"open": false}}"#);
        tailwater = other.start().await;
    }
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    let ids: BTreeSet<_> = records
        .iter()
        .map(|record| record.key.to_string())
        .collect();
    assert_eq!(ids.len(), 2000);
    let open = |record: &Record| record.value["fullDocument"]["open"] == true;
    assert!(records.iter().all(open));

    for ends in ["killed", "stopped", "killed"] {
        match ends {
            "killed" => tailwater.kill9(),
            _ => drop(tailwater.stop().await),
        }
        tailwater = setup.clone().env("SNAPSHOT", "initial").start().await;
        let last = tailwater.wait_for_snapshot().await;
        assert_eq!(last["reason"], "requested", "{ends}: no other was begun");
    }
    db.documents("orders")
        .insert_one(doc! {"_id": "last"})
        .await
        .unwrap();
    let is_last = |records: &[Record]| records.iter().any(|record| record.key["_id"] == "last");
    let after = kafka.wait_until(&[&topic], "the last", is_last).await;
    assert_eq!(after.len(), records.len() + 1);
    tailwater.stop().await;
}

/// Its changes come no more, so that rows would stay as they are for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_not_watched_any_more_gets_no_more_rows() {
    let (db, kafka) = (database().await, kafka().await);
    for collection in ["orders", "users"] {
        fill(&db, collection, 2000).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = slowly(setup);
    let mut tailwater = setup.start().await;
    for collection in ["orders", "users"] {
        let (status, said) = ask(
            &tailwater,
            "",
            &format!(r#"{{"collection": "{collection}"}}"#),
        )
        .await;
        assert_eq!(status, 200, "{said}");
    }
    let has_some = |records: &[Record]| rows_of(records, "orders") > 100;
    kafka
        .wait_until(&[&topic], "rows of orders", has_some)
        .await;
    tailwater.kill9();
    let before = rows_of(&kafka.records(&[&topic]).await, "orders");
    let mut tailwater = setup.env("EXCLUDE_COLLECTIONS", "orders").start().await;
    tailwater.wait_for_log("not watched any more").await;
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_eq!(rows_of(&records, "orders"), before);
    assert_equal(&records, &db, "users").await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_collection_is_refused_with_a_sentence() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "orders", 10).await;
    let view = doc! {"create": "seen", "viewOn": "orders", "pipeline": []};
    db.run_command(view).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup.start().await;
    for (collection, sentence) in [("seen", "is a view"), ("oders", "does not exist")] {
        let (status, said) = ask(
            &tailwater,
            "",
            &format!(r#"{{"collection": "{collection}"}}"#),
        )
        .await;
        assert_eq!(status, 400, "{said}");
        assert!(
            said.contains(sentence) && said.contains(collection),
            "{said}"
        );
    }
    assert!(kafka.records(&[&topic]).await.is_empty());
    tailwater.stop().await;
}

/// A query that MongoDB refuses leaves its collection out, and that is told wherever the end is.
#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_cannot_be_copied_is_told_of_at_the_end() {
    let (db, kafka) = (database().await, kafka().await);
    for collection in ["orders", "users"] {
        fill(&db, collection, 20).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = setup.env("SNAPSHOT_FILTER", r#"{"orders": {"$nonsense": 1}}"#);
    let tailwater = setup.clone().env("SNAPSHOT", "initial").start().await;
    let snapshot = tailwater.wait_for_snapshot().await;
    assert_eq!(
        snapshot["skipped"],
        serde_json::json!([format!("{}.orders", db.name())])
    );
    wait_until_equal(&db, kafka, &topic, "users").await;
    tailwater.stop().await;
    let only = setup
        .env("KAFKA_CLIENT_ID", crate::support::unique("only"))
        .env("SNAPSHOT", "only");
    let exit = only.run().await;
    assert_ne!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("orders"), "{}", exit.output);
}

/// A cursor that the server has closed, an election, a server that is gone for a moment: the rest is read by another
/// query.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_ends_early_is_continued_behind_its_last_row() {
    let (mongo, kafka) = (mongo().await, kafka().await);
    let db = mongo.database().await;
    let wire = Wire::before(mongo.addr()).await;
    fill(&db, "orders", 3000).await;
    let (setup, topic) = setup(&db, kafka);
    let mut of_rows = 0;
    wire.refuse_if(move |command| {
        let is_more =
            wire::name(command) == "getMore" && command.get("collection") == Some(&"orders".into());
        of_rows += u64::from(is_more);
        // CursorNotFound, InterruptedDueToReplStateChange, NotWritablePrimary.
        let codes = [43, 11602, 10107];
        (is_more && of_rows % 2 == 1).then(|| wire::error(codes[(of_rows / 2 % 3) as usize], &[]))
    });
    let tailwater = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("RECONNECT_DELAY_MS", 50)
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT", "initial")
        .start()
        .await;
    let snapshot = tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    assert_eq!(snapshot["rows"], 3000);
    tailwater.stop().await;
}

/// Kafka is away while rows are sent: they wait, and so does their end.
#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_for_a_broker_that_is_away() {
    let db = database().await;
    let mut kafka = Kafka::dedicated(&[]).await;
    fill(&db, "orders", 6000).await;
    let (setup, topic) = setup(&db, &kafka);
    let tailwater = slowly(setup).env("SNAPSHOT", "initial").start().await;
    kafka.wait_for_records(&[&topic], 500).await;
    for _ in 0..2 {
        kafka.kill9();
        tokio::time::sleep(Duration::from_millis(500)).await;
        kafka.restart().await;
        let before = kafka.records(&[&topic]).await.len();
        eventually(PATIENCE, "rows come again", async || {
            let now = kafka.records(&[&topic]).await.len();
            (now > before + 200 || now == 6000).then_some(())
        })
        .await;
    }
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

/// Whatever a restart meets: no more than a chunk of each query comes again, however rarely checkpoints are due.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_a_chunk_of_each_query_comes_again() {
    let (db, kafka) = (database().await, kafka().await);
    let documents: Vec<_> = (0..30_000)
        .map(|id| doc! {"_id": id, "pad": "x".repeat(500)})
        .collect();
    for documents in documents.chunks(5000) {
        db.documents("orders").insert_many(documents).await.unwrap();
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_PARALLELISM", 2)
        .env("SNAPSHOT_CHUNK_BYTES", "256KiB")
        .env("COMMIT_INTERVAL_MS", 60_000);
    let mut kills = 0;
    for share in [1, 2, 3] {
        let mut tailwater = setup.start().await;
        let most = 7000 * share;
        let is_so_far = |records: &[Record]| records.len() >= most;
        kafka.wait_until(&[&topic], "rows", is_so_far).await;
        tailwater.kill9();
        kills += 1;
    }
    let tailwater = setup.start().await;
    let snapshot = tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    let again = records.len() - 30_000;
    println!("{again} rows came again after {kills} kills, {snapshot}");
    let chunk = (256 << 10) / 520;
    assert!(
        again <= kills * 2 * chunk,
        "{again} of {}",
        kills * 2 * chunk
    );
    tailwater.stop().await;
}
