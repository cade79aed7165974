//! Collections that are made, renamed and dropped: what the real connectors write of it is written byte
//! for byte.

use super::{Peer, beginning, compared, debezium, formatter, is_document, mongo_kafka};
use crate::support::{self, Connect, Database, Kafka, Record, eventually};
use bson::{Document, doc};
use std::collections::{BTreeMap, BTreeSet};

/// The collections whose topics are made beforehand.
const COLLECTIONS: [&str; 6] = ["users", "people", "kept", "orders.eu", "_", "capped"];

const LAST: &str = "the last change";

/// Names that an operation has in events of collections and databases.
const OF_COLLECTIONS: [&str; 2] = ["drop", "rename"];
const EXPANDED: [&str; 3] = ["create", "createIndexes", "dropIndexes"];

async fn write(db: &Database) {
    let insert = async |collection: &str, id: i32| {
        let whole = doc! {"_id": id, "n": 1.5, "list": ["a", id]};
        db.documents(collection).insert_one(whole).await.unwrap();
    };
    let rename = async |from: &str, to: &str, drops: bool| {
        let [from, to] = [from, to].map(|it| format!("{}.{it}", db.name()));
        let command = doc! {"renameCollection": from, "to": to, "dropTarget": drops};
        let admin = db.client.database("admin");
        admin.run_command(command).await.unwrap();
    };
    db.run_command(doc! {"create": "capped", "capped": true, "size": 4096})
        .await
        .unwrap();
    for id in 0..3 {
        for collection in ["users", "kept", "orders.eu", "_"] {
            insert(collection, id).await;
        }
    }
    let index = mongodb::IndexModel::builder().keys(doc! {"n": 1}).build();
    db.documents("users").create_index(index).await.unwrap();
    db.documents("users").drop_index("n_1").await.unwrap();
    // Renamed, made again under the old name, and renamed over what is there.
    rename("users", "people", false).await;
    insert("people", 7).await;
    insert("users", 7).await;
    rename("users", "people", true).await;
    db.documents("people")
        .update_one(doc! {"_id": 7}, doc! {"$set": {"n": 2}})
        .await
        .unwrap();
    // Dropped with documents, made again, and dropped again.
    db.documents("kept").drop().await.unwrap();
    insert("kept", 1).await;
    db.documents("kept")
        .delete_one(doc! {"_id": 1})
        .await
        .unwrap();
    db.documents("kept").drop().await.unwrap();
    db.documents("orders.eu").drop().await.unwrap();
    insert("orders.eu", 1).await;
}

async fn write_last(db: &Database) {
    let last = doc! {"_id": LAST};
    db.documents("users").insert_one(last).await.unwrap();
}

/// All events of the database, seen from the deployment: no `invalidate` ends that.
async fn events(db: &Database, token: &Document) -> Vec<Document> {
    let token = bson::deserialize_from_document(token.clone()).unwrap();
    let only = doc! {"$match": {"ns.db": db.name()}};
    let watching = db.client.watch().pipeline([only]).resume_after(Some(token));
    let watching = watching
        .show_expanded_events(true)
        .full_document(mongodb::options::FullDocumentType::UpdateLookup);
    let mut watching = watching.await.unwrap().with_type::<Document>();
    let mut events = Vec::new();
    eventually(support::PATIENCE, "the last event", async || {
        while let Some(event) = watching.next_if_any().await.unwrap() {
            let is_last = event
                .get_document("fullDocument")
                .is_ok_and(|it| it.get_str("_id").is_ok_and(|id| id == LAST));
            events.push(event);
            if is_last {
                return Some(());
            }
        }
        None
    })
    .await;
    events
}

fn operation(event: &Document) -> &str {
    event.get_str("operationType").unwrap()
}

fn of_usual(event: &Document) -> usize {
    usize::from(is_document(event) || OF_COLLECTIONS.contains(&operation(event)))
}

fn peers(db: &Database, since: u32, token: &str) -> Vec<Peer> {
    let usual = |mut peer: Peer| {
        peer.records = of_usual;
        peer
    };
    let mut expanded = mongo_kafka(
        db,
        "expanded",
        since,
        &[
            ("change.stream.show.expanded.events", "true"),
            ("topic.separator", "-"),
            ("topic.suffix", "cdc"),
        ],
    );
    expanded.variables.extend([
        ("SHOW_EXPANDED_EVENTS", "true".to_owned()),
        ("KAFKA_TOPIC_SEPARATOR", "-".to_owned()),
        ("KAFKA_TOPIC_SUFFIX", "cdc".to_owned()),
    ]);
    expanded.topic = format!("{}-{}-{{}}-cdc", expanded.name, db.name());
    let mut documents = mongo_kafka(
        db,
        "alone",
        since,
        &[
            ("publish.full.document.only", "true"),
            ("publish.full.document.only.tombstone.on.delete", "true"),
        ],
    );
    documents.variables.extend([
        ("MONGO_KAFKA_FULL_DOCUMENT_ONLY", "true".to_owned()),
        ("TOMBSTONES", "true".to_owned()),
    ]);
    documents.records = |event| match event.get("fullDocument") {
        Some(bson::Bson::Null) => 0,
        _ => of_usual(event),
    };
    let json = "org.apache.kafka.connect.json.JsonConverter";
    let mut own = mongo_kafka(db, "own", since, &[("output.format.value", "schema")]);
    own.properties
        .retain(|(name, _)| *name != "value.converter");
    own.properties.push(("value.converter", json.to_owned()));
    own.variables.extend([
        ("MONGO_KAFKA_VALUE", "schema".to_owned()),
        ("MONGO_KAFKA_VALUE_CONVERTER", "json_schemas".to_owned()),
    ]);
    vec![
        usual(formatter(db, "default", since)),
        usual(formatter(db, "simplified", since)),
        expanded,
        documents,
        usual(own),
        debezium(db, "debezium", false, token),
    ]
}

fn topics(peer: &Peer) -> Vec<String> {
    let of = |collection: &&str| peer.topic.replace("{}", collection);
    COLLECTIONS.iter().map(of).collect()
}

/// What each topic has, in its order: it has one partition.
fn by_topic(records: Vec<Record>) -> BTreeMap<String, Vec<Record>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        all.entry(record.topic.clone()).or_default().push(record);
    }
    for records in all.values_mut() {
        records.sort_by_key(|record| record.offset);
    }
    all
}

async fn the_same(db: &Database, kafka: &Kafka, connect: Connect, begin: (Document, u32)) {
    let (resume, since) = begin;
    let token = resume.get_str("_data").unwrap();
    let events = events(db, &resume).await;
    let peers = peers(db, since, token);
    for peer in &peers {
        for topic in topics(peer) {
            kafka.create_topic(&topic, 1, &[]).await;
        }
        peer.start(&connect).await;
    }
    for peer in peers {
        let topics = topics(&peer);
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let count: usize = events.iter().map(peer.records).sum();
        let theirs = kafka.wait_for_records(&topics, count).await;
        assert_eq!(theirs.len(), count, "{}\n{}", peer.name, connect.log());
        let tailwater = peer.setup(db, kafka, token).start().await;
        let all = kafka.wait_for_records(&topics, 2 * count).await;
        tailwater.stop().await;
        assert_eq!(all.len(), 2 * count, "{}", peer.name);
        let (theirs, all) = (by_topic(theirs), by_topic(all));
        let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&theirs), names(&all), "{}", peer.name);
        for (topic, theirs) in theirs {
            let ours = &all[&topic][theirs.len()..];
            assert_eq!(theirs.len(), ours.len(), "{topic}");
            for (theirs, ours) in theirs.iter().zip(ours) {
                assert_eq!(compared(theirs), compared(ours), "{topic}");
            }
        }
        println!("{}: {count} records", peer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connectors_write_of_drops_and_renames_is_written_byte_for_byte() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let connect = Connect::start(kafka).await;
    let begin = beginning(&db).await;
    write(&db).await;
    write_last(&db).await;
    let seen: BTreeSet<_> = events(&db, &begin.0)
        .await
        .iter()
        .map(|it| operation(it).to_owned())
        .collect();
    for wanted in ["drop", "rename"].iter().chain(&EXPANDED) {
        assert!(seen.contains(*wanted), "{wanted}: {seen:?}");
    }
    the_same(&db, kafka, connect, begin).await;
}
