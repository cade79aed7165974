//! What people write among the listeners that is none: it spoils nothing for the others, nor for the checkpoint.

use super::{ids, listener, listening, records, topic};
use crate::support::{self, Database, PATIENCE, eventually};
use bson::{Bson, DateTime, Document, doc};

/// Documents that nobody should have written, each with the field that is found wrong; empty for none.
fn nonsense() -> Vec<(Document, &'static str)> {
    let mut deep = Bson::Int32(1);
    for _ in 0..90 {
        deep = doc! {"a": deep}.into();
    }
    let with = |fields: Document, wrong: &'static str| {
        let mut document = doc! {"collection": "data", "jobName": "x", "topic": "jobs.x"};
        document.extend(fields);
        (document, wrong)
    };
    let mut all = vec![
        (doc! {}, "collection"),
        (doc! {"kind": "room"}, "kind"),
        (
            doc! {"kind": 5, "collection": "data", "jobName": "x"},
            "kind",
        ),
        with(doc! {"filter": {"a": {"$oid": "none"}}}, "filter"),
        with(
            doc! {"filter": {"at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}}},
            "filter",
        ),
        with(doc! {"filter": deep.clone()}, "filter"),
        with(doc! {"documentKey": {"_id": deep}}, "documentKey"),
        with(doc! {"filter": {"a": "x".repeat(1 << 20)}}, "filter"),
        with(
            doc! {"filter": {"a": {"$regex": "(a+)+".repeat(5_000)}}},
            "filter",
        ),
        with(
            doc! {"filter": {"a": {"$regex": "[".repeat(100)}}},
            "filter",
        ),
        with(doc! {"filter": "{"}, "filter"),
        with(doc! {"filter": [1]}, "filter"),
        with(doc! {"filter": {"$and": []}}, "filter"),
        with(doc! {"filter": {"$expr": true}}, "filter"),
        with(doc! {"collection": 5}, "collection"),
        with(doc! {"collection": "system.users"}, "collection"),
        with(doc! {"collection": "listeners"}, "collection"),
        with(doc! {"database": ""}, "database"),
        with(doc! {"database": "nobodys"}, "database"),
        with(doc! {"jobName": 5}, "jobName"),
        with(doc! {"jobName": " "}, "jobName"),
        with(doc! {"jobName": "x".repeat(600)}, "jobName"),
        with(doc! {"jobName": "a/b", "topic": Bson::Null}, "jobName"),
        with(doc! {"jobName": "über", "topic": Bson::Null}, "jobName"),
        with(
            doc! {"jobName": "{nothing}", "topic": Bson::Null},
            "jobName",
        ),
        with(doc! {"topic": "elsewhere"}, "topic"),
        with(doc! {"topic": "jobs.{"}, "topic"),
        with(doc! {"topic": format!("jobs.{}", "x".repeat(300))}, "topic"),
        with(doc! {"operationType": "upsert"}, "operationType"),
        with(doc! {"operationType": {"a": 1}}, "operationType"),
        with(doc! {"operationType": ["insert", 5]}, "operationType"),
        with(
            doc! {"documentKey": bson::Regex { pattern: bson::raw::cstr!("x").into(), options: bson::raw::cstr!("").into() }},
            "documentKey",
        ),
        with(doc! {"documentKey": {"key": 1}}, "documentKey"),
        with(doc! {"priority": [1]}, "priority"),
        with(doc! {"isActive": "true"}, "isActive"),
        with(doc! {"collation": {"locale": "de"}}, ""),
        // Right, however they look.
        with(
            doc! {"collection": "other", "metadata": {"$oid": "none"}},
            "-",
        ),
        with(
            doc! {"collection": "other", "createdAt": "yesterday", "updatedAt": DateTime::from_millis(i64::MAX)},
            "-",
        ),
        with(
            doc! {"collection": "other", "status": 5, "lockInfo": [1]},
            "-",
        ),
        with(doc! {"collection": "other", "jobName": "a/ü\n{x}"}, "-"),
    ];
    for (number, (document, _)) in all.iter_mut().enumerate() {
        let mut with_id = doc! {"_id": format!("bad-{number}")};
        // No two are the same listener.
        if let Ok(job) = document.get_str("jobName").map(str::to_owned)
            && job == "x"
        {
            document.insert("jobName", format!("x{number}"));
        }
        with_id.extend(std::mem::take(document));
        *document = with_id;
    }
    all
}

async fn until_told(db: &Database, nonsense: &[(Document, &'static str)]) {
    let listeners = db
        .documents("listeners")
        .clone_with_type::<bson::RawDocumentBuf>();
    for (document, wrong) in nonsense {
        let id = document.get("_id").unwrap();
        let what = format!("the status of {id} with {wrong}");
        eventually(PATIENCE, &what, async || {
            let found = listeners.find_one(doc! {"_id": id}).await.unwrap()?;
            let status = found
                .get_document("status")
                .ok()?
                .get_document("streams")
                .ok()?;
            let (_, status) = status.iter().next()?.ok()?;
            let status = status.as_document()?;
            let is_active = status.get_str("state").ok() == Some("active");
            let reason = status.get_str("reason").unwrap_or_default();
            let is_so = match *wrong {
                "-" => is_active,
                wrong => status.get_str("state").ok() == Some("invalid") && reason.contains(wrong),
            };
            assert!(is_so, "{id} ({wrong}): {status:?}");
            Some(())
        })
        .await;
    }
}

#[tokio::test]
async fn nonsense_among_the_listeners_spoils_neither_the_stream_nor_its_checkpoint() {
    for store in ["kafka", "mongodb", "file"] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (data, listeners) = (db.documents("data"), db.documents("listeners"));
        let setup = listening(&db, kafka).env("RESUME_STORE", store);
        let mut process = setup.start().await;
        listeners
            .insert_one(listener(&db, "good", "data", doc! {}))
            .await
            .unwrap();
        let nonsense = nonsense();
        for (document, _) in &nonsense {
            listeners.insert_one(document).await.unwrap();
        }
        // Larger than a record of Kafka may be.
        let large = doc! {"_id": "x".repeat(1 << 20), "collection": "data", "jobName": "large"};
        listeners.insert_one(&large).await.unwrap();
        data.insert_one(doc! {"_id": 1}).await.unwrap();
        records(&db, kafka, "good", 1).await;
        until_told(&db, &nonsense).await;
        // What is stored is read again, and what is in the collection, too.
        process.kill9();
        data.insert_one(doc! {"_id": 2}).await.unwrap();
        let process = setup.start().await;
        assert_eq!(
            ids(&records(&db, kafka, "good", 2).await),
            [1, 2],
            "{store}"
        );
        let health = process.get("/health/subscriptions").await.json();
        let right = nonsense.iter().filter(|(_, wrong)| *wrong == "-").count() + 1;
        assert_eq!(health["listeners"]["active"], right, "{health}");
        process.stop().await;
        let first = setup
            .clone()
            .env("KAFKA_CLIENT_ID", support::unique("other"));
        let first = first
            .env("RESUME_FILE", "other.json")
            .env("RESUME_TOPIC", support::unique("checkpoints"));
        let process = first.start().await;
        data.insert_one(doc! {"_id": 3}).await.unwrap();
        records(&db, kafka, "good", 3).await;
        process.stop().await;
        let list = setup.args(&["listeners", "list"]).run().await;
        assert_eq!(list.code, Some(0), "{}", list.output);
        assert!(!list.output.contains("a/ü\n"), "{}", list.output);
    }
}

/// Two that differ in nothing but the type of their `_id` are two, also for those who read the records.
#[tokio::test]
async fn ids_that_are_written_alike_are_told_apart() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    let hex = bson::oid::ObjectId::new();
    let all: [Bson; 4] = [1.into(), "1".into(), hex.into(), hex.to_hex().into()];
    for (number, id) in all.into_iter().enumerate() {
        let mut document = listener(&db, &format!("l{number}"), "data", doc! {});
        document.insert("_id", id);
        document.insert("topic", topic(&db, "all"));
        listeners.insert_one(document).await.unwrap();
    }
    let process = listening(&db, kafka).start().await;
    db.documents("data")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let records = records(&db, kafka, "all", 4).await;
    let header = |name| {
        let values = records.iter().map(|record| record.header(name).to_owned());
        values.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        header("tw-listener").len(),
        4,
        "{:?}",
        header("tw-listener")
    );
    assert_eq!(header("tw-id").len(), 4, "{:?}", header("tw-id"));
    process.stop().await;
}

/// A mistake in one field is mended by setting that field.
#[tokio::test]
async fn a_listener_that_was_nonsense_is_served_once_it_is_mended() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (data, listeners) = (db.documents("data"), db.documents("listeners"));
    let process = listening(&db, kafka).start().await;
    let wrong = doc! {"n": {"$numberLong": "1"}};
    listeners
        .insert_one(listener(&db, "l", "data", wrong))
        .await
        .unwrap();
    data.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    let set = doc! {"$set": {"filter": {"n": 1_i64}}};
    listeners.update_one(doc! {"_id": "l"}, set).await.unwrap();
    data.insert_one(doc! {"_id": 2, "n": 1}).await.unwrap();
    assert_eq!(ids(&records(&db, kafka, "l", 1).await), [2]);
    process.stop().await;
}

/// Listeners that are made by the thousand are in force before what is written behind them.
#[tokio::test]
async fn thousands_of_listeners_at_once_hold_up_nobody() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let process = listening(&db, kafka).start().await;
    let many = (0..4_000).map(|number| {
        let filter = doc! {"status": format!("{number}")};
        let mut document = listener(&db, &format!("many-{number}"), "data", filter);
        document.insert("topic", topic(&db, "many"));
        document
    });
    db.documents("listeners").insert_many(many).await.unwrap();
    let data = db.documents("data");
    data.insert_one(doc! {"_id": 1, "status": "3999"})
        .await
        .unwrap();
    let of = records(&db, kafka, "many", 1).await;
    assert_eq!(of[0].header("tw-listener"), "many-3999");
    let turn_off = doc! {"$set": {"isActive": false}};
    db.documents("listeners")
        .update_many(doc! {}, turn_off)
        .await
        .unwrap();
    let last = listener(&db, "last", "data", doc! {});
    db.documents("listeners").insert_one(last).await.unwrap();
    data.insert_one(doc! {"_id": 2, "status": "3999"})
        .await
        .unwrap();
    records(&db, kafka, "last", 1).await;
    assert_eq!(records(&db, kafka, "many", 1).await.len(), 1);
    process.stop().await;
}
