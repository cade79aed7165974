//! Collections that change their names, or take those of others, while a snapshot comes to them.

use super::{Fold, contents, setup};
use crate::support::{Database, Kafka, Mongo, Record, Wire, http, kafka, mongo, wire};
use bson::{Document, doc};

async fn fill(db: &Database, collection: &str, of: &str) {
    let documents = (0..300).map(|id| doc! {"_id": id, "of": of});
    db.documents(collection)
        .insert_many(documents)
        .await
        .unwrap();
}

async fn rename(mongo: &Mongo, db: &Database, from: &str, to: &str) {
    let name = db.name();
    let command = doc! {
        "renameCollection": format!("{name}.{from}"), "to": format!("{name}.{to}"), "dropTarget": true,
    };
    let client = mongo.client().await;
    client.database("admin").run_command(command).await.unwrap();
}

fn is_of(collection: &'static str) -> impl FnMut(&Document) -> bool + Send + 'static {
    move |command| command.get("find") == Some(&collection.into()) && command.contains_key("sort")
}

/// Waits until the stream is behind all that was written.
async fn marked(db: &Database, kafka: &Kafka, topic: &str) {
    db.documents("marks")
        .insert_one(doc! {"_id": "mark"})
        .await
        .unwrap();
    let is_mark = |record: &Record| record.key["_id"] == "mark";
    kafka
        .wait_until(&[topic], "the mark", |records| records.iter().any(is_mark))
        .await;
}

/// While the first of the collections is read, others change their names.
async fn while_the_first_is_read(
    variables: &[(&str, &str)],
    filled: &[&str],
    renames: &[(&str, &str)],
    expected: &[&str],
) {
    let (mongo, kafka) = (mongo().await, kafka().await);
    let db = mongo.database().await;
    for name in filled {
        fill(&db, name, name).await;
    }
    let wire = Wire::before(mongo.addr()).await;
    let (setup, topic) = setup(&db, kafka);
    let mut setup = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .env("SNAPSHOT_PARALLELISM", 1)
        .env("SNAPSHOT", "initial");
    for (name, value) in variables {
        setup = setup.env(name, value);
    }
    let held = wire.hold(is_of("f_first"));
    // However often the walk begins again: it does not end before all names have changed.
    fill(&db, "zz_last", "zz_last").await;
    let last: Vec<_> = (0..20).map(|_| wire.hold(is_of("zz_last"))).collect();
    let tailwater = setup.start().await;
    held.reached().await;
    for (from, to) in renames {
        rename(mongo, &db, from, to).await;
    }
    marked(&db, kafka, &topic).await;
    held.release();
    last.iter().for_each(crate::support::wire::Hold::release);
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    for name in expected {
        let there = contents(&db, name).await;
        assert_eq!(there.len(), 300);
        assert_eq!(Fold::of(&records, name).contents(), there, "{name}");
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_renamed_before_the_walk_comes_to_it_is_copied_under_its_new_name() {
    for (from, to) in [("p", "q"), ("t", "a")] {
        while_the_first_is_read(&[], &["f_first", from], &[(from, to)], &["f_first", to]).await;
    }
}

/// As the results of `$out` do, and collections that are made capped.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_the_name_of_a_copied_collection_over_is_copied() {
    let unwatched = [("EXCLUDE_COLLECTIONS", "staging_*")];
    let filled = ["a", "f_first", "staging_1", "staging_2", "staging_3", "y"];
    let renames = [
        ("staging_1", "a"),
        ("staging_2", "f_first"),
        ("staging_3", "y"),
    ];
    while_the_first_is_read(&unwatched, &filled, &renames, &["a", "f_first", "y"]).await;
}

/// The walk lists names that are newer than the stream's position.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_listed_before_the_stream_comes_to_its_new_name_is_copied() {
    let (mongo, kafka) = (mongo().await, kafka().await);
    let db = mongo.database().await;
    fill(&db, "a", "a").await;
    let wire = Wire::before(mongo.addr()).await;
    let (setup, topic) = setup(&db, kafka);
    let tailwater = setup
        .env("MONGODB_URI", wire.uri_of(db.name()))
        .env("KAFKA_TOPIC_DDL", db.topic("ddl"))
        .start()
        .await;
    let stream =
        wire.hold(|command| wire::name(command) == "getMore" && command.contains_key("maxTimeMS"));
    stream.reached().await;
    rename(mongo, &db, "a", "z").await;
    let rows = wire.hold(is_of("z"));
    let addr = tailwater.http_addr().unwrap();
    let reply = http::post(addr, "/api/snapshots", "", "{}").await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    // They are read before the stream has heard of their names.
    rows.reached().await;
    rows.release();
    stream.release();
    tailwater.wait_for_snapshot().await;
    let records = kafka.records(&[&topic]).await;
    let there = contents(&db, "z").await;
    assert_eq!(Fold::of(&records, "z").contents(), there);
    tailwater.stop().await;
}
