//! What a stop, a crash, a dropped database and a changed filter leave behind: nothing lost, and
//! nothing repeated that `tw-seq` does not tell.

use crate::support::{self, Database, Record, Setup, Tailwater};
use bson::doc;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};

/// Every event into one partition, so that the order of the records is that of the stream.
async fn setup(db: &Database, store: &str) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, support::kafka().await)
        .env("RESUME_STORE", store)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1);
    (setup, topic)
}

async fn insert(db: &Database, id: i32) {
    let users = db.documents("users");
    users.insert_one(doc! {"_id": id}).await.unwrap();
}

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}

/// Each of `0..count` once and in order; what is not so is named.
fn assert_each_once(ids: &[i64], count: i32) {
    let every = 0..i64::from(count);
    let times = |id: i64| ids.iter().filter(|other| **other == id).count();
    let missing: Vec<_> = every.clone().filter(|id| times(*id) == 0).collect();
    let repeated: Vec<_> = every.clone().filter(|id| times(*id) > 1).collect();
    assert_eq!((missing, repeated), (vec![], vec![]), "missing, repeated");
    assert!(ids.iter().copied().eq(every), "out of order: {ids:?}");
}

/// Inserts `0..count` one after the other, from a task of its own.
fn write(db: &Database, count: i32) -> tokio::task::JoinHandle<()> {
    let users = db.documents("users");
    tokio::spawn(async move {
        for id in 0..count {
            users.insert_one(doc! {"_id": id}).await.unwrap();
        }
    })
}

/// Stops it three times while changes come, with changes in between.
async fn graceful_stops_lose_and_repeat_nothing(store: &str) {
    const COUNT: i32 = 600;
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, store).await;
    // So often that a stop mostly comes while a checkpoint is being written.
    let setup = setup.env("COMMIT_INTERVAL_MS", 10);
    let mut tailwater = setup.start().await;
    let writer = write(&db, COUNT);
    for seen in [50, 200, 350] {
        kafka.wait_for_records(&[&topic], seen).await;
        tailwater.stop().await;
        tailwater = setup.start().await;
    }
    writer.await.unwrap();
    tailwater.stop().await;
    insert(&db, COUNT).await;
    let tailwater = setup.start().await;
    insert(&db, COUNT + 1).await;
    kafka
        .wait_until(&[&topic], "the last insert", |records| {
            ids(records).last() == Some(&i64::from(COUNT + 1))
        })
        .await;
    tailwater.stop().await;

    let records = kafka.records(&[&topic]).await;
    assert_each_once(&ids(&records), COUNT + 2);
    let seqs: Vec<_> = records.iter().map(Record::seq).collect();
    let first = seqs[0];
    assert!(
        seqs.iter()
            .zip(first..)
            .all(|(seq, expected)| *seq == expected),
        "tw-seq goes on without a gap"
    );
}

#[tokio::test]
async fn graceful_stops_lose_and_repeat_nothing_with_checkpoints_in_kafka() {
    graceful_stops_lose_and_repeat_nothing("kafka").await;
}

#[tokio::test]
async fn graceful_stops_lose_and_repeat_nothing_with_checkpoints_in_mongodb() {
    graceful_stops_lose_and_repeat_nothing("mongodb").await;
}

#[tokio::test]
async fn graceful_stops_lose_and_repeat_nothing_with_checkpoints_in_a_file() {
    graceful_stops_lose_and_repeat_nothing("file").await;
}

/// Kills it again and again while changes come; whoever ignores a `tw-seq` that is not above the
/// last one sees each change once and in order.
async fn crashes_lose_nothing_and_mark_what_they_repeat(store: &str) {
    const COUNT: i32 = 600;
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, store).await;
    // Checkpoints that come often, but behind what was delivered.
    let setup = setup.env("COMMIT_INTERVAL_MS", 200);
    let mut tailwater = setup.start().await;
    let writer = write(&db, COUNT);
    for seen in [20, 150, 300] {
        kafka
            .wait_until(&[&topic], "some more inserts", |records| {
                ids(records).into_iter().max() >= Some(seen)
            })
            .await;
        tailwater.kill9();
        tailwater = setup.start().await;
    }
    writer.await.unwrap();
    kafka
        .wait_until(&[&topic], "the last insert", |records| {
            ids(records).last() == Some(&i64::from(COUNT - 1))
        })
        .await;
    tailwater.stop().await;

    let records = kafka.records(&[&topic]).await;
    let mut last = 0;
    let mut fresh = records.clone();
    fresh.retain(|record| {
        let is_new = record.seq() > last;
        last = last.max(record.seq());
        is_new
    });
    assert_each_once(&ids(&fresh), COUNT);
    // A repeated record is the same record: same identity, number and content.
    let mut by_id = BTreeMap::new();
    for record in &records {
        let whole = (record.seq(), record.bytes.clone(), record.headers.clone());
        let first = by_id.entry(record.header("tw-id")).or_insert(whole.clone());
        assert_eq!(*first, whole);
    }
}

#[tokio::test]
async fn crashes_lose_nothing_and_mark_what_they_repeat_with_checkpoints_in_kafka() {
    crashes_lose_nothing_and_mark_what_they_repeat("kafka").await;
}

#[tokio::test]
async fn crashes_lose_nothing_and_mark_what_they_repeat_with_checkpoints_in_mongodb() {
    crashes_lose_nothing_and_mark_what_they_repeat("mongodb").await;
}

#[tokio::test]
async fn crashes_lose_nothing_and_mark_what_they_repeat_with_checkpoints_in_a_file() {
    crashes_lose_nothing_and_mark_what_they_repeat("file").await;
}

/// Its first position is stored before the first event: what comes while it is away is not lost,
/// even when nothing ever came before, and even when it had no time for a last word.
#[tokio::test]
async fn a_place_in_a_database_where_nothing_has_happened_yet_is_kept() {
    let kafka = support::kafka().await;
    for store in ["kafka", "mongodb", "file"] {
        let db = support::database().await;
        let (setup, topic) = setup(&db, store).await;
        let mut tailwater = setup.start().await;
        tailwater.kill9();
        insert(&db, 1).await;
        setup.start().await.stop().await;
        insert(&db, 2).await;
        let tailwater = setup.start().await;
        let records = kafka.wait_for_records(&[&topic], 2).await;
        assert_eq!(ids(&records), [1, 2], "{store}");
        tailwater.stop().await;
    }
}

#[tokio::test]
async fn without_a_checkpoint_the_start_is_now_or_as_early_as_asked() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let before = jiff::Timestamp::now();
    insert(&db, 1).await;
    let (setup, topic) = setup(&db, "file").await;
    let tailwater = setup.start().await;
    insert(&db, 2).await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    assert_eq!(ids(&kafka.records(&[&topic]).await), [2]);

    for start_at in [
        "earliest",
        &before.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    ] {
        let topic = db.topic(&start_at[..4]);
        let tailwater = setup
            .clone()
            .env("START_AT", start_at)
            .env("RESUME_FILE", format!("{start_at}.json"))
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .start()
            .await;
        let records = kafka.wait_for_records(&[&topic], 2).await;
        assert_eq!(ids(&records), [1, 2], "{start_at}");
        tailwater.stop().await;
    }
}

#[tokio::test]
async fn a_dropped_database_ends_nothing_whether_it_was_seen_or_happened_meanwhile() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, "kafka").await;
    let tailwater = setup.start().await;
    insert(&db, 1).await;
    db.drop().await.unwrap();
    insert(&db, 2).await;
    let records = kafka.wait_for_records(&[&topic], 2).await;
    assert_eq!(ids(&records), [1, 2]);
    db.drop().await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    tailwater.stop().await;

    insert(&db, 3).await;
    db.drop().await.unwrap();
    insert(&db, 4).await;
    let tailwater = setup.start().await;
    insert(&db, 5).await;
    let records = kafka.wait_for_records(&[&topic], 5).await;
    assert_eq!(ids(&records), [1, 2, 3, 4, 5]);
    assert!(records.is_sorted_by_key(Record::seq));
    tailwater.stop().await;
    assert_eq!(kafka.records(&[&topic]).await.len(), 5);
}

#[tokio::test]
async fn a_changed_filter_goes_on_from_the_checkpoint_and_says_what_is_new() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, "kafka").await;
    let tailwater = setup
        .clone()
        .env("WATCH_COLLECTIONS", "users")
        .start()
        .await;
    insert(&db, 1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;

    insert(&db, 2).await;
    let wider = setup.env("WATCH_COLLECTIONS", "users,orders");
    let mut tailwater = wider.start().await;
    let warning = tailwater.wait_for_log("now also watched: orders").await;
    assert!(warning.contains("WARN"), "{warning}");
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 3}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 3).await;
    assert_eq!(ids(&records), [1, 2, 3]);
    let seqs: BTreeSet<_> = records.iter().map(Record::seq).collect();
    assert_eq!(seqs.len(), 3);
    assert!(records.is_sorted_by_key(Record::seq));
    tailwater.stop().await;

    let tailwater = wider.start().await;
    let log = tailwater.stop().await.output;
    assert!(!log.contains("watched:"), "nothing is new any more:\n{log}");
}

/// A stop asked for while events come is a drain, not a cut: SIGINT as well as SIGTERM.
#[tokio::test]
async fn an_interrupt_drains_like_a_termination() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (setup, topic) = setup(&db, "file").await;
    let mut tailwater = setup.start().await;
    let writer = write(&db, 200);
    kafka.wait_for_records(&[&topic], 20).await;
    tailwater.signal(Signal::INT);
    let exit = tailwater.wait_exit(support::PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("everything delivered is committed"));
    writer.await.unwrap();
    let tailwater = setup.start().await;
    kafka.wait_for_records(&[&topic], 200).await;
    tailwater.stop().await;
    assert_each_once(&ids(&kafka.records(&[&topic]).await), 200);
}
