//! Changes that happen while rows are on their way.

use super::{Fold, assert_equal, contents, is_row, setup};
use crate::support::{Mongo, PATIENCE, Wire, eventually, kafka, wire};
use bson::{Document, doc};

/// A query of a snapshot on this collection.
fn is_of(collection: &'static str) -> impl FnMut(&Document) -> bool + Send + 'static {
    move |command| command.get("find") == Some(&collection.into()) && command.contains_key("sort")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_deleted_between_its_read_and_its_record_does_not_come_back() {
    let (mongo, kafka) = (crate::support::mongo().await, kafka().await);
    let db = mongo.database().await;
    let wire = Wire::before(mongo.addr()).await;
    let orders = db.documents("orders");
    let documents = (0..20).map(|id| doc! {"_id": id, "n": 0});
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("SNAPSHOT", "initial");
    let held = wire.hold(is_of("orders"));
    let tailwater = setup.start().await;
    held.reached().await;
    // The rows were read, and are not here yet.
    orders.delete_one(doc! {"_id": 3}).await.unwrap();
    orders
        .update_one(doc! {"_id": 4}, doc! {"$set": {"n": 1}})
        .await
        .unwrap();
    orders.delete_one(doc! {"_id": 5}).await.unwrap();
    orders.insert_one(doc! {"_id": 5, "n": 2}).await.unwrap();
    kafka.wait_for_records(&[&topic], 4).await;
    held.release();
    let snapshot = tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    let rows: Vec<_> = records.iter().filter(|record| is_row(record)).collect();
    assert_eq!(rows.len(), 17, "3, 4 and 5 came with the stream");
    assert_eq!(snapshot["leftOut"], 3);
    tailwater.stop().await;
}

/// The rows are here, and the stream has not come to what was before them.
#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_until_the_stream_has_passed_the_time_of_their_query() {
    let (mongo, kafka) = (crate::support::mongo().await, kafka().await);
    let db = mongo.database().await;
    let wire = Wire::before(mongo.addr()).await;
    let orders = db.documents("orders");
    let documents = (0..20).map(|id| doc! {"_id": id});
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("SNAPSHOT", "initial");
    // The stream stands still from the first time that it is asked while rows are read.
    let stream = wire.hold(|command| {
        let patience = command.get("maxTimeMS").map(ToString::to_string);
        wire::name(command) == "getMore" && patience.as_deref() == Some("50")
    });
    let rows = wire.hold(is_of("orders"));
    let tailwater = setup.start().await;
    stream.reached().await;
    rows.reached().await;
    rows.release();
    eventually(PATIENCE, "the rows were taken", async || {
        // What is behind the first page is asked for when that was taken.
        let asked = wire.seen("find");
        (asked > 0).then_some(())
    })
    .await;
    orders.delete_one(doc! {"_id": 3}).await.unwrap();
    orders.insert_one(doc! {"_id": "last"}).await.unwrap();
    assert!(kafka.records(&[&topic]).await.is_empty());
    stream.release();
    tailwater.wait_for_snapshot().await;
    kafka
        .wait_until(&[&topic], "the last insert", |records| {
            records.iter().any(|record| record.key["_id"] == "last")
        })
        .await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_dropped_or_renamed_while_it_is_read_leaves_no_row_behind() {
    for is_renamed in [false, true] {
        let (mongo, kafka) = (crate::support::mongo().await, kafka().await);
        let db = mongo.database().await;
        let wire = Wire::before(mongo.addr()).await;
        let documents = || (0..50).map(|id| doc! {"_id": id});
        db.documents("orders")
            .insert_many(documents())
            .await
            .unwrap();
        let (setup, topic) = setup(&db, kafka);
        let setup = setup
            .env("MONGODB_URI", wire.uri_of(db.name()))
            .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
            .env("SNAPSHOT", "initial");
        let held = wire.hold(is_of("orders"));
        let tailwater = setup.start().await;
        held.reached().await;
        match is_renamed {
            true => {
                // Where the walk over the names has passed.
                let to = format!("{}.archive", db.name());
                let rename = doc! {
                    "renameCollection": format!("{}.orders", db.name()), "to": to,
                };
                mongo
                    .client()
                    .await
                    .database("admin")
                    .run_command(rename)
                    .await
                    .unwrap();
            }
            false => db.documents("orders").drop().await.unwrap(),
        }
        db.documents("orders")
            .insert_one(doc! {"_id": "new"})
            .await
            .unwrap();
        kafka
            .wait_until(&[&topic], "the insert behind it", |records| {
                records.iter().any(|record| record.key["_id"] == "new")
            })
            .await;
        held.release();
        tailwater.wait_for_snapshot().await;
        let records = kafka.records(&[&topic]).await;
        for collection in ["orders", "archive"] {
            let fold = Fold::of(&records, collection).contents();
            assert_eq!(
                fold,
                contents(&db, collection).await,
                "{collection} {is_renamed}"
            );
        }
        tailwater.stop().await;
    }
}

/// MongoDB refuses the rows for a while: that is said, the stream flows, and the rows come when it lets them.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_read_says_why_and_continues_when_it_can() {
    let (mongo, kafka) = (crate::support::mongo().await, kafka().await);
    let mongo: &Mongo = mongo;
    let db = mongo.database().await;
    let wire = Wire::before(mongo.addr()).await;
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 1}).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("RECONNECT_DELAY_MS", 100)
        .env("SNAPSHOT", "initial");
    wire.refuse_if(|command| {
        (command.get("find") == Some(&"orders".into())).then(|| wire::error(13, &[]))
    });
    let tailwater = setup.start().await;
    orders.insert_one(doc! {"_id": 2}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let problem = eventually(PATIENCE, "the problem is told", async || {
        let reply = tailwater.get("/api/snapshots").await.json();
        let problem = reply["snapshots"][0]["problem"]["text"]
            .as_str()?
            .to_owned();
        Some(problem)
    })
    .await;
    assert!(
        problem.contains("orders") && problem.contains("13"),
        "{problem}"
    );
    eventually(PATIENCE, "it is degraded", async || {
        let health = tailwater.get("/health/detailed").await.json();
        let reason = health["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("snapshot").then_some(())
    })
    .await;
    wire.heal();
    tailwater.wait_for_snapshot().await;
    let records = kafka.wait_for_records(&[&topic], 2).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}
