//! What was there before the stream: copied beside it, and never newer or older than it.

mod asked;
mod crashes;
mod disturbed;
mod documents;
mod ends;
mod judge;
mod kills;
mod races;
mod ranges;
mod renames;
mod steered;

use crate::support::{Database, Kafka, PATIENCE, Record, Setup, Tailwater, kafka};
use bson::{Bson, Document, doc};
use std::collections::BTreeMap;

/// One topic of one partition, so that the order of the records is that of the stream.
fn setup(db: &Database, kafka: &Kafka) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("JSON_MODE", "canonical")
        .env("COMMIT_INTERVAL_MS", 100);
    (setup, topic)
}

/// A collection as a consumer knows it that goes by the rule for all: what is not above the last number that it saw for
/// a document it ignores.
#[derive(Default)]
struct Fold {
    documents: BTreeMap<String, (u64, Option<Document>)>,
}

impl Fold {
    fn of(records: &[Record], collection: &str) -> Self {
        let mut fold = Self::default();
        for record in records {
            if record.value["collection"] == collection {
                fold.take(record);
            }
        }
        fold
    }

    fn take(&mut self, record: &Record) {
        let key = record.key.to_string();
        let seq = record.seq();
        if self
            .documents
            .get(&key)
            .is_some_and(|(last, _)| seq <= *last)
        {
            return;
        }
        // Also null where it was deleted before the server looked it up: the delete follows.
        let whole = record.value["fullDocument"].as_object().cloned();
        let document = whole.map(|whole| Document::try_from(whole).unwrap());
        self.documents.insert(key, (seq, document));
    }

    /// What is there, in no order.
    fn contents(&self) -> Vec<String> {
        let documents = self
            .documents
            .values()
            .filter_map(|(_, document)| document.as_ref());
        let mut texts: Vec<_> = documents.map(text).collect();
        texts.sort();
        texts
    }
}

fn text(document: &Document) -> String {
    Bson::Document(document.clone())
        .into_canonical_extjson()
        .to_string()
}

async fn contents(db: &Database, collection: &str) -> Vec<String> {
    let mut texts: Vec<_> = db.contents(collection).await.iter().map(text).collect();
    texts.sort();
    texts
}

fn is_row(record: &Record) -> bool {
    record.headers.contains_key("tw-snapshot")
}

/// The records make what the collection holds now.
async fn assert_equal(records: &[Record], db: &Database, collection: &str) {
    let there = contents(db, collection).await;
    assert_eq!(
        Fold::of(records, collection).contents(),
        there,
        "{collection}"
    );
}

/// Waits until the records make what the collection holds, as long as nobody writes to it.
async fn wait_until_equal(db: &Database, kafka: &Kafka, topic: &str, collection: &str) {
    let there = contents(db, collection).await;
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let fold = Fold::of(&kafka.records(&[topic]).await, collection).contents();
        if fold == there {
            return;
        }
        let lacking: Vec<_> = there
            .iter()
            .filter(|one| !fold.contains(one))
            .take(3)
            .collect();
        let strange: Vec<_> = fold
            .iter()
            .filter(|one| !there.contains(one))
            .take(3)
            .collect();
        assert!(
            std::time::Instant::now() < end,
            "{} there, {} by the records; lacking {lacking:?}; strange {strange:?}",
            there.len(),
            fold.len()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_comes_with_what_changes() {
    let (db, kafka) = (crate::support::database().await, kafka().await);
    let orders = db.documents("orders");
    let documents = (0..1000).map(|id| doc! {"_id": id, "n": 0, "text": "x".repeat(100)});
    orders.insert_many(documents).await.unwrap();
    let (setup, topic) = setup(&db, kafka);
    let setup = setup
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_CHUNK_BYTES", "64KiB");
    let tailwater = setup.start().await;
    for id in 0..200 {
        let changed = doc! {"$set": {"n": 1}};
        orders
            .update_one(doc! {"_id": id * 7 % 1000}, changed)
            .await
            .unwrap();
        orders
            .delete_one(doc! {"_id": id * 5 % 1000})
            .await
            .unwrap();
        orders.insert_one(doc! {"_id": 1000 + id}).await.unwrap();
    }
    let snapshot = tailwater.wait_for_snapshot().await;
    wait_until_equal(&db, kafka, &topic, "orders").await;
    assert_eq!(snapshot["reason"], "initial");
    assert_eq!(snapshot["collections"], 1);
    let records = kafka.records(&[&topic]).await;
    let rows: Vec<_> = records.iter().filter(|record| is_row(record)).collect();
    assert!(rows.len() >= 500, "{}", rows.len());
    assert_eq!(snapshot["rows"], rows.len());
    for row in &rows {
        assert_eq!(row.value["operationType"], "read");
        assert_eq!(row.header("tw-op"), "read");
        assert_eq!(row.header("tw-snapshot"), snapshot["id"]);
        assert!(
            row.header("tw-id")
                .starts_with(&format!("{}/", row.header("tw-snapshot")))
        );
        assert_eq!(
            row.value["documentKey"]["_id"],
            row.value["fullDocument"]["_id"]
        );
    }
    tailwater.stop().await;

    // It was taken: a restart takes none.
    let tailwater = setup.start().await;
    orders.insert_one(doc! {"_id": "last"}).await.unwrap();
    wait_until_equal(&db, kafka, &topic, "orders").await;
    let again = tailwater.wait_for_snapshot().await;
    assert_eq!(again["id"], snapshot["id"]);
    let records = kafka.records(&[&topic]).await;
    assert_eq!(
        records.iter().filter(|record| is_row(record)).count(),
        rows.len()
    );
    tailwater.stop().await;
}
