//! `tailwater run --dry-run`: beside a system that runs, and without one.

use crate::support::{self, Database, PATIENCE, Setup, Tailwater, eventually, http, unique};
use bson::doc;
use serde_json::{Value, json};

const DRY: &[&str] = &["run", "--dry-run"];

async fn insert(db: &Database, ids: std::ops::Range<i32>) {
    let documents = ids.map(|id| doc! {"_id": id});
    db.documents("c").insert_many(documents).await.unwrap();
}

async fn wait_for_events(tailwater: &Tailwater, count: u64) -> Value {
    eventually(PATIENCE, &format!("{count} events"), async || {
        let status = tailwater.get("/status").await.json();
        (status["events"] == count && status["bufferSize"] == 0).then_some(status)
    })
    .await
}

async fn checkpoint(setup: &Setup) -> Value {
    let exit = setup.clone().args(&["token", "show", "--output", "json"]);
    serde_json::from_str(&exit.run().await.output).unwrap()
}

async fn is_left_alone(setup: Setup, db: &Database, topic: &str) {
    let kafka = support::kafka().await;
    let real = setup.start().await;
    let dry = setup.clone().args(DRY).start().await;
    let before = checkpoint(&setup).await;
    insert(db, 0..5).await;
    let status = wait_for_events(&dry, 5).await;
    assert_eq!(status["dryRun"], true);
    kafka.wait_for_records(&[topic], 5).await;
    assert_eq!(wait_for_events(&real, 5).await.get("dryRun"), None);

    let page = dry.get("/metrics").await;
    assert_eq!(page.metric("tailwater_dry_run", &[]), Some(1.0));
    let detailed = dry.get("/health/detailed").await.json();
    assert_eq!(
        (&detailed["status"], &detailed["dryRun"]),
        (&json!("healthy"), &json!(true))
    );
    let store = &detailed["components"]["checkpoint"]["state"];
    assert_eq!(store, "not stored: a dry run");
    let addr = dry.http_addr().unwrap();
    let ask = setup.clone().env("HTTP_ADDR", addr).args(&["status"]);
    let said = ask.run().await.output;
    assert!(said.contains("a dry run: nothing is produced"), "{said}");

    let exit = dry.stop().await;
    assert!(
        exit.output.contains("dry run: nothing is produced"),
        "{}",
        exit.output
    );
    assert!(
        exit.output
            .contains("nothing was produced and nothing stored")
    );
    assert!(!exit.output.contains("committed"), "{}", exit.output);
    // The real one was neither fenced nor moved, and had the stream to itself.
    insert(db, 5..6).await;
    kafka.wait_for_records(&[topic], 6).await;
    real.stop().await;
    let after = checkpoint(&setup).await;
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["instance"], before["instance"]);
    assert!(after["seq"].as_u64() > before["seq"].as_u64());
    assert_eq!(kafka.records(&[topic]).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_its_checkpoints_in_kafka_is_not_disturbed_by_a_dry_run() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    is_left_alone(setup, &db, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_delivers_exactly_once_is_not_disturbed_by_a_dry_run() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("DELIVERY", "exactly_once");
    is_left_alone(setup, &db, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_its_checkpoints_in_mongodb_or_a_file_is_not_disturbed_by_a_dry_run() {
    let kafka = support::kafka().await;
    for store in ["mongodb", "file"] {
        let db = support::database().await;
        let topic = db.topic("changes");
        let setup = Tailwater::on(&db, kafka)
            .env("KAFKA_DB_CHANGES_TOPIC", &topic)
            .env("RESUME_STORE", store);
        is_left_alone(setup, &db, &topic).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_creates_nothing_and_goes_on_after_a_pause_where_it_was() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let checkpoints = unique("checkpoints");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("{collection}"))
        .env("KAFKA_DLQ_TOPIC", db.topic("dead"))
        .env("RESUME_TOPIC", &checkpoints)
        .args(DRY);
    let mut dry = setup.start().await;
    dry.wait_for_log("does not exist yet, and a dry run does not create it")
        .await;
    insert(&db, 0..3).await;
    wait_for_events(&dry, 3).await;

    let addr = dry.http_addr().unwrap();
    http::post(addr, "/admin/pause", "", "").await.unwrap();
    eventually(PATIENCE, "it is paused", async || {
        let live = dry.get("/health/live").await.json();
        (live["state"] == "paused").then_some(())
    })
    .await;
    insert(&db, 3..5).await;
    http::post(addr, "/admin/resume", "", "").await.unwrap();
    wait_for_events(&dry, 5).await;
    // Kafka's brokers are talked to, though nothing is sent.
    eventually(PATIENCE, "a broker is connected", async || {
        let page = dry.get("/metrics").await;
        (page.metric("tailwater_kafka_brokers_up", &[]) == Some(1.0)).then_some(())
    })
    .await;
    assert!(dry.is_ready().await);
    dry.stop().await;

    for topic in [db.topic("c"), db.topic("dead"), checkpoints] {
        assert_eq!(kafka.partitions(&topic).await, None, "{topic}");
    }
    assert_eq!(std::fs::read_dir(setup.folder()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_begins_at_the_checkpoint_and_leaves_it_there() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let real = setup.start().await;
    insert(&db, 0..1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    real.stop().await;

    insert(&db, 1..4).await;
    for _ in 0..2 {
        let dry = setup.clone().args(DRY).start().await;
        wait_for_events(&dry, 3).await;
        dry.stop().await;
    }
    let real = setup.start().await;
    kafka.wait_for_records(&[&topic], 4).await;
    real.stop().await;
    assert_eq!(kafka.records(&[&topic]).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_meets_what_a_real_one_would_refuse() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .args(DRY);
    let exit = setup
        .clone()
        .env("KAFKA_CREATE_TOPICS", "false")
        .run()
        .await;
    assert_eq!(exit.code, Some(4), "{}", exit.output);
    assert!(exit.output.contains(&topic), "{}", exit.output);

    // The limit that the topic would get.
    let mut dry = setup
        .env("KAFKA_TOPIC_CONFIG", "max.message.bytes=2000")
        .start()
        .await;
    let large = doc! {"_id": 1, "text": "x".repeat(5_000)};
    db.documents("c").insert_one(large).await.unwrap();
    let exit = dry.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(8), "{}", exit.output);
    assert_eq!(kafka.partitions(&topic).await, None);
}
