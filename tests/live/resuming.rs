//! Clients that are killed, cut off and come back: each event of their filter, exactly once by its position.

use super::{Client, alone, room, serving, write_to_rooms};
use crate::support::{self, Database, FENCED, Kafka, Random, Tailwater};
use bson::doc;
use std::net::SocketAddr;
use tokio::task::JoinHandle;

/// Writes to the rooms beside what the test does.
fn write(db: &Database, count: i64) -> JoinHandle<()> {
    let messages = db.documents("msgs");
    tokio::spawn(async move { write_to_rooms(&messages, 0..count).await })
}

/// Reads all of a room, coming back again and again to one of the addresses; the numbers in the order they came.
async fn read_all(
    addresses: Vec<SocketAddr>,
    from: String,
    count: i64,
    random: &mut Random,
) -> Vec<i64> {
    let mut seen = Vec::new();
    let mut last = from;
    while (seen.len() as i64) < count {
        let addr = addresses[random.below(addresses.len() as u64) as usize];
        let mut client =
            Client::open(addr, &room("r1"), &format!("last-event-id: {last}\r\n")).await;
        // It may come back before anything has come.
        let some = random.below(30).min((count - seen.len() as i64) as u64);
        for _ in 0..some {
            let event = client.next().await.expect("more events");
            assert_eq!(event.name, "");
            seen.push(event.number());
        }
        last = client.last_id.clone();
    }
    seen
}

fn sorted(mut seen: Vec<i64>) -> Vec<i64> {
    seen.sort_unstable();
    seen
}

#[tokio::test]
async fn a_client_that_comes_back_again_and_again_gets_every_event_once_and_in_order() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = serving(&db, kafka).env("KAFKA_TOPIC_PARTITIONS", "3");
    // So little is kept that Kafka is read as well.
    let mut tailwater = setup.env("LIVE_RECENT_BYTES", "64KiB").start().await;
    let addr = tailwater.live_addr().await;
    let begin = Client::open(addr, &room("r1"), "").await.last_id;
    let writer = write(&db, 600);
    let mut readers = Vec::new();
    for seed in 0..4 {
        let begin = begin.clone();
        readers.push(tokio::spawn(async move {
            let mut random = Random(seed);
            read_all(vec![addr], begin, 600, &mut random).await
        }));
    }
    writer.await.unwrap();
    for reader in readers {
        assert_eq!(sorted(reader.await.unwrap()), Vec::from_iter(0..600));
    }
    let late = read_all(vec![addr], begin, 600, &mut Random(9)).await;
    assert_eq!(sorted(late), Vec::from_iter(0..600));
    let page = tailwater.get("/metrics").await;
    assert!(
        page.metric("tailwater_live_catch_ups_total", &[]) > Some(0.0),
        "{}",
        page.body
    );
    tailwater.stop().await;
}

#[tokio::test]
async fn two_instances_serve_one_client_by_turns_and_one_of_them_is_killed() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = serving(&db, kafka)
        .env("KAFKA_TOPIC_PARTITIONS", "2")
        .start()
        .await;
    let mut one = alone(&db, kafka).spawn();
    let mut other = alone(&db, kafka).env("LIVE_RECENT_BYTES", "64KiB").spawn();
    let both = [one.live_addr().await, other.live_addr().await];
    let begin = Client::open(both[0], &room("r1"), "").await.last_id;
    let writer = write(&db, 300);
    let mut random = Random(7);
    let mut seen = Vec::new();
    let mut last = begin;
    while seen.len() < 150 {
        let addr = both[random.below(2) as usize];
        let mut client =
            Client::open(addr, &room("r1"), &format!("last-event-id: {last}\r\n")).await;
        for event in client.take(random.below(20) as usize).await {
            seen.push(event.number());
        }
        last = client.last_id.clone();
    }
    one.kill9();
    let left = 300 - seen.len() as i64;
    seen.extend(read_all(vec![both[1]], last, left, &mut random).await);
    writer.await.unwrap();
    assert_eq!(sorted(seen), Vec::from_iter(0..300));
    other.stop().await;
    tailwater.stop().await;
}

#[tokio::test]
async fn exactly_once_with_topics_by_operation_is_resumed_from_kafka_by_an_instance_that_is_new() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topics = |setup: support::Setup| {
        let setup = setup
            .without("KAFKA_DB_CHANGES_TOPIC")
            .env("KAFKA_TOPIC_INSERT", db.topic("insert"));
        setup
            .env("KAFKA_TOPIC_UPDATE", db.topic("update"))
            .env("KAFKA_TOPIC_DELETE", db.topic("delete"))
    };
    let tailwater = topics(serving(&db, kafka))
        .env("DELIVERY", "exactly_once")
        .start()
        .await;
    let mut first = topics(alone(&db, kafka)).spawn();
    let addr = first.live_addr().await;
    let mut client = Client::open(addr, "?collection=msgs", "").await;
    let begin = client.last_id.clone();
    let messages = db.documents("msgs");
    for n in 0..40 {
        messages.insert_one(doc! {"_id": n, "n": n}).await.unwrap();
        messages
            .update_one(doc! {"_id": n}, doc! {"$set": {"seen": true}})
            .await
            .unwrap();
    }
    client.take(80).await;
    let end = client.last_id.clone();
    first.stop().await;
    let mut second = topics(alone(&db, kafka))
        .env("LIVE_RECENT_BYTES", "64KiB")
        .spawn();
    let addr = second.live_addr().await;
    let mut again = Client::open(
        addr,
        "?collection=msgs",
        &format!("last-event-id: {begin}\r\n"),
    )
    .await;
    assert_eq!(again.take(80).await.len(), 80);
    // The markers of transactions behind the last records hold nothing up.
    let mut at_end = Client::open(
        addr,
        "?collection=msgs",
        &format!("last-event-id: {end}\r\n"),
    )
    .await;
    messages.delete_one(doc! {"_id": 1}).await.unwrap();
    for client in [&mut again, &mut at_end] {
        assert_eq!(
            client.next().await.unwrap().json()["operationType"],
            "delete"
        );
    }
    second.stop().await;
    tailwater.stop().await;
}

#[tokio::test]
async fn a_position_that_kafka_no_longer_holds_is_told_as_a_gap() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = serving(&db, kafka).start().await;
    let mut live = alone(&db, kafka).spawn();
    let begin = Client::open(live.live_addr().await, "?collection=msgs", "")
        .await
        .last_id;
    let messages = db.documents("msgs");
    messages.insert_one(doc! {"n": 0}).await.unwrap();
    kafka.wait_for_records(&[&db.topic("changes")], 1).await;
    live.stop().await;
    kafka.delete_records(&db.topic("changes"), &[]).await;
    let mut live: Tailwater = alone(&db, kafka).spawn();
    let addr = live.live_addr().await;
    let mut client = Client::open(
        addr,
        "?collection=msgs",
        &format!("last-event-id: {begin}\r\n"),
    )
    .await;
    let gap = client.next().await.unwrap();
    assert_eq!(gap.name, "gap");
    assert_eq!(gap.json(), serde_json::json!({"from": begin, "to": gap.id}));
    messages.insert_one(doc! {"n": 1}).await.unwrap();
    assert_eq!(client.next().await.unwrap().number(), 1);
    // From where it was told on, there is none.
    let mut again = Client::open(
        addr,
        "?collection=msgs",
        &format!("last-event-id: {}\r\n", gap.id),
    )
    .await;
    assert_eq!(again.next().await.unwrap().number(), 1);
    live.stop().await;
    tailwater.stop().await;
}

/// Clients forget the brokers that a reply does not name, and so does the reader of the topics' ends.
#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_of_changes_after_the_cluster_has_named_no_broker() {
    let (db, kafka) = (support::database().await, Kafka::dedicated(FENCED).await);
    let mut tailwater = serving(&db, &kafka)
        .env("KAFKA_PROP_TOPIC_METADATA_REFRESH_INTERVAL_MS", 500)
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let mut client = Client::open(addr, "?collection=msgs", "").await;
    for n in 0..3 {
        kafka.until_fenced().await;
        let message = doc! {"_id": n, "n": n};
        db.documents("msgs").insert_one(message).await.unwrap();
        assert_eq!(client.take(1).await[0].number(), n);
    }
}
