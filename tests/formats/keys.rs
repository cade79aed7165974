//! `KEY_FORMAT`: what keys are, and that each document keeps its partition and its order.

use crate::support::{self, Tailwater};
use bson::doc;
use std::collections::BTreeMap;
use tailwater::kafka::partition::partition_of;

const PARTITIONS: i32 = 5;
const DOCUMENTS: i32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_each_document_keeps_the_partition_of_its_default_key_and_its_order() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let orders = db.documents("orders");
    for delivery in ["at_least_once", "exactly_once"] {
        let topic = db.topic(delivery);
        kafka.create_topic(&topic, PARTITIONS, &[]).await;
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("KEY_FORMAT", "none")
            .env("DELIVERY", delivery)
            .env("COMMIT_INTERVAL_MS", 100);
        let tailwater = setup.start().await;
        for n in 0..4 {
            for id in 0..DOCUMENTS {
                let whole = doc! {"n": n, "delivery": delivery};
                let replaced = orders.replace_one(doc! {"_id": id}, whole).upsert(true);
                replaced.await.unwrap();
            }
        }
        let count = usize::try_from(4 * DOCUMENTS).unwrap();
        let records = kafka.wait_for_records(&[&topic], count).await;
        tailwater.stop().await;
        let mut seen: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut used = std::collections::BTreeSet::new();
        for record in &records {
            assert_eq!(record.key_bytes, None);
            let document = &record.value["fullDocument"];
            let id = document["_id"].as_i64().unwrap();
            let key = format!(
                r#"{{"database":"{}","collection":"orders","_id":{id}}}"#,
                db.name()
            );
            assert_eq!(record.partition, partition_of(key.as_bytes(), PARTITIONS));
            used.insert(record.partition);
            seen.entry(id)
                .or_default()
                .push(document["n"].as_i64().unwrap());
        }
        assert!(used.len() > 1, "{used:?}");
        assert!(
            seen.values().all(|numbers| *numbers == [0, 1, 2, 3]),
            "{seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_ids_alone_where_that_is_wanted_but_for_listeners() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let jobs = format!("jobs.{}.mail", db.name());
    let listener = doc! {
        "_id": "mail", "collection": "orders", "jobName": "mail", "topic": &jobs,
        "filter": {}, "operationType": ["insert"], "isActive": true,
    };
    db.documents("listeners")
        .insert_one(listener)
        .await
        .unwrap();
    for (key_format, key) in [("id", r#""a""#), ("id_string", "a")] {
        let topic = db.topic(key_format);
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", format!("{topic}.{{collection}}"))
            .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
            .env("TOMBSTONES", "true")
            .env("KEY_FORMAT", key_format)
            .env("FORMAT", "cloudevents");
        let tailwater = setup.start().await;
        let orders = db.documents("orders");
        orders.insert_one(doc! {"_id": "a"}).await.unwrap();
        orders.delete_one(doc! {"_id": "a"}).await.unwrap();
        let records = kafka
            .wait_for_records(&[&format!("{topic}.orders")], 3)
            .await;
        for record in &records {
            assert_eq!(record.key_bytes.as_deref(), Some(key.as_bytes()));
        }
        assert_eq!(records[2].bytes, None);
        tailwater.stop().await;
    }
    let told = kafka.wait_for_records(&[&jobs], 2).await;
    assert!(told.iter().all(|it| it.key["collection"] == "orders"));
    let verify = Tailwater::on(&db, kafka)
        .env("KEY_FORMAT", "id")
        .args(&["verify"]);
    let exit = verify.run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(exit.output.contains("KEY_FORMAT=id"), "{}", exit.output);
}
