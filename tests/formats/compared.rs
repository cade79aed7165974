//! `tailwater compare` between Tailwater and what the real connectors wrote of the same history.

use super::{Peer, history, is_document};
use crate::support::{Database, Kafka, Tailwater};
use crate::verify;
use bson::{Bson, Document, doc};
use std::time::Duration;

/// The collection of the changes at both ends of the time that is compared.
const EDGES: &str = history::COLLECTIONS[0];

/// A change so long before or after all others that a difference of theirs would count: `compare` stays two seconds
/// away from both ends of what it is given.
pub async fn edge(db: &Database) {
    let pause = Duration::from_secs(3);
    tokio::time::sleep(pause).await;
    let edges = db.documents(EDGES);
    edges.insert_one(doc! {"edge": true}).await.unwrap();
    tokio::time::sleep(pause).await;
}

pub fn is_edge(event: &Document) -> bool {
    let document = event.get_document("fullDocument");
    document.is_ok_and(|document| document.contains_key("edge"))
}

/// How `compare` reads what a peer writes, if it can.
fn format(peer: &Peer) -> Option<&'static str> {
    let of = |name: &str| peer.variables.iter().find(|(it, _)| *it == name);
    if of("MONGO_KAFKA_FULL_DOCUMENT_ONLY").is_some() {
        return None;
    }
    match of("FORMAT")?.1.as_str() {
        "debezium" => Some("debezium"),
        _ => Some("mongo-kafka"),
    }
}

/// Every change of the history is the same, with each connector in each of its formats.
pub async fn the_same(
    db: &Database,
    kafka: &Kafka,
    peers: &[Peer],
    token: &str,
    events: &[Document],
) {
    let topic = db.topic("compared");
    kafka.create_topic(&topic, 1, &[]).await;
    let setup = Tailwater::on(db, kafka)
        .env("STREAM_ID", format!("{}-compared", db.name()))
        .env("RESUME_STORE", "file")
        .env("JSON_MODE", "canonical")
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("START_AT", format!("token:{token}"));
    let changes = events.iter().filter(|event| is_document(event));
    let tailwater = setup.start().await;
    kafka
        .wait_for_records(&[&topic], changes.clone().count())
        .await;
    tailwater.stop().await;

    for (peer, format) in peers.iter().filter_map(|it| Some((it, format(it)?))) {
        let theirs = peer.topics().join(",");
        let args = [
            "compare",
            "--output",
            "json",
            "--a",
            &topic,
            "--b",
            &theirs,
            "--format-b",
            format,
        ];
        let report = verify::run(&setup, &args, verify::EQUAL).await;
        for collection in history::COLLECTIONS {
            let of = |event: &&Document| {
                let namespace = event.get_document("ns").unwrap();
                namespace.get("coll") == Some(&Bson::from(collection))
            };
            let expected = changes.clone().filter(of).count() as u64;
            let found = verify::of(&report, collection);
            assert_eq!(found["same"], expected, "{}: {report:#}", peer.name);
        }
    }
}
