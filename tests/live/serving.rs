//! What clients are shown, and what is refused.

use super::{Client, alone, filtered, refused, room, serving};
use crate::support::{self, Direction, Kafka, PATIENCE, Setup, eventually, http};
use bson::doc;
use serde_json::json;
use std::net::SocketAddr;

#[tokio::test]
async fn a_room_a_document_and_a_collection_are_shown_as_they_change() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let pre_images = doc! {"create": "msgs", "changeStreamPreAndPostImages": {"enabled": true}};
    db.run_command(pre_images).await.unwrap();
    let mut tailwater = serving(&db, kafka)
        .env("FULL_DOCUMENT_BEFORE_CHANGE", "whenAvailable")
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let messages = db.documents("msgs");
    let mut in_room = Client::open(addr, &room("r1"), "").await;
    let mut of_one = Client::open(addr, "?collection=msgs&id=2", "").await;
    let mut all = Client::open(addr, &format!("?database={}", db.name()), "").await;
    let mut definitions = Client::open(addr, "?operation=ddl", "").await;
    for header in [
        "cache-control: no-cache",
        "x-accel-buffering: no",
        "content-type: text/event-stream",
    ] {
        assert!(all.head.to_lowercase().contains(header), "{}", all.head);
    }

    messages
        .insert_one(doc! {"_id": 1, "room": "r1", "n": 1})
        .await
        .unwrap();
    messages
        .insert_one(doc! {"_id": 2, "room": "r2", "n": 2})
        .await
        .unwrap();
    db.documents("other")
        .insert_one(doc! {"_id": 1, "room": "r1", "n": 3})
        .await
        .unwrap();
    messages
        .update_one(doc! {"_id": 2}, doc! {"$set": {"room": "r1"}})
        .await
        .unwrap();
    // The document is looked up before it is gone.
    let mut told = in_room.take(2).await;
    messages
        .update_one(doc! {"_id": 1}, doc! {"$set": {"room": "r2"}})
        .await
        .unwrap();
    told.extend(in_room.take(1).await);
    messages.delete_one(doc! {"_id": 2}).await.unwrap();
    db.documents("other").drop().await.unwrap();

    told.extend(in_room.take(1).await);
    assert!(told.iter().all(|event| event.is_id_first), "{told:?}");
    let what = |event: &super::Event| {
        (
            event.name.clone(),
            event.json()["operationType"].clone(),
            event.json()["documentKey"]["_id"].clone(),
        )
    };
    let seen: Vec<_> = told.iter().map(what).collect();
    let (none, leave) = (String::new(), "leave".to_owned());
    assert_eq!(
        seen,
        [
            (none.clone(), json!("insert"), json!(1)),
            (none.clone(), json!("update"), json!(2)),
            (leave, json!("update"), json!(1)),
            (none, json!("delete"), json!(2)),
        ]
    );
    assert!(told[2].json().get("fullDocument").is_none());
    let operations = |events: Vec<super::Event>| {
        Vec::from_iter(
            events
                .iter()
                .map(|event| event.json()["operationType"].as_str().unwrap().to_owned()),
        )
    };
    assert_eq!(
        operations(of_one.take(3).await),
        ["insert", "update", "delete"]
    );
    assert_eq!(
        operations(all.take(6).await),
        ["insert", "insert", "insert", "update", "update", "delete"]
    );
    assert_eq!(operations(definitions.take(1).await), ["drop"]);

    // What Kafka holds is what is shown.
    let records = kafka.wait_for_records(&[&db.topic("changes")], 6).await;
    let of_room = records
        .iter()
        .find(|record| record.value["documentKey"]["_id"] == json!(1))
        .unwrap();
    assert_eq!(told[0].data.as_bytes(), of_room.bytes.as_ref().unwrap());
    let page = tailwater.get("/metrics").await;
    assert_eq!(page.metric("tailwater_live_clients", &[]), Some(4.0));
    assert_eq!(
        page.metric("tailwater_live_events_sent_total", &[]),
        Some(14.0)
    );
    tailwater.stop().await;
    // It is told, and told when to come back.
    let last = in_room.next().await.unwrap();
    assert_eq!(last.name, "close");
    assert!(in_room.next().await.is_none());
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_a_sentence() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut live = alone(&db, kafka)
        .env("LIVE_MAX_CLIENTS_PER_ADDRESS", "2")
        .env("LIVE_ORIGINS", "https://app.example.com")
        .spawn();
    let addr = live.live_addr().await;
    let plain = filtered(&json!({"at": {"$type": "date"}}));
    for (query, headers, status, named) in [
        ("?colection=msgs", "", 400, "colection"),
        ("?collection=a&collection=b", "", 400, "twice"),
        ("?operation=upsert", "", 400, "upsert"),
        ("?where=%7B", "", 400, "where"),
        (plain.as_str(), "", 400, "JSON_MODE"),
        ("?last_event_id=x", "", 400, "position"),
        ("?last_event_id=", "last-event-id: x\r\n", 400, "position"),
        ("", "origin: https://evil.example\r\n", 403, "LIVE_ORIGINS"),
        ("", "host: rebound.example\r\n", 403, "loopback"),
    ] {
        // With a host of its own, since HTTP/1.0 needs none.
        let (status_told, sentence) = refused(addr, query, headers).await;
        assert_eq!(status_told, status, "{query} {sentence}");
        assert!(sentence.contains(named), "{query} {sentence}");
    }
    let page = Client::open(addr, "", "origin: https://app.example.com\r\n").await;
    assert!(
        page.head
            .contains("access-control-allow-origin: https://app.example.com"),
        "{}",
        page.head
    );
    let other = Client::open(addr, "", "").await;
    let (status, sentence) = refused(addr, "", "").await;
    assert_eq!(status, 429);
    assert!(sentence.contains("LIVE_MAX_CLIENTS_PER_ADDRESS"));
    // A place that is left is free again.
    drop((page, other));
    eventually(PATIENCE, "there is a place", async || {
        let page = live.get("/metrics").await;
        (page.metric("tailwater_live_clients", &[]) == Some(0.0)).then_some(())
    })
    .await;
    Client::open(addr, "", "").await;
    assert_eq!(live.get("/health/ready").await.status, 200);
    live.stop().await;
}

#[tokio::test]
async fn one_who_comes_while_an_instance_starts_is_served_once_it_is_ready() {
    let db = support::database().await;
    let (kafka, proxy) = Kafka::behind_proxy(&[]).await;
    proxy.stall(Direction::Both);
    let mut live = alone(&db, &kafka)
        .env("KAFKA_BROKERS", proxy.addr())
        .spawn();
    let line = live.wait_for_log("live changes are served addr=").await;
    let addr: SocketAddr = line.rsplit_once("addr=").unwrap().1.trim().parse().unwrap();
    assert_eq!(http::get(addr, "/health").await.unwrap().status, 503);
    let coming = tokio::spawn(Client::open(addr, "", ""));
    eventually(PATIENCE, "it waits", async || {
        let page = live.get("/metrics").await;
        (page.metric("tailwater_live_clients", &[]) == Some(1.0)).then_some(())
    })
    .await;
    proxy.heal();
    // It is not refused.
    coming.await.unwrap();
    live.stop().await;
}

#[tokio::test]
async fn fields_that_are_excluded_are_shown_to_nobody() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka)
        .env("LIVE_EXCLUDE_FIELDS", "pass,profile.phone")
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let mut all = Client::open(addr, "", "").await;
    let mut oracle = Client::open(addr, &filtered(&json!({"pass": "secret"})), "").await;
    let messages = db.documents("msgs");
    messages
        .insert_one(doc! {"_id": 1, "pass": "secret", "profile": {"phone": "1", "city": "Rome"}})
        .await
        .unwrap();
    messages
        .update_one(
            doc! {"_id": 1},
            doc! {"$set": {"pass": "other", "profile.phone": "2"}},
        )
        .await
        .unwrap();
    let told = all.take(2).await;
    assert_eq!(
        told[0].json()["fullDocument"],
        json!({"_id": 1, "profile": {"city": "Rome"}})
    );
    assert_eq!(
        told[1].json()["updateDescription"]["updatedFields"],
        json!({})
    );
    assert!(!format!("{told:?}").contains("secret") && !format!("{told:?}").contains("phone"));
    tailwater.stop().await;
    assert_eq!(oracle.next().await.unwrap().name, "close");
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let open = serving(&db, kafka)
        .env("LIVE_ADDR", "0.0.0.0:0")
        .run()
        .await;
    assert_eq!(open.code, Some(2));
    assert!(
        open.output.contains("LIVE_JWT_SECRET or LIVE_JWKS"),
        "{}",
        open.output
    );
    kafka.create_topic(&db.topic("changes"), 400, &[]).await;
    let many = alone(&db, kafka).run().await;
    assert_eq!(many.code, Some(2), "{}", many.output);
    assert!(many.output.contains("400 partitions"), "{}", many.output);
    let off = Setup::empty()
        .env("KAFKA_BROKERS", kafka.brokers())
        .args(&["live"])
        .run()
        .await;
    assert_eq!(off.code, Some(2));
    assert!(off.output.contains("LIVE_ADDR is off"), "{}", off.output);
}
