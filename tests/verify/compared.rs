//! `tailwater compare`: two watchers of one source, of which one has lost, doubled, reordered or altered something.

use super::plant::Plant;
use super::{DIFFERENT, EQUAL, UNFINISHED, Writer, arrived, of, run, setup};
use crate::support::{self, Record};
use bson::doc;
use serde_json::{Value, json};

fn kinds(collection: &Value) -> [u64; 4] {
    ["lost", "extra", "reordered", "different"].map(|name| collection[name].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_watchers_tell_differently_is_found_by_document_and_order() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let ours = setup(&db, kafka);
    let tailwater = ours.start().await;
    let documents = db.documents("users");
    let writer = Writer::start(&db, "users");
    // What is damaged must be within the time that both cover, and not at its edge.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    for id in 0..8 {
        documents
            .insert_one(doc! {"_id": id, "n": 0})
            .await
            .unwrap();
        for n in 1..4 {
            documents
                .update_one(doc! {"_id": id}, doc! {"$set": {"n": n}})
                .await
                .unwrap();
            // A later document must not be looked up for it.
            kafka
                .wait_until(&[&topic], "the update", |records| {
                    let last = records.last();
                    last.is_some_and(|last| {
                        last.key["_id"] == id && last.value["fullDocument"]["n"] == n
                    })
                })
                .await;
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let written = writer.stop().await;
    assert!(written > 0);
    documents.insert_one(doc! {"_id": "last"}).await.unwrap();
    let records = kafka
        .wait_until(&[&topic], "the last change", |records| {
            records.iter().any(|it| it.key["_id"] == "last")
        })
        .await;
    tailwater.stop().await;

    let other = db.topic("other");
    kafka.create_topic(&other, 1, &[]).await;
    copy(kafka, &records, &other, |_| 1).await;
    let args =
        |b: &str| ["compare", "--output", "json", "--a", &topic, "--b", b].map(str::to_owned);
    let compare = async |b: &str, code| {
        let args = args(b);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        run(&ours, &args, code).await
    };
    let report = compare(&other, EQUAL).await;
    assert_eq!(kinds(of(&report, "users")), [0; 4], "{report:#}");
    assert!(
        of(&report, "users")["same"].as_u64().unwrap() > 32,
        "{report:#}"
    );

    // Of document 4 an update is lost, of 5 two are swapped, of 6 one is altered, of 7 one comes that never was.
    let damaged = db.topic("damaged");
    kafka.create_topic(&damaged, 1, &[]).await;
    let n = |record: &Record, id: i64, n: i64| {
        record.key["_id"] == id && record.value["fullDocument"]["n"] == n
    };
    let mut copies = Vec::new();
    let mut held = None;
    for record in &records {
        let plant = Plant::like(record);
        if n(record, 4, 2) {
            continue;
        } else if n(record, 5, 1) {
            held = Some(plant);
            continue;
        } else if n(record, 6, 2) {
            copies.push(plant.edit("\"n\":2", "\"n\":77"));
        } else {
            copies.push(plant);
        }
        if n(record, 5, 2) {
            copies.extend(held.take());
        }
        if n(record, 7, 1) {
            copies.push(
                Plant::like(record)
                    .seq(record.seq() + 1)
                    .edit("\"n\":1", "\"n\":78"),
            );
        }
        if n(record, 7, 2) {
            copies.push(Plant::like(record));
        }
    }
    Plant::produce_all(copies, kafka, &damaged).await;
    let report = compare(&damaged, DIFFERENT).await;
    let users = of(&report, "users");
    assert_eq!(kinds(users), [1, 1, 1, 1], "{report:#}");
    assert_eq!(users["repeated"], json!({"a": 0, "b": 1}), "{report:#}");
    let named = |kind: &str| {
        let all = users["listed"].as_array().unwrap();
        all.iter().find(|it| it["kind"] == kind).unwrap().clone()
    };
    assert_eq!(named("lost")["id"], "4");
    assert_eq!(named("reordered")["id"], "5");
    assert_eq!(named("extra")["id"], "7");
    let different = named("different");
    assert_eq!(
        (&different["id"], &different["operation"]),
        (&json!("6"), &json!("update"))
    );
    assert_eq!(different["paths"], json!([{"path": "n", "how": "value"}]));

    let nothing = db.topic("nothing");
    kafka.create_topic(&nothing, 1, &[]).await;
    compare(&nothing, UNFINISHED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_ones_own_is_compared_by_a_mapping() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (topic, own) = (db.topic("changes"), db.topic("own"));
    let ours = setup(&db, kafka);
    kafka.create_topic(&own, 1, &[]).await;
    let tailwater = ours.start().await;
    for round in 0..4 {
        db.documents("users")
            .insert_one(doc! {"_id": round, "n": 1.5})
            .await
            .unwrap();
        // Further apart than the edges of the time that both cover.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let records = arrived(kafka, &topic, 4).await;
    tailwater.stop().await;
    for (index, record) in records.iter().enumerate() {
        // The second is lost.
        if index == 1 {
            continue;
        }
        let document = record.value["fullDocument"].to_string();
        let value = json!({
            "type": "created", "at": record.value["timestamp"], "data": {"coll": "users", "after": document},
        });
        kafka
            .produce(&own, &record.key["_id"].to_string(), &value.to_string())
            .await;
    }
    let map = format!(
        "operation=type,database=={},collection=data.coll,id=key,document=data.after,time=at",
        db.name()
    );
    let args = [
        "compare",
        "--output",
        "json",
        "--a",
        &topic,
        "--b",
        &own,
        "--format-b",
        "custom",
        "--map",
        &map,
    ];
    let report = run(&ours, &args, DIFFERENT).await;
    assert_eq!(kinds(of(&report, "users")), [1, 0, 0, 0], "{report:#}");
    assert_eq!(of(&report, "users")["same"], 3, "{report:#}");
    let wrong = [
        "compare",
        "--a",
        &topic,
        "--b",
        &own,
        "--format-b",
        "custom",
        "--map",
        "what=ever",
    ];
    let exit = ours.clone().args(&wrong).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(
        exit.output.contains("operation, database"),
        "{}",
        exit.output
    );
}

async fn copy(
    kafka: &support::Kafka,
    records: &[Record],
    topic: &str,
    times: impl Fn(&Record) -> usize,
) {
    let copies = records
        .iter()
        .flat_map(|it| std::iter::repeat_n(Plant::like(it), times(it)));
    Plant::produce_all(copies.collect(), kafka, topic).await;
}
