//! A resume token that the server does not find: the stages of now hide its event, or the oplog no longer
//! holds it. Only the second is lost history.

use crate::support::wire;
use crate::support::{
    self, Database, Mongo, PATIENCE, Record, Setup, Tailwater, mongo, with_real_tokens,
};
use bson::doc;

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}

async fn insert(db: &Database, collection: &str, id: i32) {
    let documents = db.documents(collection);
    documents.insert_one(doc! {"_id": id}).await.unwrap();
}

/// A stream into one partition.
async fn setup(db: &Database, uri: &str, delivery: &str) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, support::kafka().await)
        .env("MONGODB_URI", uri)
        .env("DELIVERY", delivery)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("RECONNECT_DELAY_MS", 10)
        .env("COMMIT_INTERVAL_MS", 100);
    (setup, topic)
}

/// A collection that is watched no longer is where the checkpoint is.
async fn a_narrowed_filter_goes_on(delivery: &str, uri: &str, db: &Database) {
    let kafka = support::kafka().await;
    let (setup, topic) = setup(db, uri, delivery).await;
    let wide = setup.clone().env("WATCH_COLLECTIONS", "orders,carts");
    let tailwater = wide.start().await;
    insert(db, "orders", 1).await;
    insert(db, "carts", 2).await;
    kafka.wait_for_records(&[&topic], 2).await;
    tailwater.stop().await;

    let narrow = setup.env("WATCH_COLLECTIONS", "orders");
    insert(db, "orders", 3).await;
    insert(db, "carts", 4).await;
    insert(db, "orders", 5).await;
    let mut tailwater = narrow.start().await;
    tailwater.wait_for_log("no longer watched: carts").await;
    insert(db, "orders", 6).await;
    let records = kafka.wait_for_records(&[&topic], 5).await;
    assert_eq!(ids(&records), [1, 2, 3, 5, 6], "{delivery}");
    assert!(records.is_sorted_by_key(Record::seq));
    let exit = tailwater.stop().await;
    assert!(!exit.output.contains("history lost"), "{}", exit.output);

    // From there on it is a checkpoint like any other.
    insert(db, "orders", 7).await;
    let tailwater = narrow.start().await;
    kafka.wait_for_records(&[&topic], 6).await;
    let exit = tailwater.stop().await;
    assert!(!exit.output.contains("is opened at"), "{}", exit.output);
    assert_eq!(ids(&kafka.records(&[&topic]).await), [1, 2, 3, 5, 6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_was_narrowed_loses_and_repeats_nothing() {
    let wire = with_real_tokens(mongo().await).await;
    for delivery in ["at_least_once", "exactly_once"] {
        // Tokens that cannot be sorted, then such as can.
        let db = support::database().await;
        a_narrowed_filter_goes_on(delivery, db.uri(), &db).await;
        let db = support::database().await;
        a_narrowed_filter_goes_on(delivery, &wire.uri_of(db.name()), &db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_and_a_stage_of_the_users_narrow_it_as_well() {
    for (name, value) in [
        ("WATCH_OPERATIONS", "insert"),
        (
            "CHANGE_STREAM_PIPELINE",
            r#"[{"$match":{"operationType":"insert"}}]"#,
        ),
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (setup, topic) = setup(&db, db.uri(), "at_least_once").await;
        let tailwater = setup.start().await;
        insert(&db, "orders", 1).await;
        let orders = db.documents("orders");
        orders.delete_one(doc! {"_id": 1}).await.unwrap();
        kafka.wait_for_records(&[&topic], 2).await;
        tailwater.stop().await;
        insert(&db, "orders", 2).await;
        let tailwater = setup.env(name, value).start().await;
        insert(&db, "orders", 3).await;
        let records = kafka.wait_for_records(&[&topic], 4).await;
        assert_eq!(ids(&records), [1, 1, 2, 3], "{name}");
        tailwater.stop().await;
    }
}

/// The server finds the token no more while the stream runs, or at the first `getMore` after a start, as
/// real ones do that look for it only then.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_found_under_way_loses_and_repeats_nothing() {
    const CURSOR_NOT_FOUND: i32 = 43;
    const NOT_FOUND: i32 = 280;
    const UNAUTHORIZED: i32 = 13;
    for command in ["aggregate", "getMore"] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let wire = with_real_tokens(mongo().await).await;
        let (setup, topic) = setup(&db, &wire.uri_of(db.name()), "at_least_once").await;
        let mut tailwater = setup.start().await;
        for id in 0..5 {
            insert(&db, "orders", id).await;
        }
        kafka.wait_for_records(&[&topic], 5).await;
        // That of a cursor that is killed, and then that of the one opened after the token.
        let not_found = wire::error(NOT_FOUND, &["NonResumableChangeStreamError"]);
        wire.refuse_next("getMore", 1, wire::error(CURSOR_NOT_FOUND, &[]));
        match command {
            "getMore" => {
                wire.refuse_next("getMore", 1, not_found);
                // Of a user who may not read the oplog: opening the stream will tell.
                wire.refuse_if(|command| {
                    let reads_it = command.get_str("find").is_ok_and(|name| name == "oplog.rs");
                    reads_it.then(|| wire::error(UNAUTHORIZED, &[]))
                });
            }
            _ => wire.refuse_if(move |command| {
                let resumes = wire::change_stream(command)?.contains_key("startAfter");
                resumes.then(|| not_found.clone())
            }),
        }
        tailwater.wait_for_event("token_not_found").await;
        for id in 5..10 {
            insert(&db, "orders", id).await;
        }
        let records = kafka.wait_for_records(&[&topic], 10).await;
        assert_eq!(ids(&records), (0..10).collect::<Vec<_>>(), "{command}");
        tailwater.stop().await;
        assert_eq!(kafka.records(&[&topic]).await.len(), 10, "{command}");
    }
}

/// What is not in the oplog any more is lost, and not looked for for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_time_the_oplog_no_longer_holds_is_lost_history() {
    let server = Mongo::dedicated(&["--oplog-max-entries", "100"]).await;
    let wire = with_real_tokens(&server).await;
    let db = server.database_named(&support::unique("db")).await;
    let kafka = support::kafka().await;
    let (setup, topic) = setup(&db, &wire.uri_of(db.name()), "at_least_once").await;
    let tailwater = setup.start().await;
    insert(&db, "orders", 1).await;
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
    for batch in 0..20 {
        let documents = (batch * 50..batch * 50 + 50).map(|id| doc! {"_id": id + 10});
        db.documents("orders").insert_many(documents).await.unwrap();
    }
    wire.refuse_if(|command| {
        let resumes = wire::change_stream(command)?.contains_key("startAfter");
        resumes.then(|| wire::error(280, &[]))
    });
    let exit = setup.spawn().wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(6), "{}", exit.output);
    assert!(
        exit.output.contains("oplog no longer holds"),
        "{}",
        exit.output
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_filter_hides_can_be_started_from_and_set() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = with_real_tokens(mongo().await).await;
    let (setup, topic) = setup(&db, &wire.uri_of(db.name()), "at_least_once").await;
    let tailwater = setup.start().await;
    insert(&db, "orders", 1).await;
    insert(&db, "carts", 2).await;
    insert(&db, "orders", 3).await;
    let records = kafka.wait_for_records(&[&topic], 3).await;
    tailwater.stop().await;
    let token = records[1].header("tw-id");

    let narrow = setup.env("WATCH_COLLECTIONS", "orders");
    let again = db.topic("again");
    let tailwater = narrow
        .clone()
        .env("STREAM_ID", support::unique("again"))
        .env("START_AT", format!("token:{token}"))
        .env("KAFKA_DB_CHANGES_TOPIC", &again)
        .start()
        .await;
    insert(&db, "orders", 4).await;
    let records = kafka.wait_for_records(&[&again], 2).await;
    assert_eq!(ids(&records), [3, 4]);
    tailwater.stop().await;

    let set = narrow
        .clone()
        .args(&["token", "set", token, "--yes", "--force"]);
    let exit = set.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let tailwater = narrow.start().await;
    let records = kafka.wait_for_records(&[&topic], 5).await;
    assert_eq!(ids(&records), [1, 2, 3, 3, 4]);
    tailwater.stop().await;
}
