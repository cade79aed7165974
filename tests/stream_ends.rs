//! The end of a stream that does not show: an `invalidate` that is hidden, and cursors that the server closes
//! again and again.

use crate::support::wire::{self, Wire};
use crate::support::{
    self, Database, PATIENCE, Record, Setup, Tailwater, eventually, mongo, with_real_tokens,
};
use bson::{Bson, Document, doc};

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}

async fn insert(db: &Database, ids: std::ops::Range<i32>) {
    for id in ids {
        let things = db.documents("things");
        things.insert_one(doc! {"_id": id}).await.unwrap();
    }
}

async fn setup(db: &Database, uri: &str) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, support::kafka().await)
        .env("MONGODB_URI", uri)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("RECONNECT_DELAY_MS", 10);
    (setup, topic)
}

/// What opens a change stream tells which one a `getMore` is of: none but that of the reader asks for
/// images.
fn is_of_the_reader(command: &Document) -> Option<bool> {
    Some(wire::change_stream(command)?.contains_key("fullDocument"))
}

/// Leaves the events of these operations out of every reply, and the token that would lead past them.
fn hide(wire: &Wire, operations: &'static [&'static str], everywhere: bool) {
    let mut readers = std::collections::BTreeSet::new();
    wire.alter(move |command, reply| {
        let Ok(cursor) = reply.get_document_mut("cursor") else {
            return;
        };
        let id = cursor.get_i64("id").unwrap_or_default();
        let of_the_reader = match command.get_i64("getMore") {
            Ok(asked) => readers.contains(&asked),
            Err(_) => is_of_the_reader(command).unwrap_or(false),
        };
        if of_the_reader && id != 0 {
            readers.insert(id);
        }
        if !of_the_reader && !everywhere {
            return;
        }
        let is_hidden = |event: &Bson| {
            let operation = event
                .as_document()
                .and_then(|e| e.get_str("operationType").ok());
            operation.is_some_and(|operation| operations.contains(&operation))
        };
        for batch in ["firstBatch", "nextBatch"] {
            if let Ok(events) = cursor.get_array_mut(batch) {
                events.retain(|event| !is_hidden(event));
            }
        }
        if id == 0 {
            cursor.remove("postBatchResumeToken");
        }
    });
}

async fn a_hidden_end_is_passed(
    wire: &Wire,
    operations: &'static [&'static str],
    everywhere: bool,
) {
    let (db, kafka) = (support::database().await, support::kafka().await);
    hide(wire, operations, everywhere);
    let (setup, topic) = setup(&db, &wire.uri_of(db.name())).await;
    let mut tailwater = setup.start().await;
    insert(&db, 0..3).await;
    db.drop().await.unwrap();
    insert(&db, 3..6).await;
    let line = tailwater.wait_for_event("drop_passed").await;
    assert!(line.contains("WARN"), "{line}");
    let records = kafka.wait_for_records(&[&topic], 6).await;
    assert_eq!(ids(&records), (0..6).collect::<Vec<_>>());
    eventually(PATIENCE, "it is healthy again", async || {
        let health = tailwater.get("/health").await.json();
        (health["status"] == "healthy").then_some(())
    })
    .await;
    tailwater.stop().await;

    // Also what happened while it was away, twice.
    insert(&db, 6..8).await;
    db.drop().await.unwrap();
    insert(&db, 8..10).await;
    db.drop().await.unwrap();
    insert(&db, 10..12).await;
    let tailwater = setup.start().await;
    let records = kafka.wait_for_records(&[&topic], 12).await;
    assert_eq!(ids(&records), (0..12).collect::<Vec<_>>());
    tailwater.stop().await;
    assert_eq!(kafka.records(&[&topic]).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_invalidate_is_passed_and_nothing_is_lost() {
    // By what hides it everywhere, with the drop in sight; then by the stages of the stream, with both hidden.
    for (operations, everywhere) in [
        (&["invalidate"][..], true),
        (&["invalidate", "dropDatabase", "drop"], false),
    ] {
        let wire = Wire::before(mongo().await.addr()).await;
        a_hidden_end_is_passed(&wire, operations, everywhere).await;
        let wire = with_real_tokens(mongo().await).await;
        a_hidden_end_is_passed(&wire, operations, everywhere).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_closed_for_no_reason_is_named_and_goes_on_when_that_ends() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let wire = Wire::before(mongo().await.addr()).await;
    let (setup, topic) = setup(&db, &wire.uri_of(db.name())).await;
    let mut tailwater = setup.start().await;
    insert(&db, 0..2).await;
    kafka.wait_for_records(&[&topic], 2).await;
    wire.alter(|_, reply| {
        if let Ok(cursor) = reply.get_document_mut("cursor") {
            cursor.insert("id", 0_i64);
            for batch in ["firstBatch", "nextBatch"] {
                if let Ok(events) = cursor.get_array_mut(batch) {
                    events.clear();
                }
            }
            cursor.remove("postBatchResumeToken");
        }
    });
    let reason = "mongodb closes the change stream again and again without an event";
    tailwater.wait_for_log(reason).await;
    let health = tailwater.get("/health").await.json();
    assert_eq!(health["reason"], reason);
    insert(&db, 2..4).await;
    wire.heal();
    let records = kafka.wait_for_records(&[&topic], 4).await;
    assert_eq!(ids(&records), [0, 1, 2, 3]);
    tailwater.stop().await;
}

/// The stand-in applies the user's stages to all events, as real servers do.
#[tokio::test(flavor = "multi_thread")]
async fn stages_of_the_users_cannot_hide_the_end_of_the_stream() {
    for stages in [
        r#"[{"$redact":{"$cond":[{"$in":["$operationType",["insert","update"]]},"$$KEEP","$$PRUNE"]}}]"#,
        r#"[{"$match":{"operationType":"insert"}}]"#,
        r#"[{"$project":{"operationType":1,"ns":1,"documentKey":1}}]"#,
        r#"[{"$replaceWith":{"_id":"$_id","operationType":"$operationType","ns":"$ns","documentKey":"$documentKey"}}]"#,
    ] {
        let (db, kafka) = (support::database().await, support::kafka().await);
        let (setup, topic) = setup(&db, db.uri()).await;
        let tailwater = setup.env("CHANGE_STREAM_PIPELINE", stages).start().await;
        insert(&db, 0..2).await;
        db.drop().await.unwrap();
        insert(&db, 2..4).await;
        let records = kafka.wait_for_records(&[&topic], 4).await;
        assert_eq!(ids(&records), [0, 1, 2, 3], "{stages}");
        let timed = |record: &Record| record.value["timestamp"].is_string();
        assert!(records.iter().all(timed), "{stages}");
        let exit = tailwater.stop().await;
        assert!(
            exit.output.contains("invalidated=true"),
            "{stages}: {}",
            exit.output
        );
        assert!(
            !exit.output.contains("behind the drop"),
            "{stages}: {}",
            exit.output
        );
    }
}
