//! Each change takes effect at its own place in the stream.

use super::{ids, listener, listening, records, topic};
use crate::support::{self, PATIENCE, eventually, mongo};
use bson::doc;

#[tokio::test]
async fn a_change_takes_effect_at_its_own_place() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("batches"), db.documents("listeners"));
    let mut process = listening(&db, kafka).start().await;
    let put = async |from: i64, to: i64| {
        for id in from..to {
            let status = if id % 2 == 0 { "received" } else { "done" };
            data.insert_one(doc! {"_id": id, "status": status})
                .await
                .unwrap();
        }
    };
    put(0, 10).await;
    listeners
        .insert_one(listener(
            &db,
            "even",
            "batches",
            doc! {"status": "received"},
        ))
        .await
        .unwrap();
    put(10, 20).await;
    let widen = doc! {"$set": {"filter": {}}};
    listeners
        .update_one(doc! {"_id": "even"}, widen)
        .await
        .unwrap();
    put(20, 25).await;
    let disable = doc! {"$set": {"isActive": false}};
    listeners
        .update_one(doc! {"_id": "even"}, disable)
        .await
        .unwrap();
    put(25, 30).await;
    let enable = doc! {"$set": {"isActive": true, "filter.status": "done"}};
    listeners
        .update_one(doc! {"_id": "even"}, enable)
        .await
        .unwrap();
    put(30, 35).await;
    listeners.delete_one(doc! {"_id": "even"}).await.unwrap();
    put(35, 40).await;
    listeners
        .insert_one(listener(&db, "last", "batches", doc! {}))
        .await
        .unwrap();
    put(40, 41).await;

    records(&db, kafka, "last", 1).await;
    let of = records(&db, kafka, "even", 1).await;
    assert_eq!(ids(&of), [10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 31, 33]);
    assert_eq!(of[0].header("tw-listener"), "even");
    assert_eq!(of[0].header("tw-job"), "even");
    assert!(of[0].header("tw-id").ends_with("-even"));
    // Nobody else gets anything: the configuration's own topics are not even made.
    assert_eq!(kafka.partitions(&topic(&db, "other")).await, None);
    process.wait_for_event("listeners_read").await;
    process.stop().await;
}

/// What was in force at the checkpoint is in force again after a kill, whatever the collection holds by then.
#[tokio::test]
async fn after_a_kill_each_event_meets_the_listeners_of_its_place() {
    for store in ["kafka", "mongodb", "file"] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (data, listeners) = (db.documents("batches"), db.documents("listeners"));
        let setup = listening(&db, kafka).env("RESUME_STORE", store);
        let mut process = setup.start().await;
        for id in ["gone", "kept"] {
            let document = listener(&db, id, "batches", doc! {});
            listeners.insert_one(document).await.unwrap();
        }
        data.insert_one(doc! {"_id": 1}).await.unwrap();
        records(&db, kafka, "gone", 1).await;
        records(&db, kafka, "kept", 1).await;
        process.kill9();
        // All that happens now is of a time when nobody looks.
        data.insert_one(doc! {"_id": 2}).await.unwrap();
        listeners.delete_one(doc! {"_id": "gone"}).await.unwrap();
        data.insert_one(doc! {"_id": 3}).await.unwrap();
        let document = listener(&db, "new", "batches", doc! {});
        listeners.insert_one(document).await.unwrap();
        data.insert_one(doc! {"_id": 4}).await.unwrap();

        let process = setup.start().await;
        records(&db, kafka, "new", 1).await;
        let what = format!("all records of the others ({store})");
        eventually(PATIENCE, &what, async || {
            let gone = ids(&records(&db, kafka, "gone", 1).await);
            let kept = ids(&records(&db, kafka, "kept", 1).await);
            (gone == [1, 2] && kept == [1, 2, 3, 4]).then_some(())
        })
        .await;
        assert_eq!(ids(&records(&db, kafka, "new", 1).await), [4]);
        process.stop().await;
    }
}

/// Between two changes of listeners in one reply may be events that the server was not asked for.
#[tokio::test]
async fn listeners_of_other_collections_made_while_nobody_looks_miss_nothing() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    setup.start().await.stop().await;
    // Each listener is followed by a document in every collection.
    for number in 0..6_i64 {
        let name = format!("c{number}");
        let document = listener(&db, &name, &name, doc! {});
        db.documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
        for other in 0..6 {
            let documents = db.documents(&format!("c{other}"));
            documents.insert_one(doc! {"_id": number}).await.unwrap();
        }
    }
    let process = setup.start().await;
    for number in 0..6_i64 {
        let expected = Vec::from_iter(number..6);
        let of = records(&db, kafka, &format!("c{number}"), expected.len()).await;
        assert_eq!(ids(&of), expected);
    }
    process.stop().await;
}

/// Listeners in another database: the stream is of the deployment then, and carries no more than before.
#[tokio::test]
async fn listeners_may_be_in_another_database() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let elsewhere = support::database().await;
    let stranger = support::database().await;
    let listeners = elsewhere.documents("listeners");
    let setup = listening(&db, kafka).env(
        "LISTENERS_COLLECTION",
        format!("{}.listeners", elsewhere.name()),
    );
    let process = setup.start().await;
    let mut document = listener(&db, "all", "batches", doc! {});
    listeners.insert_one(document.clone()).await.unwrap();
    document.insert("_id", "lost");
    document.insert("jobName", "lost");
    document.insert("database", stranger.name());
    listeners.insert_one(document).await.unwrap();
    for (id, database) in [(1, &db), (2, &elsewhere), (3, &stranger), (4, &db)] {
        let batches = database.documents("batches");
        batches.insert_one(doc! {"_id": id}).await.unwrap();
    }
    let records = records(&db, kafka, "all", 2).await;
    assert_eq!(ids(&records), [1, 4]);
    process.stop().await;
}

/// Beside the configuration's own topics, which get what they got before.
#[tokio::test]
async fn listeners_beside_the_configured_topics() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let changes = db.topic("changes");
    let without = listening(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &changes)
        .env("WATCH_COLLECTIONS", "batches")
        .without("LISTENERS_COLLECTION");
    let process = without.start().await;
    let batches = db.documents("batches");
    batches.insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&changes], 1).await;
    process.stop().await;

    // Turned on, and off again: the same checkpoint.
    let with = without
        .clone()
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()));
    let process = with.start().await;
    let document = listener(&db, "others", "others", doc! {});
    db.documents("listeners")
        .insert_one(document)
        .await
        .unwrap();
    db.documents("others")
        .insert_one(doc! {"_id": 2})
        .await
        .unwrap();
    batches.insert_one(doc! {"_id": 3}).await.unwrap();
    assert_eq!(ids(&records(&db, kafka, "others", 1).await), [2]);
    assert_eq!(ids(&kafka.wait_for_records(&[&changes], 2).await), [1, 3]);
    process.stop().await;

    let process = without.start().await;
    batches.insert_one(doc! {"_id": 4}).await.unwrap();
    assert_eq!(
        ids(&kafka.wait_for_records(&[&changes], 3).await),
        [1, 3, 4]
    );
    process.stop().await;
}

/// A record of Kafka holds a megabyte: listeners are stored one by one, beside the position.
#[tokio::test]
async fn more_listeners_than_a_record_could_hold_survive_a_kill() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("batches"), db.documents("listeners"));
    let setup = listening(&db, kafka).env("DELIVERY", "exactly_once");
    let mut process = setup.start().await;
    let many = (0..300).map(|number| {
        let id = format!("many-{number}");
        let filter = doc! {"status": format!("{number}"), "$comment": "x".repeat(8 << 10)};
        let mut document = listener(&db, &id, "batches", filter);
        document.insert("topic", topic(&db, "many"));
        document
    });
    listeners.insert_many(many).await.unwrap();
    listeners.delete_one(doc! {"_id": "many-7"}).await.unwrap();
    let put = async |id: i64, status: &str| {
        data.insert_one(doc! {"_id": id, "status": status})
            .await
            .unwrap();
    };
    put(1, "299").await;
    records(&db, kafka, "many", 1).await;
    process.kill9();
    put(2, "7").await;
    listeners
        .delete_many(doc! {"_id": {"$ne": "many-5"}})
        .await
        .unwrap();
    put(3, "6").await;
    put(4, "5").await;
    let process = setup.start().await;
    let of = eventually(PATIENCE, "the last record", async || {
        let of = kafka.committed_records(&[&topic(&db, "many")]).await;
        (ids(&of).contains(&4)).then_some(of)
    })
    .await;
    assert_eq!(ids(&of), [1, 4]);
    assert_eq!(of[1].header("tw-listener"), "many-5");
    process.stop().await;
    // What is stored is one listener: the next start has no more to read.
    let process = setup.start().await;
    put(5, "5").await;
    eventually(PATIENCE, "a record after the restart", async || {
        let of = kafka.committed_records(&[&topic(&db, "many")]).await;
        (of.len() == 3).then_some(())
    })
    .await;
    process.stop().await;
}

/// Another collection in the place of the listeners': a restored one, or the result of `$out`.
#[tokio::test]
async fn a_collection_that_takes_the_place_of_the_listeners_is_read() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let data = db.documents("batches");
    let process = listening(&db, kafka).start().await;
    let old = listener(&db, "old", "batches", doc! {});
    db.documents("listeners").insert_one(old).await.unwrap();
    data.insert_one(doc! {"_id": 1}).await.unwrap();
    records(&db, kafka, "old", 1).await;
    let new = listener(&db, "new", "batches", doc! {});
    db.documents("restored").insert_one(new).await.unwrap();
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
    assert_eq!(ids(&records(&db, kafka, "new", 1).await), [2]);
    // And changes as before.
    let add = listener(&db, "added", "batches", doc! {});
    db.documents("listeners").insert_one(add).await.unwrap();
    data.insert_one(doc! {"_id": 3}).await.unwrap();
    assert_eq!(ids(&records(&db, kafka, "added", 1).await), [3]);
    assert_eq!(ids(&records(&db, kafka, "new", 2).await), [2, 3]);
    assert_eq!(ids(&records(&db, kafka, "old", 1).await), [1]);
    process.stop().await;
}

/// Without its collection a stream has no listeners, until there are some again.
#[tokio::test]
async fn dropped_listeners_get_nothing_more() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let data = db.documents("batches");
    let process = listening(&db, kafka).start().await;
    for id in ["one", "two"] {
        let document = listener(&db, id, "batches", doc! {});
        db.documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
        data.insert_one(doc! {"_id": id.len() as i64 + i64::from(id == "two") })
            .await
            .unwrap();
        records(&db, kafka, id, 1).await;
        db.documents("listeners").drop().await.unwrap();
        data.insert_one(doc! {"_id": 10 + i64::from(id == "two")})
            .await
            .unwrap();
    }
    let last = listener(&db, "last", "batches", doc! {});
    db.documents("listeners").insert_one(last).await.unwrap();
    data.insert_one(doc! {"_id": 20}).await.unwrap();
    records(&db, kafka, "last", 1).await;
    assert_eq!(ids(&records(&db, kafka, "one", 1).await), [3]);
    assert_eq!(ids(&records(&db, kafka, "two", 1).await), [4]);
    process.stop().await;
}

/// Listeners without a database listen in all that are watched, those made later included.
#[tokio::test]
async fn a_listener_without_a_database_listens_in_those_made_later_too() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let prefix = support::unique("workspace");
    let workspace = |number: u32| db.client.database(&format!("{prefix}_{number}"));
    let insert = async |number: u32, id: i64| {
        let batches = workspace(number).collection::<bson::Document>("batches");
        batches.insert_one(doc! {"_id": id}).await.unwrap();
    };
    insert(1, 1).await;
    let mut document = listener(&db, "all", "batches", doc! {});
    document.insert("topic", format!("{}.{{database}}", topic(&db, "all")));
    let listeners = db.documents("listeners");
    listeners.insert_one(document).await.unwrap();
    let mut document = listener(&db, "one", "batches", doc! {});
    document.insert("database", format!("{prefix}_2"));
    listeners.insert_one(document).await.unwrap();
    let process = listening(&db, kafka)
        .env("MONGODB_URI", mongo().await.uri())
        .env("WATCH_DATABASES", format!("{prefix}_*"))
        .start()
        .await;
    insert(1, 2).await;
    insert(2, 3).await;
    insert(3, 4).await;
    db.documents("batches")
        .insert_one(doc! {"_id": 5})
        .await
        .unwrap();
    insert(2, 6).await;
    assert_eq!(ids(&records(&db, kafka, "one", 2).await), [3, 6]);
    for (number, expected) in [(1, vec![2]), (2, vec![3, 6]), (3, vec![4])] {
        let id = format!("all.{prefix}_{number}");
        assert_eq!(
            ids(&records(&db, kafka, &id, expected.len()).await),
            expected
        );
    }
    process.stop().await;
    for number in 1..4 {
        workspace(number).drop().await.unwrap();
    }
}

/// Listeners that are made by the hundred, each for another collection.
#[tokio::test]
async fn hundreds_of_listeners_at_once_are_all_heard() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let process = listening(&db, kafka).start().await;
    let many = (0..200).map(|number| {
        let mut document = listener(
            &db,
            &format!("many-{number}"),
            &format!("c{number}"),
            doc! {},
        );
        document.insert("topic", topic(&db, "many"));
        document
    });
    db.documents("listeners").insert_many(many).await.unwrap();
    for number in 0..200_i64 {
        let documents = db.documents(&format!("c{number}"));
        documents.insert_one(doc! {"_id": number}).await.unwrap();
    }
    let mut of = ids(&records(&db, kafka, "many", 200).await);
    of.sort_unstable();
    assert_eq!(of, Vec::from_iter(0..200));
    process.stop().await;
}

/// The stream is one of the deployment since then, and of the database again: its checkpoint serves both.
#[tokio::test]
async fn a_checkpoint_goes_on_when_listeners_in_another_database_come_and_go() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let elsewhere = support::database().await;
    let changes = db.topic("changes");
    let without = listening(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &changes)
        .without("LISTENERS_COLLECTION");
    let with = without.clone().env(
        "LISTENERS_COLLECTION",
        format!("{}.listeners", elsewhere.name()),
    );
    let batches = db.documents("batches");
    let document = listener(&db, "all", "batches", doc! {});
    elsewhere
        .documents("listeners")
        .insert_one(document)
        .await
        .unwrap();
    let mut id = 0;
    for setup in [&without, &with, &without, &with] {
        // What is written while nobody looks comes with the next start.
        id += 1;
        batches.insert_one(doc! {"_id": id}).await.unwrap();
        let process = setup.start().await;
        id += 1;
        batches.insert_one(doc! {"_id": id}).await.unwrap();
        elsewhere
            .documents("batches")
            .insert_one(doc! {"_id": id})
            .await
            .unwrap();
        eventually(PATIENCE, "the last record", async || {
            let records = kafka.records(&[&changes]).await;
            (!records.is_empty() && ids(&records).contains(&id)).then_some(())
        })
        .await;
        process.stop().await;
    }
    // The first was written before the first start.
    assert_eq!(
        ids(&kafka.records(&[&changes]).await),
        Vec::from_iter(2..=id)
    );
    assert_eq!(ids(&records(&db, kafka, "all", 4).await), [3, 4, 7, 8]);
}
