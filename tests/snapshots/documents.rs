//! Documents of every kind: `_id`s of all types, large ones, those that can be no record.

use super::{assert_equal, is_row, setup, wait_until_equal};
use crate::support::{Kafka, Random, database, kafka};
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Document, Timestamp, doc};
use std::str::FromStr;

/// An `_id` of each type, and some neighbours within it.
pub(super) fn ids(random: &mut Random, count: usize) -> Vec<Bson> {
    let mut ids = vec![
        Bson::Null,
        Bson::MinKey,
        Bson::MaxKey,
        Bson::Double(f64::NAN),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(f64::INFINITY),
        Bson::Boolean(false),
        Bson::Boolean(true),
        Bson::String(String::new()),
        doc! {}.into(),
    ];
    for number in 0..count {
        let n = number as i32;
        ids.push(match number % 11 {
            0 => n.into(),
            1 => (i64::from(n) << 33).into(),
            2 => (f64::from(n) + 0.5).into(),
            3 => Bson::Decimal128(Decimal128::from_str(&format!("{n}.25")).unwrap()),
            4 => format!("key {}", random.next()).into(),
            5 => doc! {"a": n, "b": {"c": format!("{n}")}}.into(),
            6 => {
                // All of one length: the server of the tests sorts others in another order than it compares them.
                let mut bytes = random.next().to_le_bytes().to_vec();
                bytes.extend(n.to_le_bytes());
                Bson::Binary(Binary {
                    subtype: BinarySubtype::Generic,
                    bytes,
                })
            }
            7 => ObjectId::new().into(),
            8 => DateTime::from_millis(i64::from(n) * 1000).into(),
            9 => Bson::Timestamp(Timestamp {
                time: 1 + n as u32,
                increment: 1,
            }),
            _ => Bson::Symbol(format!("symbol {n}")),
        });
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_of_every_type_is_copied_page_by_page() {
    let (db, kafka) = (database().await, kafka().await);
    let mut random = Random(7);
    let mixed = db.documents("mixed");
    let mut inserted = 0;
    for id in ids(&mut random, 1100) {
        // The server of the tests does not take every type.
        let document = doc! {"_id": id, "pad": "x".repeat(700)};
        inserted += usize::from(mixed.insert_one(document).await.is_ok());
    }
    assert!(inserted > 900, "{inserted}");
    let (setup, topic) = setup(&db, kafka);
    // So small that a page holds few.
    let setup = setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB");
    let tailwater = setup.start().await;
    let snapshot = tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "mixed").await;
    assert_eq!(records.len(), inserted, "each once: {snapshot}");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_come_one_by_one_and_small_ones_in_one_query() {
    let (db, kafka) = (database().await, kafka().await);
    let large = db.documents("large");
    for id in 0..6 {
        // Two do not fit into one reply, and a small one lies between them.
        large
            .insert_one(doc! {"_id": id * 2, "text": "x".repeat(9_000_000)})
            .await
            .unwrap();
        large.insert_one(doc! {"_id": id * 2 + 1}).await.unwrap();
    }
    db.documents("empty")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    db.documents("empty")
        .delete_one(doc! {"_id": 1})
        .await
        .unwrap();
    let (setup, topic) = setup(&db, kafka);
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "20000000")])
        .await;
    let tailwater = setup.env("SNAPSHOT", "initial").start().await;
    let snapshot = tailwater.wait_for_snapshot().await;
    wait_until_equal(&db, kafka, &topic, "large").await;
    assert_eq!(snapshot["rows"], 12);
    assert_eq!(snapshot["collections"], 2);
    tailwater.stop().await;
}

/// Documents that Kafka does not take are treated by `ON_RECORD_ERROR`, and hold up no other.
async fn rows_that_cannot_be_records(kafka: &Kafka, policy: &str) {
    let db = database().await;
    let things = db.documents("things");
    for id in 0..300 {
        let size = if id % 100 == 50 { 200_000 } else { 10 };
        things
            .insert_one(doc! {"_id": id, "text": "x".repeat(size), "hidden": "hush-hush"})
            .await
            .unwrap();
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = setup.env("FIELDS_EXCLUDE", "things:hidden");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "100000")])
        .await;
    let letters = db.topic("letters");
    let setup = setup
        .env("SNAPSHOT", "initial")
        .env("KAFKA_DLQ_TOPIC", &letters)
        .env("ON_RECORD_ERROR", policy);
    let tailwater = setup.start().await;
    let snapshot = tailwater.wait_for_snapshot().await;
    assert_eq!(snapshot["collections"], 1);
    things.insert_one(doc! {"_id": "after"}).await.unwrap();
    let records = kafka
        .wait_until(&[&topic], "what follows", |records| {
            records.iter().any(|record| record.key["_id"] == "after")
        })
        .await;
    assert_eq!(records.iter().filter(|record| is_row(record)).count(), 297);
    let refused = kafka.records(&[&letters]).await;
    let count = refused.len();
    assert_eq!(count >= 3, policy == "dlq", "{count}");
    // What is hidden is in no row, and in no dead letter of one.
    for record in records.iter().chain(&refused) {
        assert!(!record.text().contains("hush-hush"), "{}", record.topic);
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_become_dead_letters() {
    rows_that_cannot_be_records(kafka().await, "dlq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_are_skipped() {
    rows_that_cannot_be_records(kafka().await, "skip").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_configuration_names_is_copied() {
    let (db, kafka) = (database().await, kafka().await);
    for collection in ["orders", "users", "logs", "audit_1", "audit_2"] {
        let documents = (0..10).map(|id| doc! {"_id": id, "even": id % 2 == 0});
        db.documents(collection)
            .insert_many(documents)
            .await
            .unwrap();
    }
    let view = doc! {"create": "seen", "viewOn": "orders", "pipeline": []};
    db.run_command(view).await.unwrap();
    let rows = db.topic("rows");
    let (setup, topic) = setup(&db, kafka);
    let mut tailwater = setup
        .env("SNAPSHOT", "initial")
        .env("EXCLUDE_COLLECTIONS", "logs")
        .env("SNAPSHOT_COLLECTIONS", "orders,audit_*,seen,logs")
        .env("SNAPSHOT_FILTER", r#"{"orders": {"even": true}}"#)
        .env("SNAPSHOT_TOPIC", &rows)
        .env("SNAPSHOT_OPERATION", "insert")
        .start()
        .await;
    let snapshot = tailwater.wait_for_snapshot().await;
    tailwater.wait_for_log("views and time-series").await;
    let records = kafka.wait_for_records(&[&rows], 25).await;
    let count = |collection: &str| {
        let of = |record: &&crate::support::Record| record.value["collection"] == collection;
        records.iter().filter(of).count()
    };
    assert_eq!(
        (count("orders"), count("audit_1"), count("audit_2")),
        (5, 10, 10),
        "{snapshot}"
    );
    assert!(
        records
            .iter()
            .all(|record| record.value["operationType"] == "insert")
    );
    assert!(kafka.records(&[&topic]).await.is_empty());
    tailwater.stop().await;
}

/// A base that is changed without its image while it is read comes behind that change.
#[tokio::test(flavor = "multi_thread")]
async fn without_full_documents_what_changes_while_it_is_read_is_read_again() {
    let (db, kafka) = (database().await, kafka().await);
    let orders = db.documents("orders");
    let documents = (0..2000).map(|id| doc! {"_id": id, "n": 0, "pad": "x".repeat(300)});
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup
        .env("SNAPSHOT", "initial")
        .env("FULL_DOCUMENT", "default")
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "4000docs")
        .start()
        .await;
    for id in 0..2000 {
        orders
            .update_one(doc! {"_id": id}, doc! {"$inc": {"n": 1}})
            .await
            .unwrap();
    }
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    let mut seen: std::collections::BTreeMap<String, (bool, i64)> = Default::default();
    for record in &records {
        let entry = seen.entry(record.key.to_string()).or_default();
        match is_row(record) {
            true => {
                let row: Document =
                    Document::try_from(record.value["fullDocument"].as_object().unwrap().clone())
                        .unwrap();
                *entry = (true, i64::from(row.get_i32("n").unwrap()));
            }
            false => entry.1 += 1,
        }
    }
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(_, state)| **state != (true, 1))
        .take(5)
        .collect();
    // A change that was in the row already is counted once more by whoever adds up; a base is never missing.
    assert!(
        seen.len() == 2000 && seen.values().all(|(has_base, _)| *has_base),
        "{wrong:?}"
    );
    tailwater.stop().await;
}
