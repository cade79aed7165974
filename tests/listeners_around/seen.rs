//! How listeners are seen: in their documents, over HTTP, in the log and by `check`.

use super::{listener, listening, topic};
use crate::support::{self, Database, PATIENCE, eventually};
use bson::{Bson, Document, doc};

/// What a stream has written of a listener, once it is as it should be.
async fn status(db: &Database, id: &str, is_so: impl Fn(&Document) -> bool) -> Document {
    let listeners = db.documents("listeners");
    eventually(PATIENCE, &format!("the status of {id}"), async || {
        let found = listeners.find_one(doc! {"_id": id}).await.unwrap()?;
        let streams = found
            .get_document("status")
            .ok()?
            .get_document("streams")
            .ok()?;
        let (_, status) = streams.iter().next()?;
        let status = status.as_document()?.clone();
        is_so(&status).then_some(status)
    })
    .await
}

fn is(state: &'static str) -> impl Fn(&Document) -> bool {
    move |status| status.get_str("state").is_ok_and(|is| is == state)
}

#[tokio::test]
async fn a_listener_shows_how_it_does_and_nothing_comes_of_that() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    listeners
        .insert_one(listener(&db, "l", "data"))
        .await
        .unwrap();
    let mut wrong = listener(&db, "w", "data");
    wrong.insert("filter", doc! {"$where": "1"});
    listeners.insert_one(wrong).await.unwrap();
    // Whatever else is watched gets records, too: of a write of Tailwater's own there must be none.
    let all = db.topic("all");
    let setup = listening(&db, kafka)
        .env("KAFKA_TOPIC_INSERT", &all)
        .env("KAFKA_TOPIC_UPDATE", &all);
    let mut process = setup.start().await;
    status(&db, "l", is("active")).await;
    let invalid = status(&db, "w", is("invalid")).await;
    assert!(
        invalid.get_str("reason").unwrap().contains("$where"),
        "{invalid}"
    );
    db.documents("data")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let counted = status(&db, "l", |status| {
        status.get_i64("produced").ok() == Some(1)
    })
    .await;
    assert_eq!(counted.get_i64("matched").ok(), Some(1));
    assert!(matches!(
        counted.get("lastEventAt"),
        Some(Bson::DateTime(_))
    ));
    let found = listeners
        .find_one(doc! {"_id": "l"})
        .await
        .unwrap()
        .unwrap();
    let locks = found
        .get_document("lockInfo")
        .unwrap()
        .get_document("streams")
        .unwrap();
    let (_, lock) = locks.iter().next().unwrap();
    assert!(
        !lock
            .as_document()
            .unwrap()
            .get_str("instanceId")
            .unwrap()
            .is_empty()
    );

    // Over HTTP.
    let said = process.get("/health/subscriptions").await.json();
    let told = &said["listeners"];
    assert_eq!(
        (
            told["total"].as_u64(),
            told["active"].as_u64(),
            told["failed"].as_u64()
        ),
        (Some(2), Some(1), Some(1)),
        "{said}"
    );
    assert_eq!(told["invalid"][0]["id"], "w", "{said}");
    let page = process.get("/metrics").await;
    assert_eq!(
        page.metric("tailwater_listeners", &[("state", "active")]),
        Some(1.0)
    );
    assert_eq!(
        page.metric(
            "tailwater_listener_events_total",
            &[("outcome", "produced")]
        ),
        Some(1.0)
    );

    // A deleted one does not come back.
    let off = doc! {"$set": {"isActive": false}};
    listeners.update_one(doc! {"_id": "l"}, off).await.unwrap();
    status(&db, "l", is("disabled")).await;
    listeners.delete_one(doc! {"_id": "l"}).await.unwrap();
    eventually(PATIENCE, "one listener less", async || {
        let said = process.get("/health/subscriptions").await.json();
        (said["listeners"]["total"] == 1).then_some(())
    })
    .await;
    let beat = process.wait_for_event("listeners_heartbeat").await;
    assert!(beat.contains("activeListeners="), "{beat}");
    assert_eq!(
        listeners.count_documents(doc! {"_id": "l"}).await.unwrap(),
        0
    );
    assert_eq!(kafka.records(&[&topic(&db, "l")]).await.len(), 1);
    let records = kafka.records(&[&all]).await;
    let of: Vec<_> = records
        .iter()
        .map(|record| record.value["collection"].clone())
        .collect();
    assert_eq!(of, ["data"], "no record of a listener's own changes");
    process.stop().await;
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    let document = listener(&db, "l", "data");
    listeners.insert_one(&document).await.unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/listeners.example.json");
    let setup = listening(&db, kafka).env("LISTENERS_BOOTSTRAP", example);
    let mut process = setup.args(&["run", "--dry-run"]).start().await;
    process.wait_for_event("listeners_heartbeat").await;
    assert_eq!(db.contents("listeners").await, [document]);
    process.stop().await;
}

#[tokio::test]
async fn a_check_names_the_listeners_that_are_invalid() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let listeners = db.documents("listeners");
    let mut wrong = listener(&db, "w", "data");
    wrong.insert("topic", "elsewhere");
    listeners.insert_one(wrong).await.unwrap();
    listeners
        .insert_one(listener(&db, "l", "data"))
        .await
        .unwrap();
    let checked = listening(&db, kafka).args(&["check"]).run().await;
    assert_eq!(checked.code, Some(0), "{}", checked.output);
    for part in ["mongodb.listeners", "w: ", "elsewhere", "1 of 2"] {
        assert!(checked.output.contains(part), "{part}: {}", checked.output);
    }
}
