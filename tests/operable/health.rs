//! The health endpoints of the real process, in each state.

use crate::support::{
    self, Direction, Kafka, Mongo, PATIENCE, Reply, Setup, Tailwater, eventually,
};
use bson::doc;
use rustix::process::Signal;
use serde_json::json;

/// Waits until `/health` gives this status, and returns the answer.
async fn wait_for_health(tailwater: &Tailwater, status: &str) -> Reply {
    eventually(PATIENCE, &format!("it is {status}"), async || {
        let reply = tailwater.get("/health").await;
        (reply.json()["status"] == status).then_some(reply)
    })
    .await
}

#[tokio::test]
async fn a_running_instance_is_healthy_and_says_what_it_does() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, kafka)
        .env("STREAM_ID", db.topic("stream"))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("EXCLUDE_COLLECTIONS", "sessions")
        .start()
        .await;
    db.documents("c")
        .insert_one(doc! {"_id": "secret"})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 1).await;

    let health = tailwater.get("/health").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["status"], "healthy");
    assert!(health.json()["uptime"].as_f64() > Some(0.0));

    let streams = tailwater.get("/api/health/change-streams").await;
    let wanted = r#"{"data":{"enabled":true,"isWatching":true},"message":"Change Streams status retrieved","status":"success"}"#;
    assert_eq!(
        streams.json(),
        serde_json::from_str::<serde_json::Value>(wanted).unwrap()
    );
    let api = tailwater.get("/api/health").await.json();
    assert_eq!(api["status"], "success");
    assert_eq!(api["data"]["status"], "healthy");
    assert_eq!(
        api["data"]["changeStreams"],
        json!({"enabled": true, "isWatching": true})
    );

    let detailed = eventually(PATIENCE, "the record is counted", async || {
        let detailed = tailwater.get("/health/detailed").await;
        let acknowledged = &detailed.json()["components"]["sink"]["counters"]["acknowledged"];
        (*acknowledged == json!(1)).then_some(detailed)
    })
    .await;
    let body = detailed.json();
    assert_eq!(body["components"]["source"]["state"], "connected");
    assert!(body["components"]["source"]["since"].is_string());
    assert_eq!(body["components"]["source"]["counters"]["events"], 1);
    assert_eq!(body["components"]["checkpoint"]["state"], "stored");
    assert_eq!(body["databases"][0]["state"], "running");

    let subscriptions = tailwater.get("/health/subscriptions").await.json();
    assert_eq!(subscriptions["total"], 1);
    assert_eq!(subscriptions["active"], 1);
    assert_eq!(subscriptions["failed"], 0);
    let stream = &subscriptions["subscriptions"][0];
    assert_eq!(stream["stream"], db.topic("stream"));
    assert!(stream["filter"].as_str().unwrap().contains("sessions"));
    assert!(stream["position"]["seq"].as_u64() > Some(0));
    assert!(!detailed.body.contains("secret"));

    let status = tailwater.get("/status").await.json();
    let fields: Vec<_> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for field in [
        "isRunning",
        "mongoConnected",
        "kafkaConnected",
        "bufferSize",
        "database",
    ] {
        assert!(fields.contains(&field), "{status}");
    }
    assert_eq!(status["isRunning"], true);
    tailwater.stop().await;
}

#[tokio::test]
async fn an_instance_whose_servers_are_not_up_yet_is_alive_but_unhealthy() {
    let mut tailwater = Setup::empty()
        .env(
            "MONGODB_URI",
            "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200",
        )
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .spawn();
    tailwater.wait_for_log("waiting:").await;
    let health = tailwater.get("/health").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (503, &json!("unhealthy"))
    );
    assert_eq!(tailwater.get("/health/live").await.status, 200);
    assert_eq!(tailwater.get("/health/ready").await.status, 503);
    let api = tailwater.get("/api/health").await;
    assert_eq!((api.status, &api.json()["status"]), (503, &json!("error")));
    let streams = tailwater.get("/api/health/change-streams").await.json();
    assert_eq!(
        streams["data"],
        json!({"enabled": true, "isWatching": false})
    );
    let detailed = tailwater.get("/health/detailed").await.json();
    let error = &detailed["components"]["source"]["lastError"]["message"];
    assert!(
        error.as_str().is_some_and(|error| !error.is_empty()),
        "{detailed}"
    );
    let subscriptions = tailwater.get("/health/subscriptions").await.json();
    assert_eq!(subscriptions["reconnecting"], 1);
    assert_eq!(subscriptions["failed"], 0, "it counts once");
    tailwater.stop().await;
}

#[tokio::test]
async fn an_instance_that_should_watch_nothing_is_healthy_and_says_so() {
    let mut tailwater = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .spawn();
    tailwater.wait_for_event("nothing_watched").await;
    assert_eq!(tailwater.get("/health").await.json()["status"], "healthy");
    // A container or a Deployment with it is as it should be.
    let ready = tailwater.get("/health/ready").await;
    assert_eq!(
        (ready.status, &ready.json()["state"]),
        (200, &json!("disabled"))
    );
    let streams = tailwater.get("/api/health/change-streams").await.json();
    assert_eq!(
        streams["data"],
        json!({"enabled": false, "isWatching": false})
    );
    assert_eq!(
        tailwater.get("/health/subscriptions").await.json()["total"],
        0
    );
    tailwater.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_away_makes_it_unhealthy_until_it_is_back() {
    let mongo = Mongo::dedicated(&[]).await;
    let db = mongo.database().await;
    let (kafka, to_kafka) = Kafka::behind_proxy(&[]).await;
    let to_mongo = mongo.proxy().await;
    let mut tailwater = Tailwater::on(&db, &kafka)
        .env("MONGODB_URI", mongo.uri_through(&to_mongo, db.name()))
        .env("KAFKA_BROKERS", to_kafka.addr())
        .env("RECONNECT_DELAY_MS", 50)
        .env("SHUTDOWN_TIMEOUT_MS", 20_000)
        .start()
        .await;

    for (proxy, reason, component) in [
        (&to_mongo, "mongodb cannot be reached", "source"),
        (&to_kafka, "kafka cannot be reached", "sink"),
    ] {
        wait_for_health(&tailwater, "healthy").await;
        proxy.cut();
        let reply = wait_for_health(&tailwater, "unhealthy").await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.json()["reason"], reason);
        assert_eq!(tailwater.get("/health/live").await.status, 200);
        assert_eq!(tailwater.get("/health/ready").await.status, 503);
        let detailed = tailwater.get("/health/detailed").await.json();
        assert_eq!(detailed["components"][component]["state"], "disconnected");
        let subscriptions = tailwater.get("/health/subscriptions").await.json();
        let counts = ["active", "failed", "reconnecting"].map(|count| &subscriptions[count]);
        assert_eq!(counts, [&json!(0), &json!(1), &json!(0)]);
        assert!(detailed["components"][component]["lastError"]["at"].is_string());
        proxy.heal();
    }
    wait_for_health(&tailwater, "healthy").await;

    // With records that Kafka does not acknowledge, a stop shows as draining.
    to_kafka.stall(Direction::ToServer);
    db.documents("c").insert_one(doc! {"_id": 1}).await.unwrap();
    eventually(PATIENCE, "a record is in flight", async || {
        let status = tailwater.get("/status").await.json();
        (status["bufferSize"] == 1).then_some(())
    })
    .await;
    tailwater.signal(Signal::TERM);
    eventually(PATIENCE, "it drains", async || {
        let live = tailwater.get("/health/live").await.json();
        (live["state"] == "draining").then_some(())
    })
    .await;
    let reply = tailwater.get("/health").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["status"], "degraded");
    to_kafka.heal();
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
}
