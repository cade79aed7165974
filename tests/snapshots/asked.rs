//! Snapshots that somebody asks for while the stream runs.

use super::{assert_equal, is_row, setup};
use crate::support::{Setup, Tailwater, database, http, kafka};
use bson::doc;

/// A command line beside the instance.
async fn command(setup: &Setup, tailwater: &Tailwater, args: &[&str]) -> (Option<i32>, String) {
    let address = tailwater.http_addr().unwrap();
    let exit = setup
        .clone()
        .env("HTTP_ADDR", address)
        .args(args)
        .run()
        .await;
    (exit.code, exit.output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_copied_again_on_request_and_its_rows_are_newer_than_what_was_seen() {
    let (db, kafka) = (database().await, kafka().await);
    let orders = db.documents("orders");
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup.start().await;
    let documents = (0..50).map(|id| doc! {"_id": id, "open": id % 5 == 0});
    orders.insert_many(documents).await.unwrap();
    let before = kafka.wait_for_records(&[&topic], 50).await;
    let last = before
        .iter()
        .map(crate::support::Record::seq)
        .max()
        .unwrap();
    let args = [
        "snapshot",
        "start",
        "--collection",
        "orders",
        "--filter",
        r#"{"open": true}"#,
        "--follow",
    ];
    let (code, output) = command(&setup, &tailwater, &args).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("finished: 10 rows"), "{output}");
    let rows = kafka.wait_for_records(&[&topic], 60).await.split_off(50);
    assert!(rows.iter().all(|row| is_row(row) && row.seq() > last));
    // All of them, by the call, and by a list of ids.
    let addr = tailwater.http_addr().unwrap();
    let ask = async |body: &str| http::post(addr, "/api/snapshots", "", body).await.unwrap();
    let reply = ask(r#"{"collection": "orders", "filter": {"_id": {"$in": [1, 2, 99]}}}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    tailwater.wait_for_snapshot().await;
    assert_eq!(kafka.wait_for_records(&[&topic], 62).await.len(), 62);
    let reply = ask("{}").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let id = reply.json()["snapshot"].clone();
    kafka.wait_for_records(&[&topic], 112).await;
    let snapshot = tailwater.wait_for_snapshot().await;
    assert_eq!(snapshot["id"], id);
    // What follows is newer than the rows.
    orders
        .update_one(doc! {"_id": 1}, doc! {"$set": {"open": true}})
        .await
        .unwrap();
    let records = kafka.wait_for_records(&[&topic], 113).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_gets_a_sentence() {
    let (db, kafka) = (database().await, kafka().await);
    db.documents("orders")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let (setup, _) = setup(&db, kafka);
    let tailwater = setup.env("EXCLUDE_COLLECTIONS", "secrets").start().await;
    let addr = tailwater.http_addr().unwrap();
    for (path, body, status, sentence) in [
        (
            "",
            r#"{"collection": "orders", "filter": {"$what": 1}}"#,
            400,
            "filter: MongoDB refuses it",
        ),
        ("", r#"{"filter": {"x": 1}}"#, 400, "is of no collection"),
        ("", r#"{"collection": "secrets"}"#, 409, "is not watched"),
        (
            "",
            r#"{"collection": "orders", "colour": 1}"#,
            400,
            "colour",
        ),
        ("", r#"{"stream": "other"}"#, 404, "no stream of that name"),
        ("/stop", "", 409, "no snapshot is running"),
        ("/pause", "{}", 409, "no snapshot is running"),
    ] {
        let path = format!("/api/snapshots{path}");
        let reply = http::post(addr, &path, "", body).await.unwrap();
        assert_eq!(reply.status, status, "{body}: {}", reply.body);
        assert!(reply.body.contains(sentence), "{body}: {}", reply.body);
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_paused_over_a_restart_resumed_and_stopped() {
    let (db, kafka) = (database().await, kafka().await);
    let orders = db.documents("orders");
    let documents = (0..3000).map(|id| doc! {"_id": id, "pad": "x".repeat(200)});
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "500docs");
    let tailwater = setup.start().await;
    let (code, output) = command(&setup, &tailwater, &["snapshot", "start"]).await;
    assert_eq!(code, Some(0), "{output}");
    kafka.wait_for_records(&[&topic], 100).await;
    let (code, output) = command(&setup, &tailwater, &["snapshot", "pause"]).await;
    assert_eq!(code, Some(0), "{output}");
    let paused = kafka.records(&[&topic]).await.len();
    tailwater.stop().await;
    let tailwater = setup.start().await;
    let (_, output) = command(&setup, &tailwater, &["snapshot", "status"]).await;
    assert!(output.contains("paused"), "{output}");
    orders
        .insert_one(doc! {"_id": "while paused"})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], paused + 1).await;
    let (code, output) = command(&setup, &tailwater, &["snapshot", "resume"]).await;
    assert_eq!(code, Some(0), "{output}");
    let records = kafka.wait_for_records(&[&topic], paused + 101).await;
    let rows = records.iter().filter(|record| is_row(record)).count();
    assert!(rows < 3000);
    let (code, output) = command(&setup, &tailwater, &["snapshot", "stop"]).await;
    assert_eq!(code, Some(0), "{output}");
    let (_, output) = command(
        &setup,
        &tailwater,
        &["snapshot", "status", "--output", "json"],
    )
    .await;
    assert!(output.contains("\"stopped\""), "{output}");
    tailwater.stop().await;
}
