//! Collections that servers make for themselves, and what stages and strings of users leave of a record.

use crate::support::{self, Record, Tailwater, Wire, mongo, with_real_tokens};
use bson::doc;

/// What `$out` does: it writes beside its target, and then takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_out_writes_beside_its_target_is_left_out_and_its_rename_counts_for_the_target() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", "{database}.{collection}")
        .env("KAFKA_TOPIC_DDL", "{database}.ddl.{collection}");
    let tailwater = setup.start().await;
    let temporary = "tmp.agg_out.2f0b1c5e-58a0-4b1e-9e0a-1f2d3c4b5a69";
    db.documents("before").insert_one(doc! {}).await.unwrap();
    let before = kafka.wait_for_records(&[&db.topic("before")], 1).await;
    let seq_before = before[0].seq();
    let many = (0..20_i32).map(|id| doc! {"_id": id});
    db.documents(temporary).insert_many(many).await.unwrap();
    let rename = doc! {
        "renameCollection": format!("{}.{temporary}", db.name()),
        "to": format!("{}.report", db.name()),
    };
    db.client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    db.documents("report")
        .insert_one(doc! {"_id": "after"})
        .await
        .unwrap();

    let (report, ddl) = (db.topic("report"), db.topic("ddl.report"));
    let records = kafka.wait_for_records(&[&report, &ddl], 2).await;
    let operations: Vec<_> = records.iter().map(|r| r.header("tw-op")).collect();
    assert!(operations.contains(&"rename") && operations.contains(&"insert"));
    // What is left out has no numbers, however much of it the server sends.
    let first = seq_before + 1;
    let mut numbers: Vec<_> = records.iter().map(Record::seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [first, first + 1]);
    for topic in [
        format!("{}.{temporary}", db.name()),
        db.topic(&format!("ddl.{temporary}")),
    ] {
        assert_eq!(kafka.partitions(&topic).await, None, "{topic}");
    }
    let page = tailwater.get("/metrics").await;
    assert!(!page.body.contains("tmp.agg_out"), "{}", page.body);
    let without = page.metric("tailwater_events_without_record_total", &[]);
    assert_eq!(without, Some(20.0));
    tailwater.stop().await;

    // Asked for by name, they come, from the same checkpoint.
    let mut named = setup
        .env("WATCH_COLLECTIONS", "*,tmp.agg_out.*")
        .start()
        .await;
    assert!(
        named.log().contains("now also watched: tmp.agg_out.*"),
        "{}",
        named.log()
    );
    db.documents(temporary)
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    kafka.wait_for_records(&[&db.topic(temporary)], 1).await;
    named.wait_for_event("topic_created").await;
    named.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_that_are_not_utf8_are_counted() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    // MongoDB can hold such strings; the server here takes none.
    let wire = Wire::before(mongo().await.addr()).await;
    wire.alter_bytes(|_, reply| {
        for at in 0..reply.len().saturating_sub(6) {
            if &reply[at..at + 6] == b"a??b?c" {
                reply[at..at + 6].copy_from_slice(b"a\xff\xffb\xffc");
            }
        }
    });
    let tailwater = Tailwater::on(&db, kafka)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .start()
        .await;
    let replaced = "tailwater_invalid_utf8_replaced_total";
    let page = tailwater.get("/metrics").await;
    assert_eq!(page.metric(replaced, &[]), Some(0.0));
    let document = doc! {"_id": 1, "text": "a??b?c"};
    db.documents("users").insert_one(document).await.unwrap();
    let record = kafka.wait_for_records(&[&topic], 1).await.remove(0);
    assert_eq!(
        record.value["fullDocument"]["text"],
        "a\u{fffd}\u{fffd}b\u{fffd}c"
    );
    let page = tailwater.get("/metrics").await;
    assert_eq!(page.metric(replaced, &[]), Some(3.0));
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_that_a_refused_projection_proposes_gives_records_their_time() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic);
    let exit = setup
        .clone()
        .env("CHANGE_STREAM_PIPELINE", r#"[{"$project":{"ns":1}}]"#)
        .args(&["config"])
        .run()
        .await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    // The list as the message has it: `add operationType: 1, …`.
    let (_, list) = exit.output.split_once("; add ").unwrap();
    let fields = list
        .split([',', ' ', '\n'])
        .filter_map(|word| word.strip_suffix(':'));
    let fields: Vec<_> = fields.map(|field| format!(r#""{field}":1"#)).collect();
    assert!(fields.len() >= 3, "{fields:?}");
    let stage = format!(r#"[{{"$project":{{{}}}}}]"#, fields[..3].join(","));
    let tailwater = setup.env("CHANGE_STREAM_PIPELINE", stage).start().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let record = kafka.wait_for_records(&[&topic], 1).await.remove(0);
    tailwater.stop().await;
    assert!(record.value["timestamp"].is_string(), "{}", record.text());
    assert!(record.header("tw-ts").parse::<i64>().unwrap() > 0);
}

/// Tokens are as those of a real server.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_the_times_of_its_event_has_that_of_its_token() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let wire = with_real_tokens(mongo().await).await;
    let stage = r#"[{"$unset":["wallTime","clusterTime"]}]"#;
    let tailwater = Tailwater::on(&db, kafka)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("CHANGE_STREAM_PIPELINE", stage)
        .start()
        .await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let record = kafka.wait_for_records(&[&topic], 1).await.remove(0);
    tailwater.stop().await;
    let seconds = i64::from_str_radix(&record.header("tw-id")[2..10], 16).unwrap();
    assert_eq!(record.header("tw-ts"), (seconds * 1000).to_string());
    assert!(record.value["timestamp"].is_string(), "{}", record.text());
    assert_eq!(record.timestamp, Some(seconds * 1000));
}
