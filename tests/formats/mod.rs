//! Records in the formats of others: what the real connectors write of a history, and then Tailwater to the same
//! topics, is the same byte for byte.
//!
//! `TAILWATER_TEST_SEED` repeats a run's history.

mod avro;
mod compared;
mod dropped;
mod history;
mod imported;
mod inferred;
mod keys;
mod moving;
mod readers;
mod transactions;

use crate::support::{self, Connect, Database, Kafka, Random, Record, Setup, Tailwater};
use bson::{Bson, Document, doc};
use serde_json::json;
use std::collections::BTreeMap;

const PARTITIONS: i32 = 3;

/// What a connector is told, what Tailwater is told to be like it, and which topics they write to.
struct Peer {
    name: String,
    properties: Vec<(&'static str, String)>,
    offset: Option<serde_json::Value>,
    variables: Vec<(&'static str, String)>,
    /// Of `{}`, which is a collection.
    topic: String,
    /// What stands there for a collection.
    called: fn(&'static str) -> &'static str,
    /// How many records an event makes.
    records: fn(&Document) -> usize,
}

/// What Connect is told of a connector.
fn properties<'a>(name: &'a str, own: &'a [(&str, String)]) -> Vec<(&'a str, &'a str)> {
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    [("name", name), ("tasks.max", "1")]
        .into_iter()
        .chain(own)
        .collect()
}

fn is_document(event: &Document) -> bool {
    let operation = event.get_str("operationType").unwrap();
    ["insert", "update", "replace", "delete"].contains(&operation)
}

fn mongo_kafka(db: &Database, name: &str, since: u32, more: &[(&'static str, &str)]) -> Peer {
    let name = format!("{}-{name}", db.name());
    let mut properties: Vec<(&'static str, String)> = [
        (
            "connector.class",
            "com.mongodb.kafka.connect.MongoSourceConnector",
        ),
        ("connection.uri", db.uri()),
        ("database", db.name()),
        ("topic.prefix", &name),
        ("startup.mode", "timestamp"),
        (
            "startup.mode.timestamp.start.at.operation.time",
            &since.to_string(),
        ),
        ("change.stream.full.document", "updateLookup"),
        ("change.stream.full.document.before.change", "whenAvailable"),
        (
            "key.converter",
            "org.apache.kafka.connect.storage.StringConverter",
        ),
        (
            "value.converter",
            "org.apache.kafka.connect.storage.StringConverter",
        ),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    properties.extend(
        more.iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    Peer {
        topic: format!("{name}.{}.{{}}", db.name()),
        variables: vec![
            ("FORMAT", "mongo-kafka".into()),
            ("KAFKA_TOPIC_PREFIX", name.clone()),
        ],
        name,
        properties,
        offset: None,
        called: |collection| collection,
        records: |_| 1,
    }
}

fn formatter(db: &Database, name: &'static str, since: u32) -> Peer {
    let class = match name {
        "default" => "DefaultJson",
        "extended" => "ExtendedJson",
        _ => "SimplifiedJson",
    };
    let class = format!("com.mongodb.kafka.connect.source.json.formatter.{class}");
    let mut peer = mongo_kafka(db, name, since, &[("output.json.formatter", &class)]);
    peer.variables.push(("MONGO_KAFKA_JSON", name.into()));
    peer
}

fn documents_alone(db: &Database, since: u32) -> Peer {
    let only = [
        ("publish.full.document.only", "true"),
        ("publish.full.document.only.tombstone.on.delete", "true"),
        ("topic.suffix", "cdc"),
        ("topic.separator", "-"),
    ];
    let mut peer = mongo_kafka(db, "documents", since, &only);
    let name = &peer.name;
    peer.topic = format!("{name}-{}-{{}}-cdc", db.name());
    peer.variables.extend([
        ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true".to_owned()),
        ("TOMBSTONES", "true".to_owned()),
        ("KAFKA_TOPIC_SUFFIX", "cdc".to_owned()),
        ("KAFKA_TOPIC_SEPARATOR", "-".to_owned()),
    ]);
    peer.records = |event| match event.get("fullDocument") {
        Some(Bson::Null) => 0,
        _ => 1,
    };
    peer
}

/// Topics by a map, in which each collection has its topic by another rule.
fn mapped(db: &Database, since: u32) -> Peer {
    let map = json!({
        "*": "others",
        "/.*\\.(users|nothing)": "{coll_sep}of{sep_coll_sep}x",
        format!("{}.kept", db.name()): "kept.by-name",
        "nothing": "nothing",
    });
    let map = map.to_string();
    let mut peer = mongo_kafka(
        db,
        "mapped",
        since,
        &[("topic.namespace.map", &map), ("topic.separator", "_")],
    );
    peer.topic = format!("{}_{{}}", peer.name);
    peer.called = |collection| match collection {
        "users" => "users_of_users_x",
        "kept" => "kept.by-name",
        _ => "others",
    };
    peer.variables.extend([
        ("KAFKA_TOPIC_NAMESPACE_MAP", map),
        ("KAFKA_TOPIC_SEPARATOR", "_".to_owned()),
    ]);
    peer
}

fn debezium(db: &Database, name: &str, schemas: bool, token: &str) -> Peer {
    let name = format!("{}-{name}", db.name());
    let converter = "org.apache.kafka.connect.json.JsonConverter";
    let schemas = schemas.to_string();
    let properties = [
        (
            "connector.class",
            "io.debezium.connector.mongodb.MongoDbConnector",
        ),
        ("mongodb.connection.string", db.uri()),
        ("database.include.list", db.name()),
        ("topic.prefix", &name),
        ("snapshot.mode", "no_data"),
        ("capture.mode", "change_streams_update_full_with_pre_image"),
        ("key.converter", converter),
        ("key.converter.schemas.enable", &schemas),
        ("value.converter", converter),
        ("value.converter.schemas.enable", &schemas),
    ];
    Peer {
        properties: properties
            .map(|(name, value)| (name, value.to_owned()))
            .into(),
        offset: Some(json!({
            "partition": {"server_id": name},
            "offset": {"sec": 1, "ord": 1, "resume_token": token},
        })),
        topic: format!("{name}.{}.{{}}", db.name()),
        variables: vec![
            ("FORMAT", "debezium".into()),
            ("KAFKA_TOPIC_PREFIX", name.clone()),
            ("DEBEZIUM_SCHEMAS", schemas),
        ],
        name,
        called: |collection| collection,
        records: |event| match event.get_str("operationType").unwrap() {
            "delete" => 2,
            _ => usize::from(is_document(event)),
        },
    }
}

impl Peer {
    fn topics(&self) -> Vec<String> {
        let of = |collection: &&'static str| self.topic.replace("{}", (self.called)(collection));
        history::COLLECTIONS.iter().map(of).collect()
    }

    async fn make_topics(&self, kafka: &Kafka) {
        for topic in self.topics() {
            kafka.create_topic(&topic, PARTITIONS, &[]).await;
        }
    }

    async fn start(&self, connect: &Connect) {
        let all = properties(&self.name, &self.properties);
        connect.connector(&all, self.offset.clone()).await;
    }

    fn setup(&self, db: &Database, kafka: &Kafka, token: &str) -> Setup {
        let mut setup = Tailwater::on(db, kafka)
            .env("STREAM_ID", &self.name)
            .env("RESUME_STORE", "file")
            .env("START_AT", format!("token:{token}"))
            .env("FULL_DOCUMENT_BEFORE_CHANGE", "whenAvailable");
        for (name, value) in &self.variables {
            setup = setup.env(name, value);
        }
        setup
    }
}

/// What is compared of a record. What cannot be equal is replaced, and the replacement is what `docs/formats.md` says of it.
fn compared(record: &Record) -> (Option<String>, Option<String>, BTreeMap<String, String>) {
    let text = |bytes: &Option<Vec<u8>>| bytes.clone().map(|it| String::from_utf8(it).unwrap());
    let mut value = text(&record.bytes);
    let mut headers = record.headers.clone();
    if let Some(run) = headers.get_mut("__debezium.context.runId") {
        assert_eq!(run.len(), 36, "{run}");
        assert_eq!(run.as_bytes()[14], b'7', "{run}");
        *run = "its run".into();
        // The time of processing.
        if let Some(value) = &mut value {
            let at = value.rfind(r#","ts_ms":"#).unwrap() + 9;
            let end = at + value[at..].find(',').unwrap();
            assert!(value[at..end].parse::<i64>().unwrap() > 1_600_000_000_000);
            value.replace_range(at..end, "now");
        }
    }
    (text(&record.key_bytes), value, headers)
}

/// What each partition has, in its order.
fn by_partition(records: Vec<Record>) -> BTreeMap<(String, i32), Vec<Record>> {
    let mut partitions = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        let place = (record.topic.clone(), record.partition);
        partitions.entry(place).or_default().push(record);
    }
    for records in partitions.values_mut() {
        records.sort_by_key(|record| record.offset);
    }
    partitions
}

/// All events of the history, as a client that looks documents up sees them now.
async fn events(db: &Database, token: &bson::Document) -> Vec<Document> {
    let mut events = Vec::new();
    let token = bson::deserialize_from_document(token.clone()).unwrap();
    let watching = db
        .watch()
        .resume_after(Some(token))
        .full_document(mongodb::options::FullDocumentType::UpdateLookup);
    let mut watching = watching.await.unwrap().with_type::<Document>();
    loop {
        match watching.next_if_any().await.unwrap() {
            Some(event) => events.push(event),
            // An empty reply may come before the end.
            None if events.iter().filter(|it| compared::is_edge(it)).count() < 2 => {}
            None => return events,
        }
    }
}

/// What a run's history is made of; it says how to repeat it.
fn seed() -> u64 {
    let seed = std::env::var("TAILWATER_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| Random(u64::from(std::process::id())).next());
    println!("TAILWATER_TEST_SEED={seed}");
    seed
}

/// The token and the second that a history begins behind.
async fn beginning(db: &Database) -> (bson::Document, u32) {
    let mut watching = db.watch().await.unwrap();
    watching.next_if_any().await.unwrap();
    let token = watching.resume_token().unwrap();
    let before = db.run_command(doc! {"ping": 1}).await.unwrap();
    let since = before.get_timestamp("operationTime").unwrap().time;
    (bson::serialize_to_document(&token).unwrap(), since)
}

/// Writes a random history while Connect starts; the token and the second that it begins behind.
async fn connect_and_history(db: &Database, kafka: &Kafka) -> (Connect, (bson::Document, u32)) {
    let seed = seed();
    let writing = async {
        let begin = beginning(db).await;
        compared::edge(db).await;
        history::write(db, seed).await;
        compared::edge(db).await;
        begin
    };
    futures_util::future::join(Connect::start(kafka), writing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connectors_write_of_a_history_is_written_byte_for_byte() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let (connect, (resume, since)) = connect_and_history(&db, kafka).await;
    let token = resume.get_str("_data").unwrap();
    let events = events(&db, &resume).await;
    for operation in ["insert", "update", "replace", "delete"] {
        let of = |event: &&Document| {
            event
                .get_str("operationType")
                .is_ok_and(|it| it == operation)
        };
        assert!(events.iter().filter(of).count() > 3, "{operation}");
    }

    let peers = [
        formatter(&db, "default", since),
        formatter(&db, "extended", since),
        formatter(&db, "simplified", since),
        documents_alone(&db, since),
        mapped(&db, since),
        debezium(&db, "debezium", false, token),
        debezium(&db, "schemas", true, token),
    ];
    for peer in &peers {
        peer.make_topics(kafka).await;
        peer.start(&connect).await;
    }
    let mut of_connectors = Vec::new();
    for peer in &peers {
        let topics = peer.topics();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let count: usize = events.iter().map(peer.records).sum();
        let records = kafka.wait_for_records(&topics, count).await;
        assert_eq!(records.len(), count, "{}\n{}", peer.name, connect.log());
        of_connectors.push(by_partition(records));
    }
    drop(connect);
    compared::the_same(&db, kafka, &peers, token, &events).await;

    for (peer, theirs) in peers.iter().zip(of_connectors) {
        let topics = peer.topics();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let count: usize = theirs.values().map(Vec::len).sum();
        let tailwater = peer.setup(&db, kafka, token).start().await;
        let all = kafka.wait_for_records(&topics, 2 * count).await;
        tailwater.stop().await;
        let all = by_partition(all);
        assert_eq!(all.len(), theirs.len(), "{}", peer.name);
        for (place, theirs) in &theirs {
            let ours = &all[place][theirs.len()..];
            for (theirs, ours) in theirs.iter().zip(ours) {
                assert_eq!(compared(theirs), compared(ours), "{}", peer.name);
            }
            assert_eq!(theirs.len(), ours.len(), "{place:?}");
        }
    }
}
