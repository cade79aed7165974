//! Who reads topics in the default format, and what becomes of that with another one.

use crate::support::{self, Tailwater};
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn records_for_listeners_keep_their_format_beside_another() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let jobs = format!("jobs.{}.mail", db.name());
    let listener = doc! {
        "_id": "mail", "collection": "orders", "jobName": "mail", "topic": &jobs,
        "filter": {}, "operationType": ["insert", "delete"], "isActive": true,
    };
    db.documents("listeners")
        .insert_one(listener)
        .await
        .unwrap();
    let tailwater = Tailwater::on(&db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("FORMAT", "debezium")
        .env("KAFKA_TOPIC_PREFIX", db.name())
        .start()
        .await;
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 7}).await.unwrap();
    orders.delete_one(doc! {"_id": 7}).await.unwrap();
    let topic = format!("{0}.{0}.orders", db.name());
    let records = kafka.wait_for_records(&[&topic], 3).await;
    assert_eq!(records[0].value["op"], "c");
    assert_eq!(records[1].value["op"], "d");
    assert_eq!(records[2].bytes, None);
    assert!(!records[0].headers.contains_key("tw-id"));
    let told = kafka.wait_for_records(&[&jobs], 2).await;
    assert_eq!(told[0].value["operationType"], "insert");
    assert_eq!(told[0].value["fullDocument"]["_id"], 7);
    assert_eq!(told[0].header("tw-job"), "mail");
    assert_eq!(told[1].header("tw-op"), "delete");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_alone_arrive_and_are_deleted_by_tombstones() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("documents");
    let tailwater = Tailwater::on(&db, kafka)
        .env("FORMAT", "document")
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .start()
        .await;
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 7, "n": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    let more = doc! {"$set": {"n": 2}};
    orders.update_one(doc! {"_id": 7}, more).await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    orders.delete_one(doc! {"_id": 7}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 3).await;
    let texts: Vec<_> = records.iter().map(|record| record.text()).collect();
    assert_eq!(texts, [r#"{"_id":7,"n":1}"#, r#"{"_id":7,"n":2}"#, ""]);
    assert_eq!(records[2].bytes, None);
    assert_eq!(records[2].header("tw-op"), "delete");
    assert!(
        records
            .iter()
            .all(|it| it.key_bytes == records[0].key_bytes)
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_the_default_format_alone_says_so_at_the_start() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = Tailwater::on(&db, kafka)
        .env("FORMAT", "cloudevents")
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"));
    let live = setup.clone().env("LIVE_ADDR", "127.0.0.1:0");
    let renamed = setup
        .clone()
        .without("FORMAT")
        .env("ENVELOPE_RENAME", "fullDocument=doc");
    for (setup, args, told) in [
        (
            &live,
            &["run"][..],
            "set FORMAT=tailwater, or LIVE_ADDR=off",
        ),
        (&setup, &["live"], "set FORMAT=tailwater, or LIVE_ADDR=off"),
        (&setup, &["verify"], "this stream writes FORMAT=cloudevents"),
        (&renamed, &["live"], "ENVELOPE_RENAME"),
        (&renamed, &["verify"], "by ENVELOPE_RENAME"),
    ] {
        let exit = setup.clone().args(args).run().await;
        assert_eq!(exit.code, Some(2), "{}", exit.output);
        assert!(exit.output.contains(told), "{args:?}: {}", exit.output);
    }
    let tailwater = setup.start().await;
    let refused = tailwater.get("/api/tail").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body.contains("FORMAT=cloudevents"),
        "{}",
        refused.body
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_envelope_has_the_names_fields_and_headers_that_are_wanted_but_for_listeners() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (topic, dead) = (db.topic("changes"), db.topic("dead"));
    let jobs = format!("jobs.{}.mail", db.name());
    let listener = doc! {
        "_id": "mail", "collection": "orders", "jobName": "mail", "topic": &jobs,
        "filter": {}, "operationType": ["insert"], "isActive": true,
    };
    db.documents("listeners")
        .insert_one(listener)
        .await
        .unwrap();
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "20000")])
        .await;
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_DLQ_TOPIC", &dead)
        .env("ON_RECORD_ERROR", "dlq")
        .env("TOMBSTONES", "true")
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("ENVELOPE_RENAME", "operationType=op,fullDocument=the doc")
        .env("ENVELOPE_FIELDS", r#"{"source":"shop","n":[1,"x"]}"#)
        .env("EXTRA_HEADERS", r"origin=a\,b\=c,empty=");
    let mut tailwater = setup.start().await;
    let orders = db.documents("orders");
    orders.insert_one(doc! {"_id": 7}).await.unwrap();
    orders.delete_one(doc! {"_id": 7}).await.unwrap();
    let long = doc! {"_id": 8, "text": "x".repeat(30_000)};
    orders.insert_one(long).await.unwrap();
    tailwater.wait_for_event("record_dead_lettered").await;
    let records = kafka.wait_for_records(&[&topic], 3).await;
    let start = format!(
        r#"{{"op":"insert","database":"{}","collection":"orders","documentKey":{{"_id":7}},"timestamp":""#,
        db.name()
    );
    let end = r#","the doc":{"_id":7},"source":"shop","n":[1,"x"]}"#;
    let text = records[0].text();
    assert!(text.starts_with(&start) && text.ends_with(end), "{text}");
    assert!(
        records[1]
            .text()
            .ends_with(r#","source":"shop","n":[1,"x"]}"#)
    );
    assert_eq!(records[2].bytes, None);
    for record in &records {
        assert_eq!(
            (record.header("origin"), record.header("empty")),
            ("a,b=c", "")
        );
        assert!(record.headers.contains_key("tw-seq"));
    }
    let told = kafka.wait_for_records(&[&jobs], 1).await;
    assert_eq!(told[0].value["operationType"], "insert");
    assert_eq!(told[0].value["fullDocument"]["_id"], 7);
    assert!(told[0].value.get("source").is_none() && !told[0].headers.contains_key("origin"));
    let refused = tailwater.get("/api/tail?where=%7B%7D").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    tailwater.stop().await;
    // A replay is as the record would have been.
    kafka
        .alter_topic(&topic, &[("max.message.bytes", "200000")])
        .await;
    let replayed = setup.args(&["dlq", "replay"]).run().await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.output);
    let records = kafka.wait_for_records(&[&topic], 4).await;
    assert_eq!(records[3].value["the doc"]["_id"], 8);
    assert_eq!(records[3].header("origin"), "a,b=c");
}
