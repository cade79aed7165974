//! Replies that are not what a change stream sends, and events of servers to come. A real server is behind;
//! a proxy changes what it says.

use crate::support::wire::{Wire, name};
use crate::support::{self, Database, Kafka, PATIENCE, Setup, Tailwater, mongo};
use bson::{Bson, Document, doc};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Scene {
    db: Database,
    kafka: &'static Kafka,
    wire: Wire,
}

impl Scene {
    async fn new() -> Self {
        Self {
            db: support::database().await,
            kafka: support::kafka().await,
            wire: Wire::before(mongo().await.addr()).await,
        }
    }

    fn setup(&self) -> Setup {
        Tailwater::on(&self.db, self.kafka)
            .env("MONGODB_URI", self.wire.uri_of(self.db.name()))
            .env("KAFKA_DB_CHANGES_TOPIC", self.topic())
            .env("RECONNECT_DELAY_MS", 5)
    }

    fn topic(&self) -> String {
        self.db.topic("changes")
    }

    async fn insert(&self, id: i32) {
        let things = self.db.documents("things");
        things.insert_one(doc! {"_id": id}).await.unwrap();
    }

    /// Changes the first `times` replies that hold events.
    fn change(
        &self,
        times: usize,
        change: impl Fn(&mut Document) + Send + 'static,
    ) -> Arc<AtomicUsize> {
        let left = Arc::new(AtomicUsize::new(times));
        let counted = Arc::clone(&left);
        self.wire.alter(move |command, reply| {
            if name(command) == "getMore"
                && counted.load(Ordering::Relaxed) > 0
                && has_events(reply)
            {
                counted.fetch_sub(1, Ordering::Relaxed);
                change(reply);
            }
        });
        left
    }

    /// The ids of all records so far.
    async fn ids(&self, at_least: usize) -> Vec<serde_json::Value> {
        let topic = self.topic();
        self.kafka.wait_for_records(&[&topic], at_least).await;
        let records = self.kafka.records(&[&topic]).await;
        let id = |record: &support::Record| record.key["_id"].clone();
        records.iter().map(id).collect()
    }
}

fn batch(reply: &mut Document) -> Option<&mut Vec<Bson>> {
    let cursor = reply.get_document_mut("cursor").ok()?;
    cursor.get_array_mut("nextBatch").ok()
}

fn has_events(reply: &mut Document) -> bool {
    batch(reply).is_some_and(|events| !events.is_empty())
}

fn first_event(reply: &mut Document) -> &mut Document {
    let events = batch(reply).expect("a reply with events");
    events[0].as_document_mut().expect("an event")
}

fn without_token(reply: &mut Document) {
    first_event(reply).remove("_id");
}

fn split(reply: &mut Document, fragment: i32, of: i32) {
    first_event(reply).insert("splitEvent", doc! {"fragment": fragment, "of": of});
}

type Change = fn(&mut Document);

const DAMAGES: [(&str, Change); 8] = [
    ("without `_id`", without_token),
    ("a token of no fields", |reply| {
        first_event(reply).insert("_id", doc! {});
    }),
    ("without `operationType`", |reply| {
        first_event(reply).remove("operationType");
    }),
    ("an event that is a number", |reply| {
        batch(reply).expect("events")[0] = Bson::Int32(1);
    }),
    ("no post-batch token", |reply| {
        let cursor = reply.get_document_mut("cursor").unwrap();
        cursor.insert("postBatchResumeToken", 1);
    }),
    ("fragment 1 of 0", |reply| split(reply, 1, 0)),
    ("fragment 3 of 2", |reply| split(reply, 3, 2)),
    ("fragment 2 first", |reply| split(reply, 2, 2)),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_once_is_read_again_and_nothing_is_lost_or_repeated() {
    let scene = Scene::new().await;
    let tailwater = scene.setup().start().await;
    for (id, (what, damage)) in DAMAGES.into_iter().enumerate() {
        scene.wire.heal();
        let left = scene.change(1, damage);
        scene.insert(id as i32).await;
        let ids = scene.ids(id + 1).await;
        assert_eq!(ids, (0..=id).collect::<Vec<_>>(), "{what}");
        assert_eq!(left.load(Ordering::Relaxed), 0, "{what}");
    }
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_twice_stops_the_stream_with_a_code_of_its_own() {
    for (what, damage) in DAMAGES {
        let scene = Scene::new().await;
        let setup = scene.setup();
        let mut tailwater = setup.start().await;
        scene.insert(0).await;
        scene.ids(1).await;
        scene.change(usize::MAX, damage);
        scene.insert(1).await;
        let exit = tailwater.wait_exit(PATIENCE).await;
        assert_eq!(exit.code, Some(13), "{what}: {}", exit.output);
        assert!(
            exit.output.contains("nothing was skipped"),
            "{what}: {}",
            exit.output
        );
        assert!(!exit.output.contains("CHANGE_STREAM_PIPELINE"), "{what}");

        scene.wire.heal();
        let tailwater = setup.start().await;
        assert_eq!(scene.ids(2).await, [0, 1], "{what}");
        tailwater.stop().await;
    }
}

/// With stages of the user's, they are who takes a field away.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_pipeline_a_missing_token_is_the_pipelines() {
    let scene = Scene::new().await;
    let stages = r#"[{"$match":{"operationType":"insert"}}]"#;
    let setup = scene.setup().env("CHANGE_STREAM_PIPELINE", stages);
    let mut tailwater = setup.start().await;
    scene.change(usize::MAX, without_token);
    scene.insert(1).await;
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(2), "{}", exit.output);
    assert!(
        exit.output.contains("CHANGE_STREAM_PIPELINE"),
        "{}",
        exit.output
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_event_inside_an_open_split_is_not_lost() {
    let scene = Scene::new().await;
    let tailwater = scene.setup().start().await;
    // The fragment's rest never comes: the next event is another one.
    let left = scene.change(1, |reply| split(reply, 1, 2));
    scene.insert(0).await;
    scene.insert(1).await;
    assert_eq!(scene.ids(2).await, [0, 1]);
    assert_eq!(left.load(Ordering::Relaxed), 0);
    tailwater.stop().await;
}

/// Bytes that are no BSON, wherever they break.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_broken_bytes_is_read_again() {
    let scene = Scene::new().await;
    let tailwater = scene.setup().start().await;
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| {
            // A type that there is not, in the place of `cursor`'s or what comes first.
            bytes[4] = 0x7e;
        },
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 8].fill(0xff);
        },
    ];
    for (id, damage) in damages.into_iter().enumerate() {
        scene.wire.heal();
        let left = AtomicUsize::new(1);
        scene.wire.alter_bytes(move |command, bytes| {
            if name(command) == "getMore" && left.swap(0, Ordering::Relaxed) == 1 {
                damage(bytes);
            }
        });
        scene.insert(id as i32).await;
        assert_eq!(scene.ids(id + 1).await, (0..=id).collect::<Vec<_>>());
    }
    tailwater.stop().await;
}

fn of_tomorrow(reply: &mut Document) {
    first_event(reply).insert("operationType", "teleport");
}

fn of_no_document(reply: &mut Document) {
    of_tomorrow(reply);
    first_event(reply).remove("documentKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_operation_on_a_document_is_a_record_error() {
    let scene = Scene::new().await;
    let letters = scene.db.topic("letters");
    let setup = scene.setup();
    let mut tailwater = setup.start().await;
    scene.change(usize::MAX, of_tomorrow);
    scene.insert(1).await;
    let exit = tailwater.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(8), "{}", exit.output);
    assert!(exit.output.contains("teleport"), "{}", exit.output);

    let dlq = setup
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_DLQ_TOPIC", &letters);
    let tailwater = dlq.start().await;
    let letter = &scene.kafka.wait_for_records(&[&letters], 1).await[0];
    assert_eq!(letter.header("tw-dlq-reason"), "unknown_operation");
    assert_eq!(letter.header("tw-op"), "teleport");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_operation_without_a_document_is_carried_like_a_schema_change() {
    let scene = Scene::new().await;
    let ddl = scene.db.topic("ddl");
    let tailwater = scene.setup().start().await;
    let left = scene.change(2, of_no_document);
    for id in 0..3 {
        scene.insert(id).await;
        scene.wire.seen("getMore");
    }
    // Where a reply holds several events only its first is changed.
    let ids = scene.ids(1).await;
    assert!(ids.contains(&2.into()), "{ids:?}");
    let page = tailwater.get("/metrics").await.body;
    let passed = "\ntailwater_events_without_record_total ";
    let count = page
        .split(passed)
        .nth(1)
        .and_then(|rest| rest.lines().next());
    assert_ne!(count, Some("0"), "{page}");
    let exit = tailwater.stop().await;
    let said = exit.output.matches("operation=\"teleport\"").count();
    assert!(said >= 1 && exit.output.contains("WARN"), "{}", exit.output);
    drop(left);

    let scene = Scene::new().await;
    let tailwater = scene.setup().env("KAFKA_TOPIC_DDL", &ddl).start().await;
    scene.change(1, of_no_document);
    scene.insert(1).await;
    let record = &scene.kafka.wait_for_records(&[&ddl], 1).await[0];
    assert_eq!(record.value["operationType"], "teleport");
    tailwater.stop().await;
}
