//! What goes wrong with one listener is that listener's alone.

use super::{ids, listener, listening, records, topic};
use crate::support::{self, Database, Kafka, Setup};
use bson::doc;

/// The stream goes on, and so do the others; the dead letter is for the one listener, and so is its replay.
#[tokio::test]
async fn a_record_that_one_listener_cannot_have_is_its_own_dead_letter() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let dead = db.topic("dead");
    let setup = listening(&db, kafka)
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_DLQ_TOPIC", &dead);
    let small = topic(&db, "small");
    kafka
        .create_topic(&small, 1, &[("max.message.bytes", "2000")])
        .await;
    let listeners = db.documents("listeners");
    for id in ["small", "large"] {
        let document = listener(&db, id, "batches", doc! {});
        listeners.insert_one(document).await.unwrap();
    }
    let mut process = setup.start().await;
    let data = db.documents("batches");
    let text = "x".repeat(4000);
    data.insert_one(doc! {"_id": 1, "text": &text})
        .await
        .unwrap();
    data.insert_one(doc! {"_id": 2}).await.unwrap();
    assert_eq!(ids(&records(&db, kafka, "large", 2).await), [1, 2]);
    assert_eq!(ids(&records(&db, kafka, "small", 1).await), [2]);
    let letters = kafka.wait_for_records(&[&dead], 1).await;
    assert_eq!(letters[0].header("tw-listener"), "small");
    process.wait_for_event("listener_refused").await;
    process.stop().await;

    kafka
        .alter_topic(&small, &[("max.message.bytes", "1000000")])
        .await;
    let list = setup.clone().args(&["dlq", "list"]).run().await;
    assert!(
        list.output.contains("for listener small"),
        "{}",
        list.output
    );
    let replay = setup.clone().args(&["dlq", "replay"]).run().await;
    assert_eq!(replay.code, Some(0), "{}", replay.output);
    let of = records(&db, kafka, "small", 2).await;
    assert_eq!(ids(&of), [2, 1]);
    assert_eq!(of[1].header("tw-listener"), "small");
    assert!(of[1].headers.contains_key("tw-replayed"));
    assert_eq!(records(&db, kafka, "large", 2).await.len(), 2);

    // Whoever is gone gets nothing any more.
    listeners.delete_one(doc! {"_id": "small"}).await.unwrap();
    let replay = setup.args(&["dlq", "replay"]).run().await;
    assert_eq!(replay.code, Some(8), "{}", replay.output);
    assert!(
        replay.output.contains("no active listener small"),
        "{}",
        replay.output
    );
}

/// One that Kafka refuses is a record error, whoever it is for: nothing is left out unless somebody has said so.
#[tokio::test]
async fn a_record_that_is_too_large_for_a_listener_s_topic_stops_the_stream_and_the_log_says_so() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    let small = topic(&db, "small");
    kafka
        .create_topic(&small, 1, &[("max.message.bytes", "2000")])
        .await;
    let document = listener(&db, "small", "batches", doc! {});
    let listeners = db.documents("listeners");
    listeners.insert_one(document).await.unwrap();
    let mut process = setup.start().await;
    let data = db.documents("batches");
    data.insert_one(doc! {"_id": 1, "text": "x".repeat(4000)})
        .await
        .unwrap();
    let exit = process.wait_exit(support::PATIENCE).await;
    assert_eq!(exit.code, Some(8), "{}", exit.output);
    let mut lines = exit.output.lines();
    let line = lines.find(|line| line.contains("listener_refused"));
    assert!(
        line.is_some_and(|line| line.contains("ON_RECORD_ERROR=stop ends the stream")),
        "{}",
        exit.output
    );
}

/// A setup that makes no topics; that of its checkpoints is there.
async fn without_creation(db: &Database, kafka: &Kafka) -> Setup {
    let setup = listening(db, kafka).env("KAFKA_CREATE_TOPICS", "false");
    let checkpoints = setup.vars()["RESUME_TOPIC"].clone();
    kafka
        .create_topic(&checkpoints, 1, &[("cleanup.policy", "compact")])
        .await;
    setup
}

/// A topic that nobody may make stops no stream: whoever writes listeners could do that otherwise.
#[tokio::test]
async fn a_topic_that_cannot_be_had_makes_its_listener_invalid() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = without_creation(&db, kafka).await;
    kafka.create_topic(&topic(&db, "there"), 1, &[]).await;
    for id in ["missing", "there"] {
        let document = listener(&db, id, "batches", doc! {});
        db.documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
    }
    let mut process = setup.start().await;
    let data = db.documents("batches");
    for id in 1..4 {
        data.insert_one(doc! {"_id": id}).await.unwrap();
    }
    assert_eq!(ids(&records(&db, kafka, "there", 3).await), [1, 2, 3]);
    let line = process.wait_for_event("listener_refused").await;
    assert!(line.contains("missing"), "{line}");
    // Once it is there, the listener gets what comes from then on.
    kafka.create_topic(&topic(&db, "missing"), 1, &[]).await;
    let mut id = 4;
    support::eventually(support::PATIENCE, "a record for the listener", async || {
        data.insert_one(doc! {"_id": id}).await.unwrap();
        id += 1;
        let of = kafka.records(&[&topic(&db, "missing")]).await;
        (!of.is_empty()).then_some(())
    })
    .await;
    process.stop().await;
}

/// A topic that goes away while the stream runs is its listener's trouble: the stream waits for nothing.
#[tokio::test]
async fn a_listener_s_topic_that_is_deleted_holds_up_nobody_else() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = without_creation(&db, kafka).await;
    for id in ["gone", "stays"] {
        kafka.create_topic(&topic(&db, id), 1, &[]).await;
        let document = listener(&db, id, "batches", doc! {});
        db.documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
    }
    let mut process = setup.start().await;
    let data = db.documents("batches");
    data.insert_one(doc! {"_id": 1}).await.unwrap();
    records(&db, kafka, "gone", 1).await;
    kafka.delete_topic(&topic(&db, "gone")).await;
    for id in 2..5 {
        data.insert_one(doc! {"_id": id}).await.unwrap();
    }
    // The client library does not see at once that a topic is gone.
    let line = process.wait_for_event("listener_refused").await;
    assert!(line.contains("gone"), "{line}");
    support::eventually(support::PATIENCE, "all records of the other", async || {
        let of = kafka.records(&[&topic(&db, "stays")]).await;
        let is_there = ids(&of) == [1, 2, 3, 4];
        let health = process.get("/health").await;
        // None of the other's is on its way any more, which a stop would wait for.
        let page = process.get("/metrics").await;
        let refused = page.metric("tailwater_listener_events_total", &[("outcome", "refused")]);
        (is_there && health.status == 200 && refused >= Some(3.0)).then_some(())
    })
    .await;
    process.stop().await;
}
