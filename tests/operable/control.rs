//! Calls that change something.

use crate::support::{self, PATIENCE, Setup, Tailwater, eventually, http};
use bson::doc;
use serde_json::json;

async fn post(tailwater: &Tailwater, path: &str, headers: &str, body: &str) -> http::Reply {
    let addr = tailwater.http_addr().unwrap();
    http::post(addr, path, headers, body).await.unwrap()
}

async fn wait_for_state(tailwater: &Tailwater, state: &str) {
    eventually(PATIENCE, &format!("it is {state}"), async || {
        let live = tailwater.get("/health/live").await.json();
        (live["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_paused_stream_stands_still_and_goes_on_without_losing_or_repeating() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .start()
        .await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;

    let reply = post(&tailwater, "/admin/pause", "", "").await;
    assert_eq!(
        reply.json(),
        json!({"status": "success", "data": {"paused": true}})
    );
    wait_for_state(&tailwater, "paused").await;
    let health = tailwater.get("/health").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &json!("degraded"))
    );
    assert_eq!(tailwater.get("/health/ready").await.status, 503);
    users.insert_one(doc! {"_id": 2}).await.unwrap();
    // Nothing of it can have been read: the stream is closed.
    assert_eq!(tailwater.get("/status").await.json()["events"], 1);

    let reply = post(&tailwater, "/admin/resume", "", "").await;
    assert_eq!(reply.status, 200);
    wait_for_state(&tailwater, "running").await;
    users.insert_one(doc! {"_id": 3}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 3).await;
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.value["documentKey"]["_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    tailwater.stop().await;
}

#[tokio::test]
async fn changing_calls_need_the_token_where_there_is_one() {
    let token = "0123456789abcdef";
    let mut tailwater = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .env("ADMIN_TOKEN", token)
        .spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let right = format!("authorization: Bearer {token}\r\n");
    let debug = r#"{"level":"debug"}"#;
    for headers in ["", "authorization: Bearer 0123456789abcdeX\r\n"] {
        let reply = post(&tailwater, "/admin/log-level", headers, debug).await;
        assert_eq!(reply.status, 401);
    }
    let reply = post(
        &tailwater,
        "/admin/log-level",
        &right,
        r#"{"level":"loud"}"#,
    )
    .await;
    assert_eq!(reply.status, 400);
    let reply = post(&tailwater, "/admin/log-level", &right, "{}").await;
    assert_eq!(
        (reply.status, &reply.json()["status"]),
        (400, &json!("error"))
    );
    let reply = post(&tailwater, "/admin/log-level", &right, debug).await;
    assert_eq!(
        (reply.status, &reply.json()["data"]["level"]),
        (200, &json!("debug"))
    );
    tailwater.wait_for_event("log_level_changed").await;

    let reply = post(&tailwater, "/admin/stop", &right, "").await;
    assert_eq!(reply.status, 200);
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(!exit.output.contains(token));
}

#[tokio::test]
async fn without_a_token_other_machines_may_only_look() {
    let mut tailwater = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .env("HTTP_ADDR", "0.0.0.0:0")
        .spawn();
    tailwater.wait_for_event("nothing_watched").await;
    assert_eq!(tailwater.get("/health").await.status, 200);
    for path in ["/admin/pause", "/admin/resume", "/admin/stop"] {
        assert_eq!(post(&tailwater, path, "", "").await.status, 403);
    }
    tailwater.stop().await;
}
