//! What is done to a snapshot half-way: rights are taken away and given back, a database is dropped, a collection is
//! made capped, a row is refused.

use super::{Fold, assert_equal, contents, is_row, setup, wait_until_equal};
use crate::support::{
    Database, Kafka, Mongo, Operation, PATIENCE, Record, Resource, Setup, Tailwater, database,
    eventually, kafka, mongo,
};
use bson::{Document, doc};

async fn fill(db: &Database, collection: &str, count: i32) {
    let documents = (0..count).map(|id| doc! {"_id": id, "pad": "x".repeat(200)});
    db.documents(collection)
        .insert_many(documents)
        .await
        .unwrap();
}

/// Slow enough that it is under way when something happens.
fn slowly(setup: Setup) -> Setup {
    setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB")
        .env("SNAPSHOT_RATE_LIMIT", "1500docs")
        .env("RECONNECT_DELAY_MS", 50)
}

async fn has_begun(kafka: &Kafka, topic: &str) {
    let has_some =
        |records: &[Record]| records.iter().filter(|record| is_row(record)).count() > 200;
    kafka.wait_until(&[topic], "rows", has_some).await;
}

async fn problem(tailwater: &Tailwater) -> Option<String> {
    let health = tailwater.get("/health/detailed").await.json();
    let problem = health["components"]["snapshot"]["problem"]["text"].as_str();
    problem.or(health["reason"].as_str()).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_and_given_back_hold_it_up_and_lose_nothing() {
    let (mongo, kafka) = (Mongo::with_auth().await, kafka().await);
    let db = mongo.database().await;
    fill(&db, "orders", 4000).await;
    let role = bson::bson!([{"role": "read", "db": db.name()}]);
    mongo
        .add_user("reader", "reader-secret", role.clone())
        .await;
    let (setup, topic) = setup(&db, kafka);
    let uri = mongo.uri_as("reader", "reader-secret", db.name());
    let tailwater = slowly(setup).env("MONGODB_URI", uri).start().await;
    has_begun(kafka, &topic).await;
    let admin = db.client.database("admin");
    let revoke = doc! {"revokeRolesFromUser": "reader", "roles": role.clone()};
    admin.run_command(revoke).await.unwrap();
    let said = eventually(PATIENCE, "the problem is told", async || {
        problem(&tailwater).await
    })
    .await;
    println!("{said}");
    fill(&db, "users", 10).await;
    let grant = doc! {"grantRolesToUser": "reader", "roles": role};
    admin.run_command(grant).await.unwrap();
    let snapshot = tailwater.wait_for_snapshot().await;
    wait_until_equal(&db, kafka, &topic, "orders").await;
    wait_until_equal(&db, kafka, &topic, "users").await;
    assert_eq!(snapshot["skipped"], serde_json::json!([]));
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_dropped_and_made_again_leaves_no_row_behind() {
    let (db, kafka) = (database().await, kafka().await);
    for name in ["a", "b", "c"] {
        fill(&db, name, 1500).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let tailwater = slowly(setup)
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .start()
        .await;
    has_begun(kafka, &topic).await;
    (*db).drop().await.unwrap();
    for name in ["b", "d"] {
        fill(&db, name, 50).await;
    }
    let is_of_d = |record: &Record| record.value["collection"] == "d";
    kafka
        .wait_until(&[&topic], "what is new", |records| {
            records.iter().filter(|record| is_of_d(record)).count() >= 50
        })
        .await;
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    let ddl = kafka.records(&[&db.topic("ddl")]).await;
    let fold = super::judge::fold(&[ddl.as_slice(), records.as_slice()].concat());
    for name in ["a", "b", "c", "d"] {
        super::judge::assert_equal(&fold, &db, name).await;
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_made_capped_half_way_is_copied() {
    let (db, kafka) = (database().await, kafka().await);
    // The second keeps the snapshot under way: the server of the tests drops the first before it is there again.
    for name in ["orders", "users"] {
        fill(&db, name, 3000).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let tailwater = slowly(setup)
        .env("SNAPSHOT_PARALLELISM", 1)
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .start()
        .await;
    has_begun(kafka, &topic).await;
    let convert = doc! {"convertToCapped": "orders", "size": 100_000_000_i64};
    match db.run_command(convert).await {
        Ok(_) => {}
        // As a server does it.
        Err(error) => {
            println!("convertToCapped: {error}");
            let create = doc! {"create": "tmp.convert", "capped": true, "size": 100_000_000_i64};
            db.run_command(create).await.unwrap();
            let all: Vec<Document> = db.contents("orders").await;
            db.documents("tmp.convert").insert_many(all).await.unwrap();
            let [from, to] = ["tmp.convert", "orders"].map(|name| format!("{}.{name}", db.name()));
            let rename = doc! {"renameCollection": from, "to": to, "dropTarget": true};
            db.client
                .database("admin")
                .run_command(rename)
                .await
                .unwrap();
        }
    }
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

/// The default: the process ends with a sentence, and continues where it was when the topic takes the row.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_kafka_refuses_stops_it_and_what_follows_comes_when_it_is_taken() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "orders", 500).await;
    let large = doc! {"$set": {"text": "x".repeat(200_000)}};
    let at = doc! {"_id": 250};
    db.documents("orders").update_one(at, large).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "100000")])
        .await;
    let setup = setup.env("SNAPSHOT", "initial");
    for _ in 0..2 {
        let exit = setup.run().await;
        assert_eq!(exit.code, Some(8), "{}", exit.output);
        assert!(exit.output.contains("orders"), "{}", exit.output);
    }
    kafka
        .alter_topic(&topic, &[("max.message.bytes", "1000000")])
        .await;
    let tailwater = setup.start().await;
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    assert_equal(&records, &db, "orders").await;
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_for_a_while_holds_it_up() {
    let kafka = Kafka::with_acls(&["tailwater"], &[]).await;
    kafka.allow_everything("tailwater").await;
    let db = mongo().await.database().await;
    fill(&db, "orders", 3000).await;
    let (setup, topic) = setup(&db, &kafka);
    let setup = setup.logged_in_as(&kafka, "tailwater");
    let tailwater = slowly(setup).start().await;
    has_begun(&kafka, &topic).await;
    let resource = Resource::Topic(&topic);
    kafka.deny("tailwater", resource, Operation::Write).await;
    eventually(PATIENCE, "it is told", async || {
        let health = tailwater.get("/health/detailed").await.json();
        (health["status"] != "healthy").then_some(())
    })
    .await;
    let resource = Resource::Topic(&topic);
    kafka
        .end_denial("tailwater", resource, Operation::Write)
        .await;
    tailwater.wait_for_snapshot().await;
    let there = contents(&db, "orders").await;
    let records = kafka.records(&[&topic]).await;
    assert_eq!(Fold::of(&records, "orders").contents(), there);
    tailwater.stop().await;
}

/// What a person may write there: each is refused at the start, or its collection is left out with a word.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_for_filters_and_names_is_told() {
    let (db, kafka) = (database().await, kafka().await);
    fill(&db, "orders", 20).await;
    for (filter, code, said) in [
        ("[1]", 2, "SNAPSHOT_FILTER"),
        (r#"{"orders": []}"#, 2, "SNAPSHOT_FILTER"),
        (r#"{"orders": {"a": "#, 2, "SNAPSHOT_FILTER"),
        (r#"{"ord*": {}}"#, 2, "SNAPSHOT_FILTER"),
        (
            r#"{"orders": {"_id": {"$gt": {"$oid": "zz"}}}}"#,
            2,
            "SNAPSHOT_FILTER",
        ),
        (
            r#"{"orders": {"_id": {"$foo": 1}}}"#,
            3,
            "orders could not be",
        ),
        (r#"{"orders": {"$and": 5}}"#, 3, "orders could not be"),
        (r#"{"ordres": {}}"#, 0, "name=\"ordres\""),
        (r#"{"orders": {"_id": {"$in": []}}}"#, 0, "rows=0"),
    ] {
        let (setup, _) = setup(&db, kafka);
        let setup = setup.env("SNAPSHOT", "only").env("SNAPSHOT_FILTER", filter);
        let exit = setup.run().await;
        assert_eq!(exit.code, Some(code), "{filter}: {}", exit.output);
        assert!(exit.output.contains(said), "{filter}: {}", exit.output);
    }
    let (setup, topic) = setup(&db, kafka);
    let before = kafka.records(&[&topic]).await.len();
    let setup = setup
        .env("SNAPSHOT", "only")
        .env("SNAPSHOT_COLLECTIONS", "absent,nothing_*");
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    for name in ["absent", "nothing_*"] {
        let said = format!("name=\"{name}\"");
        assert!(exit.output.contains(&said), "{}", exit.output);
    }
    assert_eq!(kafka.records(&[&topic]).await.len(), before);
}
