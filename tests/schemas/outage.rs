//! A registry that is gone, or lets nobody in.

use super::{field, on, read, topic};
use crate::support::{self, PATIENCE, Registry, eventually};
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_killed_holds_up_what_needs_it_and_is_named() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let mut registry = Registry::start().await;
    let mut tailwater = on(&db, kafka, &registry).start().await;
    let (users, topic) = (db.documents("users"), topic(&db, "users"));
    users.insert_one(doc! {"_id": 1, "n": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    registry.kill9();
    // What is like before needs nobody.
    users.insert_one(doc! {"_id": 2, "n": 2}).await.unwrap();
    kafka.wait_for_records(&[&topic], 2).await;
    users.insert_one(doc! {"_id": 3, "new": "x"}).await.unwrap();
    users.insert_one(doc! {"_id": 4, "n": 4}).await.unwrap();
    let line = tailwater.wait_for_log("a schema is needed, waiting").await;
    assert!(line.contains("the schema registry at"), "{line}");
    eventually(PATIENCE, "health names it", async || {
        let health = tailwater.get("/health").await;
        let is_named = health
            .body
            .contains("waiting for the schema registry since");
        is_named.then_some(())
    })
    .await;
    let detailed = tailwater.get("/health/detailed").await.body;
    assert!(detailed.contains("cannot be reached"), "{detailed}");
    let metrics = tailwater.get("/metrics").await;
    let waits = metrics.metric("tailwater_waiting_seconds", &[("for", "registry")]);
    assert!(waits.is_some_and(|seconds| seconds > 0.0), "{waits:?}");
    assert_eq!(kafka.records(&[&topic]).await.len(), 2);

    registry.start_again().await;
    let records = kafka.wait_for_records(&[&topic], 4).await;
    let of = |id: i32| {
        records
            .iter()
            .find(|record| record.key["_id"] == id)
            .unwrap()
    };
    let (_, value) = read(&registry, of(3)).await;
    assert_eq!(field(&value, "fullDocument.new"), "x");
    eventually(PATIENCE, "health is well again", async || {
        let health = tailwater.get("/health").await;
        (health.json()["status"] == "healthy").then_some(())
    })
    .await;
    tailwater.stop().await;
}

/// Neither is a stop held up by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_registry() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let mut registry = Registry::start().await;
    let setup = on(&db, kafka, &registry);
    let mut tailwater = setup.start().await;
    registry.kill9();
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    tailwater.wait_for_log("a schema is needed, waiting").await;
    let exit = tailwater.stop().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    // At the start it is waited for, too, and the change is not lost.
    let mut tailwater = setup.spawn();
    tailwater.wait_for_log("not ready yet, waiting").await;
    registry.start_again().await;
    tailwater.wait_ready().await;
    let topic = topic(&db, "users");
    kafka.wait_for_records(&[&topic], 1).await;
    tailwater.stop().await;
}
