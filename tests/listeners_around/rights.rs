//! Rights on the listeners' collection that are not there, are taken away, and come back.

use super::{file, listener, listening, topic};
use crate::support::{
    self, Kafka, Mongo, PATIENCE, Setup, Tailwater, Wire, eventually, unique, wire,
};
use bson::{Document, doc};

const UNAUTHORIZED: i32 = 13;

/// Refuses commands of these names on the collection of the listeners.
fn refuse(wire: &Wire, commands: &'static [&'static str]) {
    wire.refuse_if(move |command| {
        let (name, on) = command.iter().next()?;
        let is_it = commands.contains(&name.as_str()) && on.as_str() == Some("listeners");
        is_it.then(|| wire::error(UNAUTHORIZED, &[]))
    });
}

async fn until_record(kafka: &Kafka, topic: &str, count: usize) {
    kafka.wait_for_records(&[topic], count).await;
}

/// With a server that asks who one is: a user who may only read.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_the_stream_goes_on_and_what_is_missing_is_made_once_it_may() {
    let mut mongo = Mongo::with_auth().await;
    let kafka = support::kafka().await;
    let db = mongo.database().await;
    let role = doc! {"role": "read", "db": db.name()};
    mongo
        .add_user("reader", "reader-secret", bson::bson!([&role]))
        .await;
    let listeners = db.documents("listeners");
    listeners
        .insert_one(listener(&db, "l", "data"))
        .await
        .unwrap();
    let setup = listening(&db, kafka).env(
        "MONGODB_URI",
        mongo.uri_as("reader", "reader-secret", db.name()),
    );
    let made = format!(
        r#"[{{"_id": "made", "collection": "data", "jobName": "made", "topic": "{}"}}]"#,
        topic(&db, "made")
    );
    let path = file(&setup, "bootstrap.json", &made);
    let mut process = setup.env("LISTENERS_BOOTSTRAP", path).start().await;
    for (event, right) in [
        ("listeners_index", "createIndex"),
        ("listeners_not_bootstrapped", "insert"),
        ("listeners_status", "update"),
    ] {
        let line = process.wait_for_event(event).await;
        for part in ["grant the user", right, "readWrite", db.name()] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let data = db.documents("data");
    data.insert_one(doc! {"_id": 1}).await.unwrap();
    until_record(kafka, &topic(&db, "l"), 1).await;

    let grant =
        doc! {"grantRolesToUser": "reader", "roles": [{"role": "readWrite", "db": db.name()}]};
    let admin = mongo.client().await.database("admin");
    admin.run_command(grant).await.unwrap();
    // The server here asks for rights at the log-in only.
    mongo.restart().await;
    process.wait_for_event("listeners_bootstrapped").await;
    data.insert_one(doc! {"_id": 2}).await.unwrap();
    until_record(kafka, &topic(&db, "made"), 1).await;
    until_record(kafka, &topic(&db, "l"), 2).await;
    eventually(PATIENCE, "status and index", async || {
        let found = listeners.find_one(doc! {"_id": "l"}).await.unwrap()?;
        let indexes = db.indexes("listeners").await;
        (found.contains_key("status") && indexes.len() > 1).then_some(())
    })
    .await;
    process.stop().await;
}

async fn status(db: &support::Database, is_so: impl Fn(&Document) -> bool) {
    let listeners = db.documents("listeners");
    eventually(PATIENCE, "the status", async || {
        let found = listeners.find_one(doc! {"_id": "l"}).await.unwrap()?;
        let streams = found
            .get_document("status")
            .ok()?
            .get_document("streams")
            .ok()?;
        let (_, status) = streams.iter().next()?;
        is_so(status.as_document()?).then_some(())
    })
    .await;
}

/// A status that cannot be written is in nobody's way, and is written once it can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_cannot_be_written_for_a_while_is_told_and_written_later() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(support::mongo().await.addr()).await;
    db.documents("listeners")
        .insert_one(listener(&db, "l", "data"))
        .await
        .unwrap();
    let setup = listening(&db, kafka).env("MONGODB_URI", wire.uri_of(db.name()));
    let mut process = setup.start().await;
    status(&db, |status| status.get_str("state").ok() == Some("active")).await;
    refuse(&wire, &["update"]);
    let data = db.documents("data");
    data.insert_one(doc! {"_id": 1}).await.unwrap();
    let line = process.wait_for_event("listeners_status").await;
    assert!(
        line.contains("grant the user") && line.contains("update"),
        "{line}"
    );
    data.insert_one(doc! {"_id": 2}).await.unwrap();
    until_record(kafka, &topic(&db, "l"), 2).await;
    let health = process.get("/health").await;
    assert_eq!(health.status, 200, "{}", health.json());
    wire.heal();
    status(&db, |status| status.get_i64("produced").ok() == Some(2)).await;
    process.wait_for_log("is written again").await;
    process.stop().await;
}

fn before(wire: &Wire, db: &support::Database, kafka: &Kafka) -> Setup {
    let setup = Tailwater::on(db, kafka)
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("RESUME_TOPIC", unique("checkpoints"));
    setup.env("COMMIT_INTERVAL_MS", "50")
}

/// Listeners are read where nothing is known of them, and nowhere else. A first start without that right says what
/// to grant; a stream that has run waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn listeners_that_may_not_be_read_end_a_first_start_and_are_waited_for_later() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(support::mongo().await.addr()).await;
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    listeners
        .insert_one(listener(&db, "l", "data"))
        .await
        .unwrap();
    let setup = before(&wire, &db, kafka);
    refuse(&wire, &["find"]);
    let exit = setup.run().await;
    assert_eq!(exit.code, Some(3), "{}", exit.output);
    for part in [
        "reading the listeners",
        "grant the user",
        "find",
        "role read",
    ] {
        assert!(exit.output.contains(part), "{part}: {}", exit.output);
    }
    wire.heal();
    setup.start().await.stop().await;

    // The checkpoint knows them.
    refuse(&wire, &["find"]);
    let process = setup.start().await;
    data.insert_one(doc! {"_id": 1}).await.unwrap();
    until_record(kafka, &topic(&db, "l"), 1).await;
    // Now they must be read: another collection takes the place of theirs.
    let restored = db.documents("restored");
    restored
        .insert_one(listener(&db, "new", "data"))
        .await
        .unwrap();
    let rename = doc! {
        "renameCollection": format!("{}.restored", db.name()),
        "to": format!("{}.listeners", db.name()), "dropTarget": true,
    };
    db.client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    data.insert_one(doc! {"_id": 2}).await.unwrap();
    eventually(PATIENCE, "health says why", async || {
        let health = process.get("/health/detailed").await.json();
        let error = &health["components"]["source"]["lastError"]["message"];
        error.as_str()?.contains("grant the user").then_some(())
    })
    .await;
    wire.heal();
    until_record(kafka, &topic(&db, "new"), 1).await;
    assert_eq!(kafka.records(&[&topic(&db, "l")]).await.len(), 1);
    process.stop().await;
}

/// Whoever changes a listener between reading and writing is not overwritten; the others are applied, and the
/// next time all is.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_somebody_changes_meanwhile_is_left_and_applied_the_next_time() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(support::mongo().await.addr()).await;
    let setup = before(&wire, &db, kafka);
    let apply = async |text: &str| {
        let path = file(&setup, "listeners.json", text);
        super::command(&setup, &["apply", "--prune", "-f", &path]).await
    };
    let all = r#"[{"_id": "a", "collection": "c", "jobName": "a"}, {"_id": "b", "collection": "c", "jobName": "b"},
        {"_id": "gone", "collection": "c", "jobName": "gone"}]"#;
    assert_eq!(apply(all).await.code, Some(0));
    // What is read is not what is there by the time of the write.
    wire.alter(|command, reply| {
        let batch = reply.get_document_mut("cursor");
        let batch = batch.and_then(|cursor| cursor.get_array_mut("firstBatch"));
        for document in batch.into_iter().flatten() {
            let document = document.as_document_mut().unwrap();
            if command.get_str("find").ok() == Some("listeners")
                && document.get_str("_id").ok() != Some("b")
            {
                document.insert("priority", "of before");
            }
        }
    });
    let other = r#"[{"_id": "a", "collection": "c", "jobName": "a", "isActive": false},
        {"_id": "b", "collection": "c", "jobName": "b", "isActive": false}]"#;
    let exit = apply(other).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    for part in [
        "left       c -> a",
        "left       c -> gone",
        "0 created, 1 changed, 0 deleted, 0 unchanged",
    ] {
        assert!(exit.output.contains(part), "{part}: {}", exit.output);
    }
    wire.heal();
    let exit = apply(other).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output
            .contains("0 created, 1 changed, 1 deleted, 1 unchanged"),
        "{}",
        exit.output
    );
}
