//! Snapshots and verify together: what a snapshot has copied is known, and what is wrong is sent again.

use super::plant::Plant;
use super::{DIFFERENT, EQUAL, Writer, figures, of, setup, verify};
use crate::support;
use bson::doc;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_different_is_sent_again_by_the_running_stream() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let rows = db.topic("rows");
    let setup = setup(&db, kafka)
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_TOPIC", &rows);
    let users = db.documents("users");
    let documents = (0..200).map(|id| doc! {"_id": format!("u{id:03}"), "n": id});
    users.insert_many(documents).await.unwrap();
    let tailwater = setup.start().await;
    tailwater.wait_for_snapshot().await;
    let writer = Writer::start(&db, "users");
    // All of them are older than the stream, and known by their rows.
    let clean = verify(&setup, &[], EQUAL).await;
    assert_eq!(figures(of(&clean, "users")), [0; 5], "{clean:#}");
    assert_eq!(of(&clean, "users")["unknown"], json!({}), "{clean:#}");
    assert!(
        of(&clean, "users")["equal"].as_u64().unwrap() >= 200,
        "{clean:#}"
    );

    let records = kafka.records(&[&rows]).await;
    let row = |id: &str| {
        records
            .iter()
            .find(|record| record.key["_id"] == id)
            .unwrap()
    };
    Plant::like(row("u007"))
        .seq(row("u007").seq() + 1)
        .operation("delete")
        .produce(kafka)
        .await;
    Plant::like(row("u008"))
        .seq(row("u008").seq() + 1)
        .edit("\"n\":8", "\"n\":9")
        .produce(kafka)
        .await;
    let addr = tailwater.http_addr().unwrap();
    let beside = setup.clone().env("HTTP_ADDR", addr);
    let damaged = verify(&beside, &["--repair"], DIFFERENT).await;
    assert_eq!(
        figures(of(&damaged, "users"))[..3],
        [1, 0, 1],
        "{damaged:#}"
    );
    tailwater.wait_for_snapshot().await;
    let repaired = verify(&setup, &[], EQUAL).await;
    assert_eq!(figures(of(&repaired, "users"))[..3], [0; 3], "{repaired:#}");
    writer.stop().await;
    tailwater.stop().await;
}

/// Some rows of a collection say nothing of its other documents.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_few_documents_does_not_make_the_others_missing() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka);
    let users = db.documents("users");
    let documents = (0..20).map(|id| doc! {"_id": id, "open": id < 5});
    users.insert_many(documents).await.unwrap();
    let tailwater = setup.start().await;
    let addr = tailwater.http_addr().unwrap();
    let body = r#"{"collection": "users", "filter": {"open": true}}"#;
    let reply = support::http::post(addr, "/api/snapshots", "", body)
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    tailwater.wait_for_snapshot().await;
    let report = verify(&setup, &[], EQUAL).await;
    assert_eq!(figures(of(&report, "users")), [0; 5], "{report:#}");
    assert_eq!(
        of(&report, "users")["unknown"]["never_seen"],
        15,
        "{report:#}"
    );
    tailwater.stop().await;
}
