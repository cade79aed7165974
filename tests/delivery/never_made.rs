//! Topics that Kafka will never make, and those that somebody may still make: the first are the fault of
//! the event that needs them, in each run and whichever comes first.

use super::rights::{USER, broker};
use crate::support::{
    self, Database, Kafka, Operation, PATIENCE, Record, Resource, Setup, Tailwater, eventually,
};
use bson::doc;
use tailwater::error::Code;

async fn insert(db: &Database, collection: &str) {
    let documents = db.documents(collection);
    documents.insert_one(doc! {}).await.unwrap();
}

/// Inserts go to a topic per collection, dead letters to one that is there.
async fn on(db: &Database, kafka: &Kafka) -> Setup {
    let plain = ["updates", "deletes", "dead"].map(|name| db.topic(name));
    for topic in &plain {
        kafka.create_topic(topic, 1, &[]).await;
    }
    Tailwater::on(db, kafka)
        .env("KAFKA_TOPIC_INSERT", db.topic("{collection}"))
        .env("KAFKA_TOPIC_UPDATE", &plain[0])
        .env("KAFKA_TOPIC_DELETE", &plain[1])
        .env("KAFKA_DLQ_TOPIC", &plain[2])
        .env("ON_RECORD_ERROR", "dlq")
        // Also without the right to create topics, or before anybody has made that of checkpoints.
        .env("RESUME_STORE", "file")
}

/// The namespaces of the dead letters, once there are so many.
async fn dead(db: &Database, kafka: &Kafka, count: usize) -> Vec<Record> {
    let letters = kafka.wait_for_records(&[&db.topic("dead")], count).await;
    assert!(
        letters
            .iter()
            .all(|it| it.header("tw-dlq-reason") == "no_topic")
    );
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_clash_end_the_same_in_every_run_whichever_comes_first() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = on(&db, kafka).await;
    let there = db.topic("order.items");
    let tailwater = setup.start().await;
    for collection in ["order.items", "order_items", "order.items"] {
        insert(&db, collection).await;
    }
    kafka.wait_for_records(&[&there], 2).await;
    dead(&db, kafka, 1).await;
    tailwater.stop().await;

    let tailwater = setup.start().await;
    for collection in ["order_items", "order.items", "order_items"] {
        insert(&db, collection).await;
    }
    kafka.wait_for_records(&[&there], 3).await;
    let letters = dead(&db, kafka, 3).await;
    let namespace = format!("{}.order_items", db.name());
    assert!(letters.iter().all(|it| it.header("tw-ns") == namespace));
    let detail = letters[0].header("tw-dlq-detail");
    assert!(detail.contains(&there), "{detail}");
    assert_eq!(kafka.partitions(&db.topic("order_items")).await, None);
    tailwater.stop().await;
}

/// Nothing of it is asked to be made here, so that no refusal tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_clash_with_another_programs_topic_is_known_from_the_clusters_own_list() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = on(&db, kafka).await.env("KAFKA_CREATE_TOPICS", "false");
    kafka.create_topic(&db.topic("a_b"), 1, &[]).await;
    kafka.create_topic(&db.topic("c"), 1, &[]).await;
    let tailwater = setup.start().await;
    insert(&db, "a.b").await;
    insert(&db, "c").await;
    kafka.wait_for_records(&[&db.topic("c")], 1).await;
    dead(&db, kafka, 1).await;

    // Nothing stale: what is there in its place later is written to.
    kafka.delete_topic(&db.topic("a_b")).await;
    eventually(PATIENCE, "the name is free", async || {
        kafka
            .partitions(&db.topic("a_b"))
            .await
            .is_none()
            .then_some(())
    })
    .await;
    kafka.create_topic(&db.topic("a.b"), 1, &[]).await;
    eventually(PATIENCE, "the topic is used", async || {
        insert(&db, "a.b").await;
        let records = kafka.records(&[&db.topic("a.b")]).await;
        (!records.is_empty()).then_some(())
    })
    .await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_named_as_kafkas_own_topics_is_its_events_fault() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = on(&db, kafka).await;
    let (internal, plain) = ("__consumer_offsets", support::unique("plain"));
    let by_name = setup.clone().env("KAFKA_TOPIC_INSERT", "{collection}");
    let tailwater = by_name.start().await;
    insert(&db, internal).await;
    // The topic of dead letters takes nothing else.
    insert(&db, &db.topic("dead")).await;
    insert(&db, &plain).await;
    kafka.wait_for_records(&[&plain], 1).await;
    dead(&db, kafka, 2).await;
    tailwater.stop().await;

    let mut tailwater = by_name.env("ON_RECORD_ERROR", "stop").start().await;
    insert(&db, internal).await;
    let exit = tailwater.wait_exit(PATIENCE).await;
    let code = i32::from(Code::RecordRefused.exit_code());
    assert_eq!(exit.code, Some(code), "{}", exit.output);
    assert!(exit.output.contains("is Kafka's own"), "{}", exit.output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_a_record_error_by_choice_until_it_is_there() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    kafka.create_topic(&db.topic("there"), 1, &[]).await;
    let tailwater = on(&db, kafka)
        .await
        .env("KAFKA_CREATE_TOPICS", "false")
        .env("ON_MISSING_TOPIC", "record_error")
        .start()
        .await;
    insert(&db, "missing").await;
    insert(&db, "there").await;
    kafka.wait_for_records(&[&db.topic("there")], 1).await;
    let letters = dead(&db, kafka, 1).await;
    let detail = letters[0].header("tw-dlq-detail");
    assert!(detail.contains("KAFKA_CREATE_TOPICS is false"), "{detail}");
    assert_eq!(tailwater.get("/health").await.json()["status"], "healthy");

    kafka.create_topic(&db.topic("missing"), 1, &[]).await;
    eventually(PATIENCE, "the topic is used", async || {
        insert(&db, "missing").await;
        let records = kafka.records(&[&db.topic("missing")]).await;
        (!records.is_empty()).then_some(())
    })
    .await;
    tailwater.stop().await;
}

/// That it may be seen does not mean that it may be written to.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_to_is_waited_for_or_by_choice_a_record_error() {
    let (db, kafka) = (support::database().await, broker().await);
    let (denied, there) = (db.topic("denied"), db.topic("there"));
    let setup = on(&db, kafka).await.logged_in_as(kafka, USER);
    kafka.create_topic(&denied, 1, &[]).await;
    let resource = Resource::Topic(&denied);
    kafka.deny(USER, resource, Operation::Write).await;
    let by_choice = setup.clone().env("ON_MISSING_TOPIC", "record_error");
    let tailwater = by_choice.start().await;
    for collection in ["denied", "denied", "there", "denied"] {
        insert(&db, collection).await;
    }
    kafka.wait_for_records(&[&there], 1).await;
    dead(&db, kafka, 3).await;
    let exit = tailwater.stop().await;
    let rebuilt = exit.output.matches("starting again from the last").count();
    assert!((1..=2).contains(&rebuilt), "{rebuilt}: {}", exit.output);

    // Waited for, from the first attempt on, however many producers are built.
    let tailwater = setup.start().await;
    insert(&db, "denied").await;
    let why = format!("waiting for topic {denied} since ");
    eventually(PATIENCE, "it is unhealthy", async || {
        let health = tailwater.get("/health").await.json();
        let reason = health["reason"].as_str().unwrap_or_default();
        (health["status"] == "unhealthy" && reason.contains(&why)).then_some(())
    })
    .await;
    assert!(!tailwater.is_ready().await);
    kafka.remove_acl(USER, resource, Operation::Write).await;
    kafka.wait_for_records(&[&denied], 1).await;
    eventually(PATIENCE, "it is healthy", async || {
        let health = tailwater.get("/health").await.json();
        (health["status"] == "healthy").then_some(())
    })
    .await;
    tailwater.stop().await;
}
