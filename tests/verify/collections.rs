//! Drops and renames: what was there before is gone, or has moved.

use super::{DIFFERENT, EQUAL, Writer, arrived, figures, listed, of, setup, verify};
use crate::support;
use bson::doc;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_or_renamed_is_neither_extra_nor_missing() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka);
    let tailwater = setup.start().await;
    for name in ["dropped", "old", "replaced", "again"] {
        let all = (0..5).map(|n| doc! {"_id": n, "of": name});
        db.documents(name).insert_many(all).await.unwrap();
    }
    let topic = db.topic("changes");
    arrived(kafka, &topic, 20).await;
    db.documents("dropped").drop().await.unwrap();
    db.documents("again").drop().await.unwrap();
    db.documents("replaced").drop().await.unwrap();
    let (from, to) = (format!("{}.old", db.name()), format!("{}.new", db.name()));
    let rename = doc! {"renameCollection": from, "to": to};
    db.client()
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    db.documents("again")
        .insert_one(doc! {"_id": 1, "of": "again"})
        .await
        .unwrap();
    db.documents("new")
        .update_one(doc! {"_id": 3}, doc! {"$set": {"n": 1}})
        .await
        .unwrap();
    arrived(kafka, &topic, 22).await;

    let report = verify(&setup, &[], EQUAL).await;
    let all = report["collections"].as_array().unwrap();
    assert!(all.iter().all(|it| figures(it) == [0; 5]), "{report:#}");
    assert_eq!(of(&report, "new")["equal"], 5, "{report:#}");
    assert_eq!(of(&report, "again")["equal"], 1, "{report:#}");

    // What a configuration without that topic would see. The server's time does not pass without writes.
    let writer = Writer::start(&db, "busy");
    let blind = setup.clone().without("KAFKA_TOPIC_DDL");
    let report = verify(&blind, &[], DIFFERENT).await;
    let unknown = |name: &str| of(&report, name)["unknown"].clone();
    assert_eq!(unknown("dropped"), json!({"dropped": 5}), "{report:#}");
    assert_eq!(unknown("old"), json!({"dropped": 5}), "{report:#}");
    assert_eq!(listed(of(&report, "again"), "extra").len(), 4, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("KAFKA_TOPIC_DDL"), "{notes}");
    writer.stop().await;
    tailwater.stop().await;
}

/// Kafka has never had what is there now, and nobody has lost it.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_copied_collections_name_over_is_unknown_until_it_is_copied() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka)
        .env("EXCLUDE_COLLECTIONS", "staging")
        .env("SNAPSHOT", "initial");
    for (name, count) in [("orders", 5), ("staging", 9)] {
        let all = (0..count).map(|n| doc! {"_id": format!("{name} {n}")});
        db.documents(name).insert_many(all).await.unwrap();
    }
    let tailwater = setup.start().await;
    tailwater.wait_for_snapshot().await;
    let report = verify(&setup, &[], EQUAL).await;
    assert_eq!(of(&report, "orders")["equal"], 5, "{report:#}");
    let [from, to] = ["staging", "orders"].map(|name| format!("{}.{name}", db.name()));
    let rename = doc! {"renameCollection": from, "to": to, "dropTarget": true};
    let admin = db.client().database("admin");
    admin.run_command(rename).await.unwrap();
    arrived(kafka, &db.topic("ddl"), 1).await;
    let report = verify(&setup, &[], EQUAL).await;
    let unknown = json!({"renamed": 9});
    assert_eq!(of(&report, "orders")["unknown"], unknown, "{report:#}");
    let addr = tailwater.http_addr().unwrap();
    let reply = support::http::post(addr, "/api/snapshots", "", "{}").await;
    assert_eq!(reply.unwrap().status, 200);
    tailwater.wait_for_snapshot().await;
    arrived(kafka, &db.topic("changes"), 14).await;
    let report = verify(&setup, &[], EQUAL).await;
    assert_eq!(of(&report, "orders")["equal"], 9, "{report:#}");
    tailwater.stop().await;
}
