//! Moving in and out: a connector under writes, then Tailwater, then the connector again.

use super::properties;
use crate::support::{self, Connect, Database, Kafka, Tailwater};
use bson::doc;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

const DOCUMENTS: i32 = 7;
const EACH: i64 = 40;

/// Writes a counter into one document after the other until it is told to end; how many were written.
async fn write(db: Arc<Database>, written: Arc<AtomicI32>, ends: Arc<AtomicBool>) -> i32 {
    let users = db.documents("users");
    let mut n = 0;
    while !ends.load(Ordering::SeqCst) {
        let document = doc! {"_id": n % DOCUMENTS, "n": n};
        users
            .replace_one(doc! {"_id": n % DOCUMENTS}, document)
            .upsert(true)
            .await
            .unwrap();
        n += 1;
        written.store(n, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    n
}

/// What a record carries: of which document, and which write.
fn write_of(record: &support::Record) -> (i64, i64) {
    let whole: serde_json::Value = match &record.value["after"] {
        serde_json::Value::String(after) => serde_json::from_str(after).unwrap(),
        _ => record.value["fullDocument"].clone(),
    };
    (whole["_id"].as_i64().unwrap(), whole["n"].as_i64().unwrap())
}

struct Peer<'a> {
    whose: &'a str,
    name: String,
    topic: String,
    properties: Vec<(&'a str, String)>,
}

impl Peer<'_> {
    async fn start(&self, connect: &Connect) {
        let all = properties(&self.name, &self.properties);
        connect.connector(&all, None).await;
    }
}

/// Waits until a write has come that was made since this was called, and some more before it: whoever wrote to the topic
/// before has stopped.
async fn goes_on(kafka: &Kafka, topic: &str, written: &AtomicI32) {
    let since = i64::from(written.load(Ordering::SeqCst));
    kafka
        .wait_until(&[topic], "records of writes from now on", |records| {
            records
                .iter()
                .any(|record| write_of(record).1 >= since + EACH)
        })
        .await;
}

async fn moves_in_and_out(db: Database, kafka: &Kafka, peer: Peer<'_>) {
    let db = Arc::new(db);
    kafka.create_topic(&peer.topic, 3, &[]).await;
    let connect = Connect::start(kafka).await;
    peer.start(&connect).await;
    let (written, ends) = (Arc::<AtomicI32>::default(), Arc::<AtomicBool>::default());
    // The connector begins at the present: only what follows its first record counts.
    let writing = tokio::spawn(write(
        Arc::clone(&db),
        Arc::clone(&written),
        Arc::clone(&ends),
    ));
    goes_on(kafka, &peer.topic, &written).await;
    let configuration = connect.configuration(&peer.name).await;
    let offsets = connect.end().await;

    let base = Tailwater::on(&db, kafka)
        .without("KAFKA_CLIENT_ID")
        .without("MONGODB_URI");
    std::fs::write(base.folder().join("connector.json"), configuration).unwrap();
    let offsets = offsets.display().to_string();
    let imported = [
        "import",
        peer.whose,
        "--config",
        "connector.json",
        "--offsets-file",
        &offsets,
        "--check",
        "--yes",
    ];
    let exit = base.clone().args(&imported).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(
        exit.output.contains("resumes where the connector stopped"),
        "{}",
        exit.output
    );
    assert!(!exit.output.contains("needs a decision"), "{}", exit.output);
    let tailwater = base.start().await;
    goes_on(kafka, &peer.topic, &written).await;
    tailwater.stop().await;

    let exported = [
        "export",
        peer.whose,
        "--connect-name",
        &peer.name,
        "--offsets-file",
        &offsets,
    ];
    let exit = base.clone().args(&exported).run().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let connect = Connect::start_with(kafka, Some(Path::new(&offsets))).await;
    let made = std::fs::read_to_string(base.folder().join("connector.json")).unwrap();
    connect.create(&made, &peer.name).await;
    goes_on(kafka, &peer.topic, &written).await;
    ends.store(true, Ordering::SeqCst);
    let last = i64::from(writing.await.unwrap() - 1);

    let records = kafka
        .wait_until(
            &[&peer.topic],
            "the last write of each document",
            |records| {
                let seen: BTreeSet<_> = records.iter().map(|record| write_of(record).1).collect();
                (last - i64::from(DOCUMENTS)..last).all(|n| seen.contains(&(n + 1)))
            },
        )
        .await;
    let mut of_documents = BTreeMap::<i64, Vec<i64>>::new();
    let mut sorted = records;
    sorted.sort_by_key(|record| (record.partition, record.offset));
    for record in &sorted {
        let (id, n) = write_of(record);
        of_documents.entry(id).or_default().push(n);
    }
    let first = of_documents.values().flatten().min().copied().unwrap();
    let (mut repeated, mut all) = (0, Vec::new());
    for (id, writes) in &of_documents {
        // A connector repeats after its stop what it had not flushed; a stream that was stopped repeats nothing.
        let returns = writes.windows(2).filter(|pair| pair[1] <= pair[0]).count();
        assert!(returns <= 1, "{id}: {writes:?}");
        let newest = writes.iter().scan(-1, |newest, n| {
            let is_new = n > newest;
            *newest = (*newest).max(*n);
            Some((is_new, *n))
        });
        for (is_new, n) in newest {
            match is_new {
                true => all.push(n),
                false => repeated += 1,
            }
        }
    }
    all.sort_unstable();
    let expected: Vec<_> = (first..=last).collect();
    assert_eq!(all, expected, "no gap, and each document's writes in order");
    println!("{} writes, {repeated} records repeated", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn tailwater_takes_over_from_debezium_and_gives_back_without_a_gap() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let name = format!("{}-move", db.name());
    let converter = "org.apache.kafka.connect.json.JsonConverter".to_owned();
    let peer = Peer {
        whose: "debezium",
        topic: format!("{name}.{}.users", db.name()),
        properties: vec![
            (
                "connector.class",
                "io.debezium.connector.mongodb.MongoDbConnector".into(),
            ),
            ("mongodb.connection.string", db.uri().into()),
            ("database.include.list", db.name().into()),
            ("topic.prefix", name.clone()),
            ("snapshot.mode", "no_data".into()),
            ("key.converter", converter.clone()),
            ("key.converter.schemas.enable", "false".into()),
            ("value.converter", converter),
            ("value.converter.schemas.enable", "false".into()),
        ],
        name,
    };
    moves_in_and_out(db, kafka, peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tailwater_takes_over_from_mongo_kafka_and_gives_back_without_a_gap() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let name = format!("{}-move", db.name());
    let converter = "org.apache.kafka.connect.storage.StringConverter".to_owned();
    let peer = Peer {
        whose: "mongo-kafka",
        topic: format!("{name}.{}.users", db.name()),
        properties: vec![
            (
                "connector.class",
                "com.mongodb.kafka.connect.MongoSourceConnector".into(),
            ),
            ("connection.uri", db.uri().into()),
            ("database", db.name().into()),
            ("topic.prefix", name.clone()),
            ("change.stream.full.document", "updateLookup".into()),
            ("key.converter", converter.clone()),
            ("value.converter", converter),
        ],
        name,
    };
    moves_in_and_out(db, kafka, peer).await;
}
