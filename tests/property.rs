//! Random writes by several writers at once: who reads the topics from the beginning ends with
//! MongoDB's own content.
//!
//! `TAILWATER_TEST_SEED` repeats a run's writes; how the writers interleave is the server's affair.

use crate::support::{self, Database, Random, Record, Tailwater};
use bson::{Bson, Document, doc};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;

const COLLECTIONS: [&str; 3] = ["users", "orders", "audit.log"];
/// Few, so that the writers meet on the same documents.
const IDS: u64 = 12;
const WRITERS: u64 = 4;
const WRITES: usize = 120;

impl Random {
    fn id(&mut self) -> Document {
        doc! {"_id": self.below(IDS) as i32}
    }

    fn value(&mut self, depth: u32) -> Bson {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Bson::Int32(self.next() as i32),
            1 => Bson::Int64(self.next() as i64),
            2 => Bson::Double(self.below(1000) as f64 / 4.0),
            3 => Bson::String(format!("text {}\n\"☃\"", self.below(100))),
            4 => Bson::Boolean(self.below(2) == 0),
            5 => Bson::DateTime(bson::DateTime::from_millis(self.below(1 << 42) as i64)),
            6 => Bson::Null,
            7 => Bson::Document(self.document(depth - 1)),
            _ => {
                let len = self.below(6);
                Bson::Array((0..len).map(|_| self.value(depth - 1)).collect())
            }
        }
    }

    fn document(&mut self, depth: u32) -> Document {
        let count = self.below(5);
        let fields = ["a", "b", "c", "n", "list"];
        (0..count)
            .map(|_| (self.pick(&fields).to_owned(), self.value(depth)))
            .collect()
    }
}

/// One writer's share. What fails as it would for any client (a duplicate key, a `$push` to what is
/// no array) changes nothing and is left at that.
async fn write(db: &Database, mut random: Random) {
    for _ in 0..WRITES {
        let collection = db.documents(random.pick(&COLLECTIONS));
        let id = random.id();
        let kind = random.below(12);
        let upsert = random.below(2) == 0;
        let document = random.document(2);
        let value = random.value(1);
        let field = random.pick(&["a", "b", "c.x", "list.0"]);
        let update = |update: Document| {
            let collection = collection.clone();
            let id = id.clone();
            async move {
                let updated = collection.update_one(id, update).upsert(upsert).await;
                updated.map(drop)
            }
        };
        let written = match kind {
            0..=2 => {
                let mut whole = id.clone();
                whole.extend(document);
                collection.insert_one(whole).await.map(drop)
            }
            3 => {
                let replaced = collection.replace_one(id, document).upsert(upsert);
                replaced.await.map(drop)
            }
            4 => collection.delete_one(id).await.map(drop),
            5 => update(doc! {"$set": {field: value}}).await,
            6 => update(doc! {"$unset": {field: ""}, "$inc": {"n": 1}}).await,
            7 => update(doc! {"$push": {"list": value}}).await,
            8 => update(doc! {"$set": {"list": ["a", "b", "c", "d"]}}).await,
            9 => {
                // Cuts the array's end off, which is told as a truncation.
                let cut = vec![doc! {"$set": {"list": {"$slice": ["$list", 1]}}}];
                let only = doc! {"_id": id.get("_id"), "list.1": {"$exists": true}};
                collection.update_one(only, cut).await.map(drop)
            }
            10 => {
                let some = doc! {"_id": {"$lt": random.below(IDS) as i32}};
                let inc = doc! {"$inc": {"touched": 1}};
                collection.update_many(some, inc).await.map(drop)
            }
            _ => {
                let set = doc! {"$set": {"claimed": random.below(9) as i32}};
                collection.find_one_and_update(id, set).await.map(drop)
            }
        };
        // Only what the network does would be a failure of the test.
        if let Err(error) = written {
            assert!(
                tailwater::mongo::errors::server_code(&error).is_some(),
                "{error}"
            );
        }
    }
}

/// Lets the writers loose, and says with which seed.
async fn write_all(db: &Database) {
    let seed = std::env::var("TAILWATER_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| Random(u64::from(std::process::id())).next());
    println!("TAILWATER_TEST_SEED={seed}");
    let mut seeds = Random(seed);
    let writers = (0..WRITERS).map(|_| write(db, Random(seeds.next())));
    join_all(writers).await;
}

type Contents = BTreeMap<String, Value>;

fn key(collection: &str, id: &Value) -> String {
    format!("{collection} {id}")
}

/// MongoDB's own content, in canonical Extended JSON.
async fn contents(db: &Database) -> Contents {
    let mut contents = Contents::new();
    for collection in COLLECTIONS {
        for document in db.contents(collection).await {
            let document = Bson::Document(document).into_canonical_extjson();
            contents.insert(key(collection, &document["_id"]), document);
        }
    }
    contents
}

/// Applies records in stream order: each document's last state is what is left.
fn rebuild(records: &[&Record]) -> Contents {
    let mut contents = Contents::new();
    for record in records {
        let value = &record.value;
        let collection = value["collection"].as_str().unwrap();
        let key = key(collection, &value["documentKey"]["_id"]);
        match record.header("tw-op") {
            "insert" | "replace" => {
                contents.insert(key, value["fullDocument"].clone());
            }
            "update" => match &value["fullDocument"] {
                // The look-up came after the document was deleted, which is told next.
                Value::Null if value.get("fullDocument").is_some() => {}
                Value::Null => {
                    let document = contents.get_mut(&key).expect("updated after its insert");
                    apply(document, &value["updateDescription"]);
                }
                document => {
                    contents.insert(key, document.clone());
                }
            },
            "delete" => {
                contents.remove(&key);
            }
            other => panic!("{other}"),
        }
    }
    contents
}

/// Applies an `updateDescription`.
fn apply(document: &mut Value, description: &Value) {
    for cut in description["truncatedArrays"].as_array().unwrap() {
        let field = cut["field"].as_str().unwrap();
        let size = &cut["newSize"]["$numberInt"];
        let size = size.as_str().unwrap().parse().unwrap();
        let array = field
            .split('.')
            .fold(&mut *document, |at, name| step(at, name));
        array.as_array_mut().unwrap().truncate(size);
    }
    for (path, value) in description["updatedFields"].as_object().unwrap() {
        let at = path
            .split('.')
            .fold(&mut *document, |at, name| step(at, name));
        *at = value.clone();
    }
    for path in description["removedFields"].as_array().unwrap() {
        let (parents, name) = match path.as_str().unwrap().rsplit_once('.') {
            Some((parents, name)) => (parents, name),
            None => ("", path.as_str().unwrap()),
        };
        let parents = parents.split('.').filter(|name| !name.is_empty());
        let at = parents.fold(&mut *document, |at, name| step(at, name));
        at.as_object_mut().unwrap().remove(name);
    }
}

/// The field or element of that name, made where there is none.
fn step<'a>(at: &'a mut Value, name: &str) -> &'a mut Value {
    match at {
        Value::Array(elements) => {
            let index: usize = name.parse().unwrap();
            while elements.len() <= index {
                elements.push(Value::Null);
            }
            &mut elements[index]
        }
        Value::Object(fields) => fields.entry(name).or_insert(Value::Null),
        other => panic!("no {name} in {other}"),
    }
}

/// Leaves out what `tw-seq` tells to be a repetition, partition by partition as they are consumed.
fn without_repetitions(records: &[Record]) -> Vec<&Record> {
    let mut last = BTreeMap::new();
    let mut fresh = Vec::new();
    for record in records {
        let last = last.entry((&record.topic, record.partition)).or_insert(0);
        if record.seq() > *last {
            *last = record.seq();
            fresh.push(record);
        }
    }
    fresh
}

fn assert_same(rebuilt: &Contents, own: &Contents) {
    for (key, document) in own {
        assert_eq!(rebuilt.get(key), Some(document), "{key}");
    }
    assert_eq!(rebuilt.len(), own.len(), "documents that are deleted");
    assert!(!own.is_empty());
}

#[tokio::test]
async fn one_topic_rebuilds_the_database_also_over_a_crash() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let setup = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 3)
        .env("COMMIT_INTERVAL_MS", 100)
        .env("JSON_MODE", "canonical");
    let mut tailwater = setup.start().await;
    let crash = async {
        kafka.wait_for_records(&[&topic], 100).await;
        tailwater.kill9();
        setup.start().await
    };
    let (tailwater, ()) = futures_util::future::join(crash, write_all(&db)).await;
    finish(&db, tailwater, &topic).await;

    let records = kafka.records(&[&topic]).await;
    let partitions: BTreeMap<_, _> = records
        .iter()
        .map(|r| (&r.key_bytes, r.partition))
        .collect();
    assert!(
        records
            .iter()
            .all(|r| partitions[&r.key_bytes] == r.partition),
        "a document keeps its partition"
    );
    let mut rebuilt = rebuild(&without_repetitions(&records));
    rebuilt.retain(|key, _| !key.starts_with("end "));
    assert_same(&rebuilt, &contents(&db).await);
}

/// With updates as descriptions only: a lost, doubled or misplaced one shows in what is rebuilt.
#[tokio::test]
async fn topics_by_operation_merged_by_their_numbers_rebuild_the_database_change_by_change() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let names = ["insert", "update", "replace", "delete"].map(|name| db.topic(name));
    let [insert, update, replace, delete] = &names;
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_TOPIC_INSERT", insert)
        .env("KAFKA_TOPIC_UPDATE", update)
        .env("KAFKA_TOPIC_REPLACE", replace)
        .env("KAFKA_TOPIC_DELETE", delete)
        .env("KAFKA_TOPIC_PARTITIONS", 2)
        .env("FULL_DOCUMENT", "default")
        .env("JSON_MODE", "canonical")
        .start()
        .await;
    write_all(&db).await;
    finish(&db, tailwater, insert).await;

    let records = kafka.records(&[insert, update, replace, delete]).await;
    let mut merged = without_repetitions(&records);
    assert_eq!(merged.len(), records.len(), "nothing is repeated");
    merged.sort_by_key(|record| record.seq());
    let first = merged[0].seq();
    assert!(
        merged
            .iter()
            .zip(first..)
            .all(|(record, seq)| record.seq() == seq),
        "each change has its number"
    );
    let mut rebuilt = rebuild(&merged);
    rebuilt.retain(|key, _| !key.starts_with("end "));
    assert_same(&rebuilt, &contents(&db).await);
}

/// Waits until the last change is there, and stops: then everything before it is there as well.
async fn finish(db: &Database, tailwater: Tailwater, inserts: &str) {
    db.documents("end").insert_one(doc! {}).await.unwrap();
    support::kafka()
        .await
        .wait_until(&[inserts], "the end", |records| {
            let last = records.last();
            last.is_some_and(|record| record.value["collection"] == "end")
        })
        .await;
    tailwater.stop().await;
}
