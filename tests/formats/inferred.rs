//! MongoDB's connector with schemas: inferred from each document, given, or its own. What it writes through Connect's
//! converters is written again byte for byte, and what it cannot write is left out by both.

use super::{Peer, by_partition, connect_and_history, history, mongo_kafka};
use crate::support::{self, Database, Kafka, Random, Record, Registry};
use bson::{Bson, Document, doc};

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const AVRO: &str = "io.apicurio.registry.utils.converter.AvroConverter";

/// Names that a peer is told, and their values.
type Told = [(&'static str, &'static str)];

/// A schema with what a way with dots says, other types than documents have, and a field that may be missing.
const GIVEN: &str = r#"{"type":"record","name":"entry","namespace":"shop.db","fields":[
    {"name":"_id","type":"string"},{"name":"a","type":["null","string"],"default":null},
    {"name":"d.x","type":["int","null"]},{"name":"missing","type":["null",{"type":"map","values":"long"}]},
    {"name":"list","type":["string","null"]},{"name":"place","type":["null",{"type":"record","name":"place","fields":[
        {"name":"x","type":["long","null"]},{"name":"y","type":[{"type":"array","items":["string","null"]},"null"]}]}]}]}"#;
/// A key without dots in its names, as Avro has them.
const DOCUMENT_KEY: &str = r#"{"type":"record","name":"key","fields":[
    {"name":"documentKey","type":["null","string"]},{"name":"ns","type":{"type":"record","name":"place","fields":[
        {"name":"coll","type":"string"}]}}]}"#;

/// The connector with these properties, and Tailwater with these variables.
fn peer(db: &Database, name: &str, since: u32, properties: &Told, variables: &Told) -> Peer {
    let mut peer = mongo_kafka(db, name, since, &[]);
    let is_said = |(name, _): &(&'static str, String)| properties.iter().any(|(it, _)| it == name);
    peer.properties.retain(|property| !is_said(property));
    let told = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
    peer.properties.extend(properties.iter().map(told));
    peer.variables.extend(variables.iter().map(told));
    // What cannot be written is left out, by the connector or by Connect.
    peer.properties.push(("errors.tolerance", "all".into()));
    peer.variables.push(("ON_RECORD_ERROR", "skip".into()));
    peer
}

/// The same with a registry for this half.
fn with_registry(mut peer: Peer, registry: &Registry, half: &str) -> Peer {
    let url = format!("http://{}/apis/registry/v2", registry.addr());
    for (name, value) in [
        ("url", url.as_str()),
        ("auto-register", "true"),
        ("as-confluent", "true"),
        ("use-id", "contentId"),
        ("headers.enabled", "false"),
    ] {
        let name = format!("{half}.converter.apicurio.registry.{name}");
        peer.properties.push((name.leak(), value.to_owned()));
    }
    peer.variables.push(("SCHEMA_REGISTRY_URL", registry.url()));
    peer
}

const LAST: &str = "the last change";

fn is_last(record: &Record) -> bool {
    let value = record.bytes.as_deref().unwrap_or_default();
    value.windows(LAST.len()).any(|it| it == LAST.as_bytes())
}

/// Documents whose names Avro takes, and in which types meet.
async fn write_more(db: &Database) {
    let mut random = Random(11);
    let users = db.documents("users");
    for n in 0..40 {
        let mut whole = doc! {"_id": format!("plain {n}")};
        for name in ["b", "é", "a", "Z", "_c", "list"] {
            whole.insert(name, history::value(&mut random, 1));
        }
        users.insert_one(whole).await.unwrap();
    }
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    let lists: [Vec<Bson>; 12] = [
        vec![Bson::Null, 1.into(), Bson::Null],
        vec![1.into(), 2_i64.into()],
        vec![
            doc! {"y": 1, "x": "s"}.into(),
            doc! {"x": Bson::Null, "_id": 2}.into(),
        ],
        vec![Bson::Array(vec![]), vec![1, 2].into(), Bson::Null],
        vec![vec![1].into(), vec!["a"].into()],
        vec![decimal("1.10"), decimal("2.25")],
        vec![decimal("1.10"), decimal("2.5")],
        vec![
            decimal("-128"),
            decimal("127"),
            decimal("-129"),
            decimal("0"),
        ],
        vec![decimal("1E+10"), decimal("-7E+10")],
        vec![decimal("-0.0")],
        vec![
            Bson::DateTime(bson::DateTime::from_millis(-1)),
            5_i64.into(),
        ],
        // The connector takes the first of both for known, and then fails.
        vec![
            doc! {"a": Bson::Null}.into(),
            doc! {"a": "s"}.into(),
            doc! {"a": 5}.into(),
        ],
    ];
    for (n, list) in lists.into_iter().enumerate() {
        let place = doc! {"x": n as i32, "y": ["a", 5, Bson::Null]};
        let whole =
            doc! {"_id": format!("list {n}"), "list": list, "d": {"x": n as i32}, "place": place};
        users.insert_one(whole).await.unwrap();
    }
    let wholes: [Document; 3] = [
        doc! {"_id": "twice", "a": {"b": {"x": 1}}, "a_b": {"x": 1}},
        doc! {"_id": "named", "default": 5, "x": {"default": {"c": 1}}},
        doc! {"_id": "\u{ffff} and halves", "\u{ff5e}": 1, "😀": 2, "a": "😀\u{7f}/\u{2028}"},
    ];
    for whole in wholes {
        users.insert_one(whole).await.unwrap();
    }
    users.delete_one(doc! {"_id": "named"}).await.unwrap();
    let last = doc! {"_id": LAST, "a": LAST, "d": {"x": 1}};
    users.insert_one(last).await.unwrap();
}

/// Half of a record, in which a number of the time between does not count.
fn shown(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or_else(
        || "none".to_owned(),
        |bytes| String::from_utf8_lossy(bytes).into_owned(),
    )
}

async fn all_of(kafka: &Kafka, peer: &Peer) -> Vec<Record> {
    let topics = peer.topics();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    kafka.records(&topics).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connector_writes_by_schemas_is_written_byte_for_byte() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let registry = support::registry().await;
    let (connect, (resume, since)) = connect_and_history(&db, kafka).await;
    write_more(&db).await;
    let infer = ("output.format.value", "schema");
    let [inferred, documents, tombstones] = [
        ("output.schema.infer.value", "true"),
        ("publish.full.document.only", "true"),
        ("publish.full.document.only.tombstone.on.delete", "true"),
    ];
    let simplified = "com.mongodb.kafka.connect.source.json.formatter.SimplifiedJson";
    let peers = [
        peer(
            &db,
            "inferred",
            since,
            &[
                infer,
                inferred,
                ("value.converter", JSON),
                ("value.converter.schemas.enable", "false"),
            ],
            &[("MONGO_KAFKA_VALUE", "infer")],
        ),
        peer(
            &db,
            "inferred-schemas",
            since,
            &[
                infer,
                inferred,
                ("output.json.formatter", simplified),
                ("key.converter", JSON),
                ("value.converter", JSON),
            ],
            &[
                ("MONGO_KAFKA_VALUE", "infer"),
                ("MONGO_KAFKA_JSON", "simplified"),
                ("MONGO_KAFKA_KEY_CONVERTER", "json_schemas"),
                ("MONGO_KAFKA_VALUE_CONVERTER", "json_schemas"),
            ],
        ),
        peer(
            &db,
            "own",
            since,
            &[
                infer,
                ("output.format.key", "schema"),
                ("key.converter", JSON),
                ("key.converter.schemas.enable", "false"),
                ("value.converter", JSON),
            ],
            &[
                ("MONGO_KAFKA_KEY", "schema"),
                ("MONGO_KAFKA_KEY_CONVERTER", "json"),
                ("MONGO_KAFKA_VALUE", "schema"),
                ("MONGO_KAFKA_VALUE_CONVERTER", "json_schemas"),
            ],
        ),
        peer(
            &db,
            "given",
            since,
            &[
                infer,
                documents,
                tombstones,
                ("output.schema.value", GIVEN),
                ("value.converter", JSON),
            ],
            &[
                ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true"),
                ("TOMBSTONES", "true"),
                ("MONGO_KAFKA_VALUE", "schema"),
                ("MONGO_KAFKA_VALUE_SCHEMA", GIVEN),
                ("MONGO_KAFKA_VALUE_CONVERTER", "json_schemas"),
            ],
        ),
        with_registry(
            with_registry(
                peer(
                    &db,
                    "avro",
                    since,
                    &[
                        infer,
                        inferred,
                        documents,
                        tombstones,
                        ("key.converter", AVRO),
                        ("value.converter", AVRO),
                    ],
                    &[
                        ("SERIALIZATION", "avro"),
                        ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true"),
                        ("TOMBSTONES", "true"),
                        ("MONGO_KAFKA_VALUE", "infer"),
                        ("MONGO_KAFKA_KEY_CONVERTER", "avro"),
                    ],
                ),
                registry,
                "key",
            ),
            registry,
            "value",
        ),
        with_registry(
            with_registry(
                peer(
                    &db,
                    "avro-own",
                    since,
                    &[
                        infer,
                        ("output.format.key", "schema"),
                        ("output.schema.key", DOCUMENT_KEY),
                        ("key.converter", AVRO),
                        ("value.converter", AVRO),
                    ],
                    &[
                        ("SERIALIZATION", "avro"),
                        ("MONGO_KAFKA_KEY", "schema"),
                        ("MONGO_KAFKA_KEY_SCHEMA", DOCUMENT_KEY),
                        ("MONGO_KAFKA_VALUE", "schema"),
                    ],
                ),
                registry,
                "key",
            ),
            registry,
            "value",
        ),
        with_registry(
            peer(
                &db,
                "avro-text",
                since,
                &[("key.converter", STRING), ("value.converter", AVRO)],
                &[("SERIALIZATION", "avro")],
            ),
            registry,
            "value",
        ),
    ];
    for peer in &peers {
        peer.make_topics(kafka).await;
        peer.start(&connect).await;
    }
    for peer in &peers {
        let topics = peer.topics();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let last = |records: &[Record]| records.iter().any(is_last);
        kafka
            .wait_until(&topics, "the connector's last change", last)
            .await;
    }
    connect.end().await;

    let token = resume.get_str("_data").unwrap();
    let mut problems = Vec::new();
    for peer in &peers {
        let theirs = by_partition(all_of(kafka, peer).await);
        let tailwater = peer.setup(&db, kafka, token).start().await;
        let topics = peer.topics();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let last = |records: &[Record]| records.iter().filter(|it| is_last(it)).count() > 1;
        kafka
            .wait_until(&topics, "Tailwater's last change", last)
            .await;
        tailwater.stop().await;
        let all = by_partition(all_of(kafka, peer).await);
        let count: usize = theirs.values().map(Vec::len).sum();
        println!("{}: {count} records", peer.name);
        assert!(count > 20, "{}: {count}", peer.name);
        for (place, theirs) in &theirs {
            let ours = &all[place][theirs.len()..];
            for (theirs, ours) in theirs.iter().zip(ours) {
                let same = theirs.key_bytes == ours.key_bytes && theirs.bytes == ours.bytes;
                if !same || !ours.headers.is_empty() {
                    let of = |it: &Record| {
                        format!(
                            "{} -> {}",
                            shown(it.key_bytes.as_ref()),
                            shown(it.bytes.as_ref())
                        )
                    };
                    problems.push(format!(
                        "{}\n theirs {}\n ours   {}",
                        peer.name,
                        of(theirs),
                        of(ours)
                    ));
                    break;
                }
            }
            if theirs.len() != ours.len() {
                problems.push(format!("{place:?}: {} and {}", theirs.len(), ours.len()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
