//! `tailwater listeners`.

use super::{command, file, listening};
use crate::support;
use bson::{Bson, DateTime, doc};

const FILE: &str = "\
listeners:
  - collection: batches
    jobName: process
    operationType: [insert, update]
    filter: {status: received, at: {$gt: {$date: '2026-01-01T00:00:00Z'}}, z: 1, a: 2.5}
    priority: 3
  - collection: notes
    jobName: note
    documentKey: {$oid: '507f1f77bcf86cd799439011'}
databases:
  - database: '*'
    topicPrefix: jobs.
";

#[tokio::test]
async fn what_is_applied_is_there_and_applying_it_again_changes_nothing() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka).without("KAFKA_BROKERS");
    let path = file(&setup, "listeners.yaml", FILE);
    let plan = command(&setup, &["plan", "-f", &path]).await;
    assert_eq!(plan.code, Some(1), "{}", plan.output);
    assert!(
        plan.output.contains("3 to create, 0 to change"),
        "{}",
        plan.output
    );
    assert!(
        db.contents("listeners").await.is_empty(),
        "a plan does nothing"
    );
    let applied = command(&setup, &["apply", "-f", &path]).await;
    assert_eq!(applied.code, Some(0), "{}", applied.output);
    let mut made = db.contents("listeners").await;
    assert_eq!(made.len(), 3, "{made:?}");
    made.retain(|document| {
        document
            .get_str("jobName")
            .is_ok_and(|job| job == "process")
    });
    assert!(matches!(
        made[0]
            .get_document("filter")
            .unwrap()
            .get_document("at")
            .unwrap()
            .get("$gt"),
        Some(Bson::DateTime(_))
    ));
    for args in [["plan", "-f", &path], ["apply", "-f", &path]] {
        let again = command(&setup, &args).await;
        assert_eq!(again.code, Some(0), "{}", again.output);
        assert!(again.output.contains("3 unchanged"), "{}", again.output);
    }

    // What others write stays, and what the file says is brought back.
    let listeners = db.documents("listeners");
    let created = DateTime::from_millis(7);
    let status = doc! {"streams": {"x": {"state": "active", "matched": 5_i64, "produced": 4_i64}}};
    let set =
        doc! {"$set": {"status": &status, "createdAt": created, "priority": 9, "isActive": false}};
    listeners
        .update_one(doc! {"jobName": "process"}, set)
        .await
        .unwrap();
    let other = doc! {"_id": "other", "collection": "c", "jobName": "c", "__v": 0};
    listeners.insert_one(other).await.unwrap();
    let plan = command(&setup, &["plan", "-f", &path, "--prune"]).await;
    for part in [
        "priority: 9 -> 3",
        "isActive: false -> (none)",
        "1 to change, 1 to delete, 2 unchanged",
    ] {
        assert!(plan.output.contains(part), "{part}: {}", plan.output);
    }
    let applied = command(&setup, &["apply", "-f", &path, "--prune"]).await;
    assert_eq!(applied.code, Some(0), "{}", applied.output);
    let now = listeners
        .find_one(doc! {"jobName": "process"})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(now.get_document("status").unwrap(), &status);
    assert_eq!(now.get_datetime("createdAt").unwrap(), &created);
    assert!(!now.contains_key("isActive"));
    assert_eq!(listeners.count_documents(doc! {}).await.unwrap(), 3);

    let shown = command(&setup, &["list"]).await;
    assert!(
        shown.output.contains("x: active, 5 matched, 4 produced"),
        "{}",
        shown.output
    );
    let id = now.get_object_id("_id").unwrap().to_hex();
    let shown = command(&setup, &["show", &id]).await;
    assert!(shown.output.contains("matched: 5"), "{}", shown.output);
    assert_eq!(command(&setup, &["show", "nobody"]).await.code, Some(1));
}

#[tokio::test]
async fn what_is_exported_changes_nothing_when_it_is_applied() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    let listeners = db.documents("listeners");
    let regex = bson::Regex {
        pattern: "^a: [b]".try_into().unwrap(),
        options: "i".try_into().unwrap(),
    };
    let decimal: bson::Decimal128 = "1.50".parse().unwrap();
    let odd = doc! {
        "_id": {"z": 1, "a": 2}, "collection": "c: d", "jobName": "j",
        "filter": {"z": 1_i64, "a": {"y": 1.0, "b": null}, "t": "yes", "n": "007", "r": regex, "d": decimal, "s": "# no\n comment"},
        "metadata": {"when": DateTime::from_millis(0), "empty": {}, "list": []}, "status": {"a": 1}, "__v": 3,
    };
    listeners.insert_one(&odd).await.unwrap();
    listeners
        .insert_one(doc! {"_id": 1, "kind": "database", "database": "x", "enabled": false})
        .await
        .unwrap();
    let before = db.contents("listeners").await;
    for (args, name) in [
        (&["export"][..], "e.yaml"),
        (&["export", "--json"], "e.json"),
    ] {
        let exported = command(&setup, args).await;
        assert_eq!(exported.code, Some(0), "{}", exported.output);
        assert!(!exported.output.contains("status"), "{}", exported.output);
        let path = file(&setup, name, &exported.output);
        let applied = command(&setup, &["apply", "--prune", "-f", &path]).await;
        assert!(
            applied
                .output
                .contains("0 created, 0 changed, 0 deleted, 2 unchanged"),
            "{}\n{}",
            exported.output,
            applied.output
        );
    }
    assert_eq!(db.contents("listeners").await, before);
}

#[tokio::test]
async fn lint_needs_no_server_and_names_everything_that_is_wrong() {
    let setup = support::Setup::empty();
    let right = file(&setup, "right.yaml", FILE);
    let linted = command(&setup, &["lint", &right]).await;
    assert_eq!(linted.code, Some(0), "{}", linted.output);
    let wrong = file(
        &setup,
        "wrong.yaml",
        "- collection: a\n  fliter: {}\n- jobName: 'x y'\n  collection: b\n",
    );
    let linted = command(&setup, &["lint", &right, &wrong]).await;
    assert_eq!(linted.code, Some(2), "{}", linted.output);
    for part in [
        "wrong.yaml: listeners[0]: fliter is no field; did you mean filter?",
        "listeners[0]: jobName: is missing",
        "listeners[1]: jobName: Kafka allows no",
    ] {
        assert!(linted.output.contains(part), "{part}: {}", linted.output);
    }
    let linted = command(&setup, &["lint", "--topics", "own.*", &right]).await;
    assert!(
        linted
            .output
            .contains("listeners[0]: topic: jobs.process is none that"),
        "{}",
        linted.output
    );
}

#[tokio::test]
async fn an_event_is_tried_without_a_server_and_against_the_collection() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let setup = listening(&db, kafka);
    let rules = file(
        &setup,
        "l.json",
        r#"{"collection": "a", "jobName": "j", "topic": "jobs.{database}", "filter": {"n": {"$gt": 2}}, "operationType": ["insert", "delete"]}"#,
    );
    let three = file(&setup, "three.json", r#"{"_id": 1, "n": 3}"#);
    let one = file(&setup, "one.json", r#"{"_id": 1, "n": 1}"#);
    let nowhere = support::Setup::empty();
    let tried = command(&nowhere, &["test", &rules, "--document", &three]).await;
    assert_eq!(tried.code, Some(0), "{}", tried.output);
    assert!(
        tried.output.contains("makes a record in jobs.test"),
        "{}",
        tried.output
    );
    for (args, why) in [
        (vec!["--document", &*one], "the filter does not match"),
        (
            vec!["--document", &*three, "--operation", "update"],
            "it takes insert, delete",
        ),
        (
            vec!["--document", &*three, "--operation", "delete"],
            "without a pre-image",
        ),
        (
            vec!["--document", &*three, "--collection", "b"],
            "it listens to collection a",
        ),
    ] {
        let args: Vec<_> = ["test", &*rules].into_iter().chain(args).collect();
        let tried = command(&nowhere, &args).await;
        assert_eq!(tried.code, Some(1), "{}", tried.output);
        assert!(tried.output.contains(why), "{why}: {}", tried.output);
    }
    let event = file(
        &setup,
        "event.json",
        r#"{"operationType": "insert", "ns": {"db": "d", "coll": "a"}, "documentKey": {"_id": 1}, "fullDocument": {"_id": 1, "n": 9}}"#,
    );
    command(&setup, &["apply", "-f", &rules]).await;
    let listeners = db.documents("listeners");
    let id = listeners
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap()
        .get_object_id("_id")
        .unwrap()
        .to_hex();
    let tried = command(&setup, &["test", &id, "--event", &event]).await;
    assert!(
        tried.output.contains("makes a record in jobs.d"),
        "{}",
        tried.output
    );
}
