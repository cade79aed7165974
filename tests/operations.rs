//! Every operation in every layout of topics: topic, key, value, headers and time of each record,
//! compared to the byte with what a change stream of the test's own has seen.

use crate::support::{self, Database, PATIENCE, Record, Setup, Tailwater};
use bson::{Document, doc};
use futures_util::StreamExt;
use mongodb::change_stream::ChangeStream;
use mongodb::options::FullDocumentType;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// A change that must have exactly one record.
struct Change {
    operation: &'static str,
    id: i32,
    /// What follows the timestamp in the envelope.
    rest: &'static str,
}

/// What [`change_documents`] does, in order. Each document's last change is the one whose look-up
/// shows in the record, so that a look-up that comes late sees the same.
const CHANGES: [Change; 7] = [
    Change {
        operation: "insert",
        id: 1,
        rest: r#","fullDocument":{"_id":1,"name":"Ada","tags":["a","b"]}"#,
    },
    Change {
        operation: "insert",
        id: 2,
        rest: r#","fullDocument":{"_id":2,"name":"Bo","born":1900,"at":{"x":1}}"#,
    },
    Change {
        operation: "update",
        id: 2,
        rest: concat!(
            r#","fullDocument":{"_id":2,"name":"Bob","at":{"x":2}},"updateDescription":"#,
            r#"{"updatedFields":{"at.x":2,"name":"Bob"},"removedFields":["born"],"truncatedArrays":[]}"#
        ),
    },
    Change {
        operation: "insert",
        id: 3,
        rest: r#","fullDocument":{"_id":3,"name":"Cy"}"#,
    },
    Change {
        operation: "replace",
        id: 3,
        rest: r#","fullDocument":{"_id":3,"title":"Dr"}"#,
    },
    Change {
        operation: "insert",
        id: 4,
        rest: r#","fullDocument":{"_id":4}"#,
    },
    Change {
        operation: "delete",
        id: 4,
        rest: "",
    },
];

async fn change_documents(db: &Database) {
    let users = db.documents("users");
    let documents = [
        doc! {"_id": 1, "name": "Ada", "tags": ["a", "b"]},
        doc! {"_id": 2, "name": "Bo", "born": 1900, "at": {"x": 1}},
        doc! {"_id": 3, "name": "Cy"},
        doc! {"_id": 4},
    ];
    let [one, two, three, four] = documents;
    users.insert_one(one).await.unwrap();
    users.insert_one(two).await.unwrap();
    let update = doc! {"$set": {"at.x": 2, "name": "Bob"}, "$unset": {"born": ""}};
    users.update_one(doc! {"_id": 2}, update).await.unwrap();
    users.insert_one(three).await.unwrap();
    users
        .replace_one(doc! {"_id": 3}, doc! {"title": "Dr"})
        .await
        .unwrap();
    users.insert_one(four).await.unwrap();
    users.delete_one(doc! {"_id": 4}).await.unwrap();
}

/// Another reader of the same changes, to compare with.
struct Witness(ChangeStream<Document>);

impl Witness {
    async fn of(db: &Database) -> Self {
        let stream = db
            .watch()
            .full_document(FullDocumentType::UpdateLookup)
            .show_expanded_events(true)
            .await
            .unwrap();
        Self(stream.with_type())
    }

    async fn next(&mut self) -> Document {
        tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("the change is seen")
            .expect("the stream goes on")
            .unwrap()
    }

    /// The next `count` changes of documents.
    async fn documents(&mut self, count: usize) -> Vec<Document> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.next().await;
            if event.contains_key("documentKey") {
                events.push(event);
            }
        }
        events
    }
}

fn token(event: &Document) -> &str {
    event.get_document("_id").unwrap().get_str("_data").unwrap()
}

fn operation(event: &Document) -> &str {
    event.get_str("operationType").unwrap()
}

/// The change's time as the server gives it, in milliseconds.
fn time(event: &Document) -> i64 {
    match event.get_datetime("wallTime") {
        Ok(wall) => wall.timestamp_millis(),
        Err(_) => i64::from(event.get_timestamp("clusterTime").unwrap().time) * 1000,
    }
}

fn iso(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// All six headers, and nothing else.
fn headers(event: &Document, stream: &str, seq: u64) -> BTreeMap<String, String> {
    let ns = event.get_document("ns").unwrap();
    let namespace = match ns.get_str("coll") {
        Ok(collection) => format!("{}.{collection}", ns.get_str("db").unwrap()),
        Err(_) => ns.get_str("db").unwrap().to_owned(),
    };
    [
        ("tw-id", token(event).to_owned()),
        ("tw-seq", seq.to_string()),
        ("tw-op", operation(event).to_owned()),
        ("tw-ns", namespace),
        ("tw-ts", time(event).to_string()),
        ("tw-stream", stream.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Carries the changes of documents out with `setup` running, and returns their records in stream
/// order beside the changes, all compared but for their topics and times.
async fn carry(db: &Database, setup: &Setup, topics: &[&str], count: usize) -> Vec<Record> {
    let kafka = support::kafka().await;
    let stream = support::unique("stream");
    let tailwater = setup.clone().env("STREAM_ID", &stream).start().await;
    let mut witness = Witness::of(db).await;
    change_documents(db).await;
    let of_this_test = |record: &Record| record.headers.get("tw-stream") == Some(&stream);
    kafka
        .wait_until(topics, "a record of each change", |records| {
            records.iter().filter(|record| of_this_test(record)).count() >= count
        })
        .await;
    tailwater.stop().await;
    let mut records = kafka.records(topics).await;
    records.retain(of_this_test);
    records.sort_by_key(|record| (record.seq(), record.bytes.is_none()));
    assert_eq!(records.len(), count, "neither more nor less: {records:#?}");

    let events = witness.documents(CHANGES.len()).await;
    let values: Vec<_> = records.iter().filter(|r| r.bytes.is_some()).collect();
    assert_eq!(values.len(), CHANGES.len());
    let mut seq = 0;
    for ((change, event), record) in CHANGES.iter().zip(&events).zip(values) {
        let (operation, id, name) = (change.operation, change.id, db.name());
        assert!(record.seq() > seq, "tw-seq grows");
        seq = record.seq();
        assert_eq!(record.headers, headers(event, &stream, seq));
        let key = format!(r#"{{"database":"{name}","collection":"users","_id":{id}}}"#);
        assert_eq!(record.key_bytes.as_deref(), Some(key.as_bytes()));
        let value = format!(
            r#"{{"operationType":"{operation}","database":"{name}","collection":"users","documentKey":{{"_id":{id}}},"timestamp":"{}"{}}}"#,
            iso(time(event)),
            change.rest
        );
        assert_eq!(record.text(), value);
    }
    records
}

/// The topic of each record is as `expected` says of its operation.
fn assert_topics(records: &[Record], expected: impl Fn(&str) -> String) {
    for record in records {
        assert_eq!(record.topic, expected(record.header("tw-op")));
    }
}

#[tokio::test]
async fn without_any_topic_named_inserts_updates_and_deletes_go_to_database_dot_operation() {
    let db = support::database().await;
    let setup = Tailwater::on(&db, support::kafka().await);
    let topics = ["database.insert", "database.update", "database.delete"];
    let records = carry(&db, &setup, &topics, 7).await;
    assert_topics(&records, |operation| match operation {
        "replace" => "database.update".into(),
        other => format!("database.{other}"),
    });
    // The record's own time is the change's.
    for record in &records {
        assert_eq!(
            record.timestamp.map(|millis| millis.to_string()).as_deref(),
            Some(record.header("tw-ts"))
        );
    }
}

#[tokio::test]
async fn each_operation_goes_to_its_own_topic() {
    let db = support::database().await;
    let names = ["insert", "update", "replace", "delete"].map(|name| db.topic(name));
    let [insert, update, replace, delete] = &names;
    let setup = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_TOPIC_INSERT", insert)
        .env("KAFKA_TOPIC_UPDATE", update)
        .env("KAFKA_TOPIC_REPLACE", replace)
        .env("KAFKA_TOPIC_DELETE", delete);
    let topics = [&**insert, update, replace, delete];
    let records = carry(&db, &setup, &topics, 7).await;
    assert_topics(&records, |operation| db.topic(operation));
}

#[tokio::test]
async fn replacements_go_with_the_updates_unless_they_have_a_topic() {
    let db = support::database().await;
    let (created, changed) = (db.topic("created"), db.topic("changed"));
    let setup = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_TOPIC_INSERT", &created)
        .env("KAFKA_TOPIC_UPDATE", &changed)
        .env("KAFKA_TOPIC_DELETE", &changed);
    let records = carry(&db, &setup, &[&created, &changed], 7).await;
    assert_topics(&records, |operation| match operation {
        "insert" => created.clone(),
        _ => changed.clone(),
    });
}

#[tokio::test]
async fn one_topic_takes_all_operations_in_order_at_the_time_of_producing() {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("RECORD_TIMESTAMP", "now");
    let before = now();
    let records = carry(&db, &setup, &[&topic], 7).await;
    assert!(records.is_sorted_by_key(|record| record.offset));
    let mut differ = false;
    for record in &records {
        let timestamp = record.timestamp.unwrap();
        assert!((before..=now()).contains(&timestamp), "{timestamp}");
        differ |= timestamp.to_string() != record.header("tw-ts");
    }
    assert!(differ, "these are the changes' own times");
}

#[tokio::test]
async fn a_delete_is_followed_by_a_tombstone_with_an_identity_of_its_own() {
    let db = support::database().await;
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_CONFIG", "cleanup.policy=compact")
        .env("TOMBSTONES", true);
    let records = carry(&db, &setup, &[&topic], 8).await;
    let [.., delete, tombstone] = &records[..] else {
        panic!("two records of the delete");
    };
    assert_eq!(delete.header("tw-op"), "delete");
    assert_eq!(tombstone.bytes, None);
    assert_eq!(tombstone.key_bytes, delete.key_bytes);
    assert_eq!(tombstone.partition, delete.partition);
    assert_eq!(tombstone.offset, delete.offset + 1);
    assert_eq!(tombstone.timestamp, delete.timestamp);
    let mut expected = delete.headers.clone();
    *expected.get_mut("tw-id").unwrap() += "-t";
    assert_eq!(tombstone.headers, expected);
}

#[tokio::test]
async fn topics_are_named_after_database_collection_and_operation() {
    let db = support::database().await;
    let setup = Tailwater::on(&db, support::kafka().await)
        .env("KAFKA_TOPIC_INSERT", "{database}.{collection}.new")
        .env("KAFKA_TOPIC_UPDATE", "{database}.{operation}")
        .env("KAFKA_TOPIC_REPLACE", "cdc-{database}_{collection}")
        .env("KAFKA_TOPIC_DELETE", "{database}.{collection}.{operation}");
    let name = db.name();
    let topic = |operation: &str| match operation {
        "insert" => format!("{name}.users.new"),
        "update" => format!("{name}.update"),
        "replace" => format!("cdc-{name}_users"),
        _ => format!("{name}.users.delete"),
    };
    let topics = ["insert", "update", "replace", "delete"].map(topic);
    let topics = topics.each_ref().map(String::as_str);
    let records = carry(&db, &setup, &topics, 7).await;
    assert_topics(&records, topic);
}

/// Creates, renames and drops a collection, then drops the database.
async fn change_definitions(db: &Database) {
    db.create_collection("logs").await.unwrap();
    let name = db.name();
    let rename = doc! {
        "renameCollection": format!("{name}.logs"), "to": format!("{name}.archive"),
    };
    let admin = db.client.database("admin");
    admin.run_command(rename).await.unwrap();
    db.documents("archive").drop().await.unwrap();
    db.documents("last")
        .insert_one(doc! {"_id": 0})
        .await
        .unwrap();
    db.drop().await.unwrap();
}

/// The envelope of an event that is about no document.
fn definition(event: &Document) -> String {
    let ns = event.get_document("ns").unwrap();
    let mut value = format!(
        r#"{{"operationType":"{}","database":"{}""#,
        operation(event),
        ns.get_str("db").unwrap()
    );
    if let Ok(collection) = ns.get_str("coll") {
        value += &format!(r#","collection":"{collection}""#);
    }
    value += &format!(r#","timestamp":"{}""#, iso(time(event)));
    if let Ok(to) = event.get_document("to") {
        let (database, collection) = (to.get_str("db").unwrap(), to.get_str("coll").unwrap());
        value += &format!(r#","to":{{"database":"{database}","collection":"{collection}"}}"#);
    }
    value
}

#[tokio::test]
async fn changes_of_definitions_go_to_their_topic_each_with_what_it_changed() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let (changes, ddl, stream) = (db.topic("changes"), db.topic("ddl"), support::unique("ddl"));
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &changes)
        .env("KAFKA_TOPIC_DDL", "{database}.ddl")
        .env("KAFKA_TOPIC_PARTITIONS", 1)
        .env("SHOW_EXPANDED_EVENTS", true)
        .env("STREAM_ID", &stream)
        .start()
        .await;
    let mut witness = Witness::of(&db).await;
    change_definitions(&db).await;
    let mut events = Vec::new();
    loop {
        let event = witness.next().await;
        match operation(&event) {
            "invalidate" => break,
            "insert" => {}
            _ => events.push(event),
        }
    }
    let mut records = kafka.wait_for_records(&[&ddl], events.len()).await;
    tailwater.stop().await;
    assert_eq!(kafka.records(&[&changes]).await.len(), 1, "the insert");
    records.sort_by_key(Record::seq);
    let operations: Vec<_> = records.iter().map(|r| r.header("tw-op")).collect();
    // A server may tell of each collection's creation and end, or only of the database's.
    let told = |name: &str| operations.contains(&name);
    for name in ["create", "rename", "drop", "dropDatabase"] {
        assert!(told(name), "{name} among {operations:?}");
    }
    assert!(!told("invalidate"), "it changes nothing");

    assert_eq!(records.len(), events.len());
    for (event, record) in events.iter().zip(&records) {
        assert_eq!(record.headers, headers(event, &stream, record.seq()));
        let ns = event.get_document("ns").unwrap();
        let key = match ns.get_str("coll") {
            Ok(collection) => format!(
                r#"{{"database":"{}","collection":"{collection}"}}"#,
                db.name()
            ),
            Err(_) => format!(r#"{{"database":"{}"}}"#, db.name()),
        };
        assert_eq!(record.key_bytes.as_deref(), Some(key.as_bytes()));
        let start = definition(event);
        if event.contains_key("operationDescription") {
            let start = format!(r#"{start},"operationDescription":{{"#);
            assert!(record.text().starts_with(&start), "{}", record.text());
        } else {
            assert_eq!(record.text(), format!("{start}}}"));
        }
    }
}

#[tokio::test]
async fn without_a_topic_changes_of_definitions_are_logged_and_what_follows_goes_on() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let mut tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .start()
        .await;
    change_definitions(&db).await;
    for operation in ["rename", "drop", "dropDatabase"] {
        let line = format!("operation=\"{operation}\"");
        let line = tailwater.wait_for_log(&line).await;
        assert!(line.contains("KAFKA_TOPIC_DDL"), "{line}");
    }
    db.documents("users")
        .insert_one(doc! {"_id": 1})
        .await
        .unwrap();
    let records = kafka.wait_for_records(&[&topic], 2).await;
    tailwater.stop().await;
    let collections: Vec<_> = records.iter().map(|r| &r.value["collection"]).collect();
    assert_eq!(collections, ["last", "users"]);
}
