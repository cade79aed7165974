//! What listeners may ask for: each is tried on real changes.

use super::{ids, listener, listening, records, topic};
use crate::support::{self, PATIENCE, eventually, mongo, unique};
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Document, Timestamp, doc};
use futures_util::StreamExt;
use std::collections::BTreeMap;

/// The stages of the user are about the user's own events: how listeners change must be seen whatever they do.
#[tokio::test]
async fn stages_of_the_user_hide_no_change_of_a_listener() {
    for pipeline in [
        r#"[{"$match": {"ns.coll": "data"}}]"#,
        r#"[{"$redact": {"$cond": [{"$eq": ["$ns.coll", "data"]}, "$$KEEP", "$$PRUNE"]}}]"#,
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (data, listeners) = (db.documents("data"), db.documents("listeners"));
        let setup = listening(&db, kafka)
            .env("CHANGE_STREAM_PIPELINE", pipeline)
            .env("EXCLUDE_COLLECTIONS", "listeners,others")
            .env("WATCH_OPERATIONS", "delete");
        let process = setup.start().await;
        let first = listener(&db, "l", "data", doc! {});
        listeners.insert_one(first).await.unwrap();
        data.insert_one(doc! {"_id": 1}).await.unwrap();
        records(&db, kafka, "l", 1).await;
        let to = |on: bool| doc! {"$set": {"isActive": on}};
        listeners
            .update_one(doc! {"_id": "l"}, to(false))
            .await
            .unwrap();
        data.insert_one(doc! {"_id": 2}).await.unwrap();
        listeners
            .update_one(doc! {"_id": "l"}, to(true))
            .await
            .unwrap();
        data.insert_one(doc! {"_id": 3}).await.unwrap();
        assert_eq!(
            ids(&records(&db, kafka, "l", 2).await),
            [1, 3],
            "{pipeline}"
        );
        process.stop().await;
    }
}

#[tokio::test]
async fn one_document_is_listened_to_whatever_its_id_is() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    let process = listening(&db, kafka).start().await;
    // The server here cannot index all of these.
    listeners.drop_index("tailwater_identity").await.unwrap();
    // What it is stored as, and what the listener says.
    let same = |id: Bson| (id.clone(), id);
    let bytes = |subtype| {
        Binary {
            subtype,
            bytes: vec![7; 16],
        }
        .into()
    };
    let all: Vec<(Bson, Bson)> = vec![
        (1.into(), 1.0.into()),
        (2_i64.into(), 2.into()),
        same(2.5.into()),
        (Bson::Decimal128("3".parse().unwrap()), 3.into()),
        same(f64::INFINITY.into()),
        same("".into()),
        same("a b".into()),
        same(bson::oid::ObjectId::new().into()),
        same(true.into()),
        same(DateTime::from_millis(-5).into()),
        same(
            Timestamp {
                time: 5,
                increment: 6,
            }
            .into(),
        ),
        same(bytes(BinarySubtype::Uuid)),
        same(bytes(BinarySubtype::Generic)),
        (
            doc! {"b": 1, "a": 2}.into(),
            doc! {"_id": {"b": 1, "a": 2}}.into(),
        ),
        (Bson::Null, doc! {"_id": null}.into()),
        same(Bson::MinKey),
        same(Bson::MaxKey),
    ];
    for (number, (_, key)) in all.iter().enumerate() {
        let mut document = listener(&db, &format!("l{number}"), "data", doc! {});
        document.insert("documentKey", key.clone());
        document.remove("operationType");
        document.insert("topic", topic(&db, "all"));
        listeners.insert_one(document).await.unwrap();
    }
    for (id, _) in &all {
        data.insert_one(doc! {"_id": id.clone()})
            .await
            .unwrap_or_else(|error| panic!("{id}: {error}"));
        let add = doc! {"$set": {"n": 1}};
        data.update_one(doc! {"_id": {"$eq": id.clone()}}, add)
            .await
            .unwrap();
        data.delete_one(doc! {"_id": {"$eq": id.clone()}})
            .await
            .unwrap();
    }
    let records = records(&db, kafka, "all", 3 * all.len()).await;
    let mut of = BTreeMap::<String, Vec<String>>::new();
    for record in &records {
        let operation = record.value["operationType"].as_str().unwrap().to_owned();
        let of = of
            .entry(record.header("tw-listener").to_owned())
            .or_default();
        of.push(operation);
    }
    for (number, (id, _)) in all.iter().enumerate() {
        let got = of.get(&format!("l{number}"));
        assert_eq!(
            got.map(Vec::as_slice),
            Some(&["insert", "update", "delete"].map(str::to_owned)[..]),
            "{id}"
        );
    }
    process.stop().await;
}

/// Events that are about a collection or a database.
#[tokio::test]
async fn drops_and_renames_reach_those_who_ask_for_them() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (other, prefix) = (support::database().await, unique("ddl"));
    let watched = |number: u32| db.client.database(&format!("{prefix}_{number}"));
    let wanted = [
        ("from", "a", "rename"),
        ("to", "b", "rename"),
        ("dropped", "b", "DROP"),
        ("all", "any", "dropDatabase"),
    ];
    for (id, collection, operation) in wanted {
        let mut document = listener(&other, id, collection, doc! {"never": "asked"});
        document.insert("operationType", operation);
        other
            .documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
    }
    let setup = listening(&other, kafka)
        .env("MONGODB_URI", mongo().await.uri())
        .env("WATCH_DATABASES", format!("{prefix}_*"));
    let process = setup.start().await;
    let one = watched(1);
    one.collection::<Document>("a")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let rename = doc! {"renameCollection": format!("{prefix}_1.a"), "to": format!("{prefix}_1.b")};
    db.client
        .database("admin")
        .run_command(rename)
        .await
        .unwrap();
    one.collection::<Document>("b").drop().await.unwrap();
    one.collection::<Document>("c")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    one.drop().await.unwrap();
    for (id, _, operation) in wanted {
        let of = records(&other, kafka, id, 1).await;
        assert_eq!(of.len(), 1, "{id}");
        let is = of[0].value["operationType"].as_str().unwrap();
        assert!(is.eq_ignore_ascii_case(operation), "{id}: {is}");
    }
    process.stop().await;
}

/// The database with the listeners goes away, and comes back.
#[tokio::test]
async fn the_listeners_database_may_be_dropped_and_made_anew() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let elsewhere = support::database().await;
    let setup = listening(&db, kafka).env(
        "LISTENERS_COLLECTION",
        format!("{}.listeners", elsewhere.name()),
    );
    let mut process = setup.start().await;
    let data = db.documents("data");
    let mut id = 0;
    for (name, is_killed) in [("one", false), ("two", true), ("three", false)] {
        let document = listener(&db, name, "data", doc! {});
        elsewhere
            .documents("listeners")
            .insert_one(document)
            .await
            .unwrap();
        id += 1;
        data.insert_one(doc! {"_id": id}).await.unwrap();
        records(&db, kafka, name, 1).await;
        if is_killed {
            process.kill9();
        }
        elsewhere.drop().await.unwrap();
        id += 1;
        data.insert_one(doc! {"_id": id}).await.unwrap();
        if is_killed {
            process = setup.start().await;
        }
    }
    let document = listener(&db, "last", "data", doc! {});
    elsewhere
        .documents("listeners")
        .insert_one(document)
        .await
        .unwrap();
    data.insert_one(doc! {"_id": 100}).await.unwrap();
    records(&db, kafka, "last", 1).await;
    for (name, expected) in [("one", 1), ("two", 3), ("three", 5)] {
        assert_eq!(
            ids(&records(&db, kafka, name, 1).await),
            [expected],
            "{name}"
        );
    }
    process.stop().await;
}

/// A transaction makes listeners and data in turn: each counts from its own place on, also after a kill.
#[tokio::test]
async fn within_a_transaction_each_change_is_at_its_own_place() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    data.insert_one(doc! {"_id": -1}).await.unwrap();
    let setup = listening(&db, kafka);
    let mut process = setup.start().await;
    // The order is the server's: the one here has its own within a transaction, and keeps but the last of several
    // changes of one document.
    let mut history = db.watch().await.unwrap();
    for round in 0..3_i64 {
        let mut session = db.client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        for number in 4 * round..4 * (round + 1) {
            let document = listener(&db, &format!("l{number}"), "data", doc! {});
            listeners
                .insert_one(document)
                .session(&mut session)
                .await
                .unwrap();
            data.insert_one(doc! {"_id": number})
                .session(&mut session)
                .await
                .unwrap();
        }
        session.commit_transaction().await.unwrap();
        if round == 1 {
            process.kill9();
            process = setup.start().await;
        }
    }
    let mut expected = BTreeMap::<String, Vec<i64>>::new();
    for _ in 0..24 {
        let event = history.next().await.unwrap().unwrap();
        let key = event.document_key.unwrap();
        match key.get_i64("_id") {
            Ok(number) => expected.values_mut().for_each(|ids| ids.push(number)),
            Err(_) => {
                expected.insert(key.get_str("_id").unwrap().to_owned(), Vec::new());
            }
        }
    }
    for (id, expected) in expected {
        if expected.is_empty() {
            continue;
        }
        let found = eventually(PATIENCE, "all of the transactions", async || {
            let found = ids(&records(&db, kafka, &id, 1).await);
            (found.len() >= expected.len()).then_some(found)
        })
        .await;
        assert_eq!(found, expected, "{id}");
    }
    process.stop().await;
}

/// Two instances of one stream, one after the other and the first still alive, while listeners change.
#[tokio::test]
async fn an_instance_that_takes_over_goes_on_with_the_listeners_of_its_place() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    let setup = listening(&db, kafka);
    let mut process = setup.start().await;
    let mut expected = Vec::new();
    let mut id = 0;
    for round in 0..4 {
        for _ in 0..20 {
            let is_on = id % 3 != 0;
            let mut document = listener(&db, "l", "data", doc! {});
            document.insert("isActive", is_on);
            listeners
                .replace_one(doc! {"_id": "l"}, document)
                .upsert(true)
                .await
                .unwrap();
            data.insert_one(doc! {"_id": id}).await.unwrap();
            if is_on {
                expected.push(id);
            }
            id += 1;
        }
        if round < 3 {
            // The former one is fenced, and ends by itself.
            let next = setup.start().await;
            drop(std::mem::replace(&mut process, next));
        }
    }
    let found = eventually(PATIENCE, "all records", async || {
        let found = ids(&records(&db, kafka, "l", 1).await);
        (found.len() >= expected.len()).then_some(found)
    })
    .await;
    assert_eq!(found, expected);
    process.stop().await;
}

/// Several streams share one collection: each listener shows how it does in each of them.
#[tokio::test]
async fn a_listener_of_several_streams_has_a_status_in_each() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let other = support::database().await;
    let listeners = db.documents("listeners");
    let mut document = listener(&db, "l", "data", doc! {});
    document.insert("topic", format!("{}.{{database}}", topic(&db, "l")));
    listeners.insert_one(document).await.unwrap();
    let setup = listening(&db, kafka)
        .env("MONGODB_URI", mongo().await.uri())
        .env("STREAMS", format!("{},{}", db.name(), other.name()));
    let process = setup.start().await;
    for (database, count) in [(&db, 1), (&other, 2)] {
        for id in 0..count {
            database
                .documents("data")
                .insert_one(doc! {"_id": id})
                .await
                .unwrap();
        }
        let id = format!("l.{}", database.name());
        assert_eq!(
            records(&db, kafka, &id, count as usize).await.len(),
            count as usize
        );
    }
    let found = eventually(PATIENCE, "a status in each", async || {
        let found = listeners.find_one(doc! {"_id": "l"}).await.unwrap()?;
        let streams = found
            .get_document("status")
            .ok()?
            .get_document("streams")
            .ok()?
            .clone();
        let produced = streams
            .values()
            .filter_map(|status| status.as_document()?.get_i64("produced").ok());
        (produced.sum::<i64>() == 3).then_some(streams)
    })
    .await;
    assert_eq!(found.len(), 2, "{found}");
    let port = process.http_addr().unwrap();
    let status = setup
        .clone()
        .env("HTTP_ADDR", port)
        .args(&["status"])
        .run()
        .await;
    let lines = status
        .output
        .matches("1 active, 0 disabled, 0 invalid")
        .count();
    assert_eq!(lines, 2, "{}", status.output);
    process.stop().await;
}

/// What a record is sent with follows the listener, also where nothing else of it changes.
#[tokio::test]
async fn a_topic_a_job_or_a_priority_that_changes_alone_is_that_of_the_next_record() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    let mut document = listener(&db, "l", "data", doc! {"n": {"$gt": 0}});
    document.insert("topic", topic(&db, "{collection}"));
    listeners.insert_one(document).await.unwrap();
    let process = listening(&db, kafka).start().await;
    let mut id = 0;
    for change in [
        doc! {"priority": 1},
        doc! {"jobName": "renamed"},
        doc! {"priority": 2},
        doc! {"topic": topic(&db, "{collection}.moved")},
        doc! {"topic": topic(&db, "fixed")},
        doc! {"jobName": "again", "priority": null},
    ] {
        let set = doc! {"$set": change};
        listeners.update_one(doc! {"_id": "l"}, set).await.unwrap();
        id += 1;
        data.insert_one(doc! {"_id": id, "n": 1}).await.unwrap();
    }
    let mut seen = Vec::new();
    for (name, count) in [("data", 3), ("data.moved", 1), ("fixed", 2)] {
        let of = records(&db, kafka, name, count).await;
        assert_eq!(of.len(), count, "{name}");
        for record in of {
            let priority = record.headers.get("tw-priority").cloned();
            seen.push((record.header("tw-job").to_owned(), priority));
        }
    }
    let told = |job: &str, priority: Option<&str>| (job.to_owned(), priority.map(str::to_owned));
    assert_eq!(
        seen,
        [
            told("l", Some("1")),
            told("renamed", Some("1")),
            told("renamed", Some("2")),
            told("renamed", Some("2")),
            told("renamed", Some("2")),
            told("again", None),
        ]
    );
    process.stop().await;
}

/// The checkpoint knows the listeners of one collection: those of another are read.
#[tokio::test]
async fn another_collection_of_listeners_takes_over_at_a_restart() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let data = db.documents("data");
    for name in ["one", "two"] {
        let document = listener(&db, name, "data", doc! {});
        db.documents(&format!("listeners_{name}"))
            .insert_one(document)
            .await
            .unwrap();
    }
    let setup = listening(&db, kafka);
    for (id, name) in [(1, "one"), (2, "two"), (3, "one")] {
        let at = format!("{}.listeners_{name}", db.name());
        let process = setup.clone().env("LISTENERS_COLLECTION", at).start().await;
        data.insert_one(doc! {"_id": id}).await.unwrap();
        records(&db, kafka, name, if id == 3 { 2 } else { 1 }).await;
        process.stop().await;
    }
    assert_eq!(ids(&records(&db, kafka, "one", 2).await), [1, 3]);
    assert_eq!(ids(&records(&db, kafka, "two", 1).await), [2]);
}

/// One that is invalid leaves nothing behind when it is deleted.
#[tokio::test]
async fn an_invalid_listener_that_is_deleted_is_gone() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    let process = listening(&db, kafka).start().await;
    let until = async |total: u64, failed: u64| {
        eventually(PATIENCE, "so many listeners", async || {
            let said = process.get("/health/subscriptions").await.json();
            let told = &said["listeners"];
            (told["total"] == total && told["failed"] == failed).then_some(())
        })
        .await;
    };
    let wrong = listener(&db, "wrong", "data", doc! {"$where": "1"});
    listeners.insert_one(wrong).await.unwrap();
    until(1, 1).await;
    listeners.delete_one(doc! {"_id": "wrong"}).await.unwrap();
    until(0, 0).await;
    let right = listener(&db, "wrong", "data", doc! {});
    listeners.insert_one(right).await.unwrap();
    db.documents("data")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    assert_eq!(records(&db, kafka, "wrong", 1).await.len(), 1);
    until(1, 0).await;
    process.stop().await;
}
