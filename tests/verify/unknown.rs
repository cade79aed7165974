//! What the topics cannot tell is unknown, and no alarm.

use super::{DIFFERENT, EQUAL, UNFINISHED, arrived, figures, of, setup, verify};
use crate::support::{self, Tailwater};
use bson::doc;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_has_taken_is_unknown_and_what_follows_is_judged() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka);
    let topic = db.topic("changes");
    let tailwater = setup.start().await;
    let all = (0..10).map(|n| doc! {"_id": n});
    db.documents("users").insert_many(all).await.unwrap();
    arrived(kafka, &topic, 10).await;
    kafka.delete_records(&topic, &[]).await;
    let more = (10..15).map(|n| doc! {"_id": n});
    db.documents("users").insert_many(more).await.unwrap();
    db.documents("users")
        .update_one(doc! {"_id": 3}, doc! {"$set": {"n": 1}})
        .await
        .unwrap();
    arrived(kafka, &topic, 6).await;
    let report = verify(&setup, &["--complete"], EQUAL).await;
    let users = of(&report, "users");
    assert_eq!(figures(users), [0; 5], "{report:#}");
    assert_eq!(
        (&users["equal"], &users["unknown"]),
        (&json!(6), &json!({"retention": 9}))
    );
    assert!(
        report["notes"].to_string().contains("offset 0"),
        "{report:#}"
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_stream_was_never_seen_unless_it_is_said_to_be() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka);
    let topic = db.topic("changes");
    let documents = db.documents("users");
    documents
        .insert_many([doc! {"_id": 1}, doc! {"name": "Ada"}])
        .await
        .unwrap();
    let tailwater = setup.start().await;
    documents.insert_one(doc! {"_id": 2}).await.unwrap();
    arrived(kafka, &topic, 1).await;
    let report = verify(&setup, &[], EQUAL).await;
    assert_eq!(
        of(&report, "users")["unknown"],
        json!({"never_seen": 2}),
        "{report:#}"
    );
    let report = verify(&setup, &["--complete"], DIFFERENT).await;
    assert_eq!(figures(of(&report, "users")), [2, 0, 0, 0, 0], "{report:#}");
    let few = ["--complete", "--filter", r#"{"_id": {"$gte": 2}}"#];
    let report = verify(&setup, &few, EQUAL).await;
    assert_eq!(of(&report, "users")["equal"], 1, "{report:#}");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stands_still_is_no_difference() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka);
    let topic = db.topic("changes");
    let tailwater = setup.start().await;
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    arrived(kafka, &topic, 1).await;
    tailwater.stop().await;
    db.documents("users")
        .insert_one(doc! {"_id": 2})
        .await
        .unwrap();
    db.documents("users")
        .delete_one(doc! {"_id": 1})
        .await
        .unwrap();
    let report = verify(&setup, &["--complete", "--wait", "2"], UNFINISHED).await;
    assert_eq!(
        of(&report, "users")["unknown"],
        json!({"unsettled": 2}),
        "{report:#}"
    );
    assert!(
        report["notes"].to_string().contains("does it run?"),
        "{report:#}"
    );
    let tailwater = setup.start().await;
    let report = verify(&setup, &["--complete"], EQUAL).await;
    assert_eq!(of(&report, "users")["unknown"], json!({}), "{report:#}");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_without_a_document_cannot_be_judged() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let setup = setup(&db, kafka).env("FULL_DOCUMENT", "default");
    let topic = db.topic("changes");
    let tailwater = setup.start().await;
    let documents = db.documents("users");
    documents
        .insert_many([doc! {"_id": 1}, doc! {"_id": 2}])
        .await
        .unwrap();
    documents
        .update_one(doc! {"_id": 1}, doc! {"$set": {"a": 1}})
        .await
        .unwrap();
    arrived(kafka, &topic, 3).await;
    let report = verify(&setup, &["--complete"], EQUAL).await;
    let users = of(&report, "users");
    assert_eq!(
        (&users["equal"], &users["unknown"]),
        (&json!(1), &json!({"no_document": 1}))
    );
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused_with_a_sentence() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let staged = setup(&db, kafka).env(
        "CHANGE_STREAM_PIPELINE",
        r#"[{"$unset": "fullDocument.secret"}]"#,
    );
    let exit = staged.args(&["verify"]).run().await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(
        exit.output.contains("CHANGE_STREAM_PIPELINE"),
        "{}",
        exit.output
    );
    let exit = setup(&db, kafka)
        .args(&["verify", "--filter", "{"])
        .run()
        .await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    let none = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", db.topic("none"));
    let exit = none.args(&["verify"]).run().await;
    assert_eq!(exit.code, Some(4), "{}", exit.output);
    assert!(exit.output.contains(&db.topic("none")), "{}", exit.output);
}
