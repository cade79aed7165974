//! Where a snapshot begins and ends a stream: lost history, and `SNAPSHOT=only`.

use super::{assert_equal, is_row, setup};
use crate::support::{Mongo, PATIENCE, Tailwater, database, eventually, http, kafka};
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_snapshot_is_taken_and_the_process_ends_well() {
    let (db, kafka) = (database().await, kafka().await);
    let documents = (0..500).map(|id| doc! {"_id": id});
    db.documents("orders").insert_many(documents).await.unwrap();
    for delivery in ["at_least_once", "exactly_once"] {
        let (setup, topic) = setup(&db, kafka);
        let topic = format!("{topic}-{delivery}");
        let setup = setup
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("DELIVERY", delivery)
            .env("SNAPSHOT", "only");
        for _ in 0..2 {
            let exit = setup.run().await;
            assert_eq!(exit.code, Some(0), "{}", exit.output);
            let records = kafka.committed_records(&[&topic]).await;
            assert_eq!(records.len(), 500, "{}", exit.output);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_is_followed_by_a_snapshot() {
    let mongo = Mongo::with_small_oplog().await;
    let kafka = kafka().await;
    let db = mongo.database().await;
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .env("SNAPSHOT", "when_needed")
        .env("SNAPSHOT_COLLECTIONS", "orders");
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 1, "n": 0}).await.unwrap();
    let tailwater = setup.start().await;
    let first = tailwater.wait_for_snapshot().await;
    assert_eq!(first["reason"], "initial");
    orders.insert_one(doc! {"_id": 2, "n": 0}).await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    tailwater.stop().await;
    orders
        .update_one(doc! {"_id": 1}, doc! {"$set": {"n": 7}})
        .await
        .unwrap();
    orders.insert_one(doc! {"_id": 3, "n": 0}).await.unwrap();
    db.overtake_oplog(2000).await;
    let tailwater = setup.start().await;
    let second = eventually(PATIENCE, "another snapshot", async || {
        let snapshot = tailwater.wait_for_snapshot().await;
        (snapshot["id"] != first["id"]).then_some(snapshot)
    })
    .await;
    assert_eq!(second["reason"], "history_lost");
    assert_eq!(second["rows"], 3);
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

/// Listeners alone give rows no topic: that is said at the start, and of a request.
#[tokio::test(flavor = "multi_thread")]
async fn where_rows_have_no_topic_that_is_said() {
    let (db, kafka) = (database().await, kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("SNAPSHOT", "initial");
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(exit.output.contains("SNAPSHOT_TOPIC"), "{}", exit.output);
    let rows = db.topic("rows");
    db.documents("orders")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let tailwater = setup.env("SNAPSHOT_TOPIC", &rows).start().await;
    let records = kafka.wait_for_records(&[&rows], 1).await;
    assert!(is_row(&records[0]));
    tailwater.stop().await;
}

/// A stop is the end of it too; the next start begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_snapshot_that_is_stopped_ends_the_process() {
    let (db, kafka) = (database().await, kafka().await);
    let documents = (0..3000).map(|id| doc! {"_id": id, "pad": "x".repeat(200)});
    let orders = db.documents("orders");
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup.env("SNAPSHOT", "only");
    let slowly = setup
        .clone()
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "500docs");
    let mut tailwater = slowly.start().await;
    kafka.wait_for_records(&[&topic], 10).await;
    let addr = tailwater.http_addr().unwrap();
    let reply = http::post(addr, "/api/snapshots/stop", "", "").await;
    assert_eq!(reply.unwrap().status, 200);
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let sent = kafka.records(&[&topic]).await.len();
    assert!(sent < 3000, "{sent}");
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert_eq!(kafka.records(&[&topic]).await.len(), sent + 3000);
}
