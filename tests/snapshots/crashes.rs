//! Killed again and again while rows and changes come; handed from one instance to another.

use super::{Fold, contents, is_row, setup};
use crate::support::{Database, PATIENCE, Random, Setup, database, eventually, kafka, unique};
use bson::{Document, doc};
use mongodb::Collection;
use std::collections::BTreeSet;
use std::time::Duration;

const DOCUMENTS: i32 = 6000;

async fn fill(db: &Database, collection: &str) {
    for first in (0..DOCUMENTS).step_by(1000) {
        let documents =
            (first..first + 1000).map(|id| doc! {"_id": id, "n": 0, "pad": "x".repeat(200)});
        db.documents(collection)
            .insert_many(documents)
            .await
            .unwrap();
    }
}

/// Changes documents at random until it is told to stop.
fn write(
    collection: Collection<Document>,
    seed: u64,
) -> (
    tokio::task::JoinHandle<()>,
    tokio_util::sync::CancellationToken,
) {
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let mut random = Random(seed);
        while !stopped.is_cancelled() {
            let id = random.below(DOCUMENTS as u64 + 500) as i32;
            match random.below(4) {
                0 => {
                    collection.delete_one(doc! {"_id": id}).await.unwrap();
                }
                1 => {
                    let n = random.below(1 << 20) as i32;
                    let new = doc! {"n": n};
                    collection
                        .replace_one(doc! {"_id": id}, new)
                        .upsert(true)
                        .await
                        .unwrap();
                }
                _ => {
                    let change = doc! {"$inc": {"n": 1}};
                    collection
                        .update_one(doc! {"_id": id}, change)
                        .await
                        .unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    (task, stop)
}

/// Slow enough that kills come in the midst of it.
fn slowly(setup: Setup) -> Setup {
    setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "3000docs")
}

async fn kills_lose_nothing(delivery: &str, kills: u64) {
    let (db, kafka) = (database().await, kafka().await);
    for collection in ["a", "b"] {
        fill(&db, collection).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = slowly(setup).env("DELIVERY", delivery);
    let writers: Vec<_> = ["a", "b"]
        .into_iter()
        .zip(1..)
        .map(|(name, seed)| write(db.documents(name), seed))
        .collect();
    let mut random = Random(11);
    let mut tailwater = setup.start().await;
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(200 + random.below(500))).await;
        tailwater.kill9();
        drop(tailwater);
        tailwater = setup.start().await;
    }
    let snapshot = tailwater.wait_for_snapshot().await;
    for (task, stop) in writers {
        stop.cancel();
        task.await.unwrap();
    }
    let read = async || match delivery {
        "exactly_once" => kafka.committed_records(&[&topic]).await,
        _ => kafka.records(&[&topic]).await,
    };
    for collection in ["a", "b"] {
        let there = contents(&db, collection).await;
        eventually(PATIENCE, "the records make the collection", async || {
            let fold = Fold::of(&read().await, collection).contents();
            (fold == there).then_some(())
        })
        .await;
    }
    let records = read().await;
    let rows: Vec<_> = records.iter().filter(|record| is_row(record)).collect();
    let ids: BTreeSet<_> = rows.iter().map(|row| row.header("tw-snapshot")).collect();
    assert_eq!(
        ids.into_iter().collect::<Vec<_>>(),
        [snapshot["id"].as_str().unwrap()]
    );
    let distinct: BTreeSet<_> = rows.iter().map(|row| row.header("tw-id")).collect();
    if delivery == "exactly_once" {
        assert_eq!(distinct.len(), rows.len(), "no row came twice");
    }
    // It continued where it was: at most a chunk of each reader came again for each kill.
    let again = rows.len() - distinct.len();
    assert!(
        again < (kills as usize + 1) * 1500,
        "{again} rows came again"
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_midst_of_it_lose_nothing_and_bring_nothing_back() {
    kills_lose_nothing("at_least_once", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_transactions_no_row_comes_twice_over_kills() {
    kills_lose_nothing("exactly_once", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_continues_it() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "a").await;
    let (setup, topic) = setup(&db, kafka);
    let setup = slowly(setup)
        .env("COORDINATION", "mongodb")
        .env("RESUME_STORE", "mongodb")
        .env("LEASE_DATABASE", unique("leases").replace('-', "_"))
        .env("LEASE_HEARTBEAT_MS", 200)
        .env("LEASE_TIMEOUT_MS", 1000)
        .env("LEASE_POLL_MS", 500);
    let (task, stop) = write(db.documents("a"), 5);
    let mut first = setup.start().await;
    eventually(PATIENCE, "rows come", async || {
        let rows = first.get("/api/snapshots").await.json()["snapshots"][0]["rows"].as_u64();
        rows.filter(|rows| *rows > 500)
    })
    .await;
    let second = setup.start().await;
    first.kill9();
    let snapshot = second.wait_for_snapshot().await;
    stop.cancel();
    task.await.unwrap();
    super::wait_until_equal(&db, kafka, &topic, "a").await;
    let records = kafka.records(&[&topic]).await;
    let mut rows = records.iter().filter(|record| is_row(record));
    assert!(rows.all(|row| row.header("tw-snapshot") == snapshot["id"]));
    second.stop().await;
}
