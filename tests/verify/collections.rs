//! Drops and renames: what was there before is gone, or has moved.

use super::{DIFFERENT, EQUAL, arrived, figures, listed, of, setup, verify};
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

    // What a configuration without that topic would see.
    let blind = setup.clone().without("KAFKA_TOPIC_DDL");
    let report = verify(&blind, &[], DIFFERENT).await;
    let unknown = |name: &str| of(&report, name)["unknown"].clone();
    assert_eq!(unknown("dropped"), json!({"dropped": 5}), "{report:#}");
    assert_eq!(unknown("old"), json!({"dropped": 5}), "{report:#}");
    assert_eq!(listed(of(&report, "again"), "extra").len(), 4, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("KAFKA_TOPIC_DDL"), "{notes}");
    tailwater.stop().await;
}
