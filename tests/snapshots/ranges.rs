//! Borders of pages and of ranges that are read side by side: no document lies in none, or in two.

use super::{contents, is_row, setup};
use crate::support::{Database, Kafka, Random, Setup, Wire, database, kafka, wire};
use bson::{Bson, Decimal128, Document, doc};
use std::collections::BTreeSet;

/// Enough that a collection is read in several ranges.
const MANY: usize = 45_000;

async fn insert(db: &Database, collection: &str, documents: Vec<Document>) {
    let collection = db.documents(collection);
    for documents in documents.chunks(5000) {
        collection.insert_many(documents).await.unwrap();
    }
}

/// Copies the database, and holds the rows of a collection against it: each document has one.
async fn assert_copied(db: &Database, kafka: &Kafka, setup: &Setup, topic: &str, collection: &str) {
    let mut tailwater = setup.clone().env("SNAPSHOT", "initial").start().await;
    tailwater.wait_for_snapshot().await;
    let there = contents(db, collection).await;
    let records = kafka.records(&[topic]).await;
    let rows: Vec<_> = records
        .iter()
        .filter(|record| is_row(record) && record.value["collection"] == collection)
        .collect();
    let of_rows: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let whole = row.value["fullDocument"].as_object().unwrap().clone();
            super::text(&Document::try_from(whole).unwrap())
        })
        .collect();
    let lacking: Vec<_> = there
        .iter()
        .filter(|one| !of_rows.contains(*one))
        .take(5)
        .collect();
    assert!(
        lacking.is_empty(),
        "{} rows of {}: {lacking:?}",
        rows.len(),
        there.len()
    );
    assert_eq!(
        (rows.len(), of_rows.len()),
        (there.len(), there.len()),
        "each once"
    );
    tailwater.signal(rustix::process::Signal::TERM);
    tailwater.wait_exit(crate::support::PATIENCE).await;
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

/// Neighbours of every number type, and the one number that no comparison finds.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_all_types_are_copied_in_ranges_side_by_side() {
    let (db, kafka) = (database().await, kafka().await);
    let mut ids = vec![
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        f64::INFINITY.into(),
        Bson::Null,
        (-0.0).into(),
        i64::MAX.into(),
        i64::MIN.into(),
        // Between two that a double cannot tell apart.
        ((1_i64 << 53) + 1).into(),
        (1_i64 << 53).into(),
    ];
    for n in 1..=(MANY / 4) as i32 {
        ids.push(n.into());
        ids.push((f64::from(n) + 0.5).into());
        ids.push(decimal(&format!("{n}.25")));
        ids.push((i64::from(n) << 33).into());
    }
    let documents = ids.into_iter().map(|id| doc! {"_id": id}).collect();
    insert(&db, "numbers", documents).await;
    let (setup, topic) = setup(&db, kafka);
    assert_copied(&db, kafka, &setup, &topic, "numbers").await;
}

/// A page ends with each of them in turn: the next one begins behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_end_with_a_value_that_is_neither_greater_nor_less_than_any() {
    for nan in [f64::NAN.into(), decimal("NaN")] {
        let (db, kafka) = (database().await, kafka().await);
        // Two of them fill a reply, so that it ends behind the second one.
        for id in [Bson::Null, nan.clone()] {
            let large = doc! {"_id": id, "text": "x".repeat(8_360_000)};
            db.documents("odd").insert_one(large).await.unwrap();
        }
        let numbers = (0..40).map(|n| doc! {"_id": n, "pad": "x".repeat(80_000)});
        insert(&db, "odd", numbers.collect()).await;
        let last = doc! {"_id": "behind"};
        db.documents("odd").insert_one(last).await.unwrap();
        let (setup, topic) = setup(&db, kafka);
        kafka
            .create_topic(&topic, 1, &[("max.message.bytes", "20000000")])
            .await;
        let setup = setup.env("SNAPSHOT_CHUNK_BYTES", "64KiB");
        assert_copied(&db, kafka, &setup, &topic, "odd").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_ids_are_copied_in_ranges_side_by_side() {
    let (db, kafka) = (database().await, kafka().await);
    let mut random = Random(3);
    let long = "k".repeat(1000);
    let mut ids: Vec<Bson> = (0..MANY)
        .map(|n| format!("{:016x}{long}{n}", random.next()).into())
        .collect();
    ids.push("huge".repeat(50_000).into());
    let documents = ids.into_iter().map(|id| doc! {"_id": id}).collect();
    insert(&db, "long", documents).await;
    let (setup, topic) = setup(&db, kafka);
    let setup = setup.env("SNAPSHOT_PARALLELISM", 4);
    assert_copied(&db, kafka, &setup, &topic, "long").await;
}

/// A collection whose strings are the same in either case; and two collections whose names differ in case alone.
#[tokio::test(flavor = "multi_thread")]
async fn case_makes_no_difference_where_the_collection_says_so() {
    let (db, kafka) = (database().await, kafka().await);
    let create = doc! {"create": "folded", "collation": {"locale": "en", "strength": 2}};
    let is_collated = db.run_command(create).await.is_ok();
    println!("the server knows collations: {is_collated}");
    for (collection, first) in [("folded", 0), ("Cased", 10), ("cased", 20)] {
        let documents = (0..900).map(|n| {
            let name = match n % 2 {
                0 => format!("Key {n}"),
                _ => format!("kEY {n}"),
            };
            doc! {"_id": name, "n": first + n, "pad": "x".repeat(500)}
        });
        insert(&db, collection, documents.collect()).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let setup = setup.env("SNAPSHOT_CHUNK_BYTES", "64KiB");
    for collection in ["folded", "Cased", "cased"] {
        let setup = setup
            .clone()
            .env("KAFKA_CLIENT_ID", crate::support::unique("cased"));
        let topic = format!("{topic}.{collection}");
        let setup = setup.env("KAFKA_DB_CHANGES_TOPIC", &topic);
        assert_copied(&db, kafka, &setup, &topic, collection).await;
    }
}

/// Capped, clustered and hidden from nobody: what is no plain collection and has changes is copied.
#[tokio::test(flavor = "multi_thread")]
async fn capped_and_clustered_collections_are_copied_with_a_filter_and_without() {
    let (db, kafka) = (database().await, kafka().await);
    let kinds = [
        (
            "capped",
            doc! {"create": "capped", "capped": true, "size": 10_000_000},
        ),
        (
            "clustered",
            doc! {"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": true}},
        ),
    ];
    for (name, create) in kinds {
        let made = db.run_command(create).await;
        println!("{name}: {:?}", made.err().map(|error| error.to_string()));
        let documents = (0..400).map(|n| doc! {"_id": n, "even": n % 2 == 0});
        insert(&db, name, documents.collect()).await;
    }
    let (setup, topic) = setup(&db, kafka);
    for name in ["capped", "clustered"] {
        let setup = setup
            .clone()
            .env("KAFKA_CLIENT_ID", crate::support::unique(name));
        let all = format!("{topic}.{name}");
        let whole = setup.clone().env("KAFKA_DB_CHANGES_TOPIC", &all);
        assert_copied(&db, kafka, &whole, &all, name).await;
        let some = format!("{topic}.{name}.some");
        let filtered = setup
            .env("KAFKA_CLIENT_ID", crate::support::unique(name))
            .env("KAFKA_DB_CHANGES_TOPIC", &some)
            .env("SNAPSHOT", "only")
            .env("SNAPSHOT_COLLECTIONS", name)
            .env(
                "SNAPSHOT_FILTER",
                format!(r#"{{"{name}": {{"even": true}}}}"#),
            );
        let exit = filtered.run().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        assert_eq!(kafka.records(&[&some]).await.len(), 200);
    }
}

/// Several shards may each have a document of one `_id`, so that a page begins with the last row of the one before it;
/// and nothing but a later time says there that the stream has passed the time of a query. No router can be had here:
/// a proxy has the server say that it is one.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_router_rows_of_every_page_come_under_writes() {
    let (mongo, kafka) = (crate::support::mongo().await, kafka().await);
    let db = mongo.database().await;
    let wire = Wire::before(mongo.addr()).await;
    wire.alter(|command, reply| {
        if ["hello", "isMaster", "ismaster"].contains(&wire::name(command)) {
            for member in [
                "setName",
                "setVersion",
                "hosts",
                "me",
                "primary",
                "secondary",
            ] {
                reply.remove(member);
            }
            reply.insert("msg", "isdbgrid");
        }
    });
    let mixed = super::documents::ids(&mut Random(9), 1500);
    for id in mixed {
        // The server of the tests does not take every type.
        let document = doc! {"_id": id, "n": 0, "pad": "x".repeat(500)};
        let _ = db.documents("mixed").insert_one(document).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT", "initial")
        .start()
        .await;
    let stop = tokio_util::sync::CancellationToken::new();
    let writing = tokio::spawn({
        let (mixed, stop) = (db.documents("mixed"), stop.clone());
        async move {
            let mut n = 0;
            while !stop.is_cancelled() {
                n += 11;
                let at = doc! {"_id": n % 1500};
                let changed = mixed.update_one(at.clone(), doc! {"$inc": {"n": 1}});
                changed.await.unwrap();
                if n % 7 == 0 {
                    mixed.delete_one(at).await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    });
    tailwater.wait_for_snapshot().await;
    stop.cancel();
    writing.await.unwrap();
    super::wait_until_equal(&db, kafka, &topic, "mixed").await;
    tailwater.stop().await;
}
