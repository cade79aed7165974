//! Random changes of listeners under writes, with kills: each listener gets exactly what it asks for at each place.
//!
//! One writer does everything, one step after the other, so that the order of its steps is that of the server's
//! history. What each listener must get follows from the steps alone.

use super::{listener, listening, topic};
use crate::support::wire::Wire;
use crate::support::{self, Database, Mongo, PATIENCE, Random, Tailwater, eventually};
use bson::{Document, doc};
use std::collections::{BTreeMap, BTreeSet};

const COLLECTIONS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const KINDS: [&str; 3] = ["x", "y", "z"];
const LISTENERS: usize = 8;

/// What a listener asks for now.
#[derive(Debug, Clone)]
struct Asked {
    collection: &'static str,
    kinds: BTreeSet<&'static str>,
    operations: BTreeSet<&'static str>,
    is_active: bool,
}

impl Asked {
    fn random(random: &mut Random) -> Self {
        Self {
            collection: random.pick(&COLLECTIONS),
            kinds: some(random, &KINDS),
            operations: some(random, &["insert", "update", "delete"]),
            is_active: !random.once_in(10),
        }
    }

    fn filter(&self) -> Document {
        match self.kinds.len() {
            0 => doc! {},
            1 => doc! {"_id.kind": self.kinds.first().unwrap()},
            _ => doc! {"_id.kind": {"$in": Vec::from_iter(self.kinds.iter().copied())}},
        }
    }

    fn wants(&self, collection: &str, operation: &str, kind: &str) -> bool {
        self.is_active
            && self.collection == collection
            && self.operations.contains(operation)
            && (self.kinds.is_empty() || self.kinds.contains(kind))
    }
}

fn some<const N: usize>(random: &mut Random, of: &[&'static str; N]) -> BTreeSet<&'static str> {
    let chosen = of.iter().copied().filter(|_| random.once_in(2));
    let mut chosen: BTreeSet<_> = chosen.collect();
    if chosen.is_empty() && N == 3 && of[0] == "insert" {
        chosen.insert(of[0]);
    }
    chosen
}

struct World<'a> {
    db: &'a Database,
    random: Random,
    asked: BTreeMap<usize, Asked>,
    /// By listener: operation and number of the document, in order.
    expected: BTreeMap<usize, Vec<(String, i64)>>,
    alive: Vec<(&'static str, &'static str, i64)>,
    next: i64,
    jobs: usize,
}

impl World<'_> {
    /// The document of a listener. Its job is always another: the local server leaves an entry in a unique index
    /// behind where a document is written from two sides.
    fn document(&mut self, id: &str, asked: &Asked) -> Document {
        let mut document = listener(self.db, id, asked.collection, asked.filter());
        document.insert(
            "operationType",
            Vec::from_iter(asked.operations.iter().copied()),
        );
        document.insert("isActive", asked.is_active);
        document.insert("jobName", self.job(id));
        document
    }

    fn job(&mut self, id: &str) -> String {
        self.jobs += 1;
        format!("{id}-{}", self.jobs)
    }

    async fn change_listener(&mut self) {
        let listeners = self.db.documents("listeners");
        let number = self.random.index(LISTENERS);
        let id = name(number);
        let by_id = doc! {"_id": &id};
        let Some(asked) = self.asked.get(&number).cloned() else {
            let asked = Asked::random(&mut self.random);
            let document = self.document(&id, &asked);
            listeners.insert_one(document).await.unwrap();
            self.asked.insert(number, asked);
            return;
        };
        let mut asked = asked;
        match self.random.below(6) {
            0 => {
                listeners.delete_one(by_id).await.unwrap();
                self.asked.remove(&number);
                return;
            }
            1 => {
                asked.is_active = !asked.is_active;
                let set = doc! {"$set": {"isActive": asked.is_active}};
                listeners.update_one(by_id, set).await.unwrap();
            }
            2 => {
                asked.kinds = some(&mut self.random, &KINDS);
                let set = doc! {"$set": {"filter": asked.filter()}};
                listeners.update_one(by_id, set).await.unwrap();
            }
            3 => {
                asked.operations = some(&mut self.random, &["insert", "update", "delete"]);
                let list = Vec::from_iter(asked.operations.iter().copied());
                let set = doc! {"$set": {"operationType": list, "metadata": {"note": "x"}}};
                listeners.update_one(by_id, set).await.unwrap();
            }
            4 => {
                asked.collection = self.random.pick(&COLLECTIONS);
                let job = self.job(&id);
                let set = doc! {"$set": {"collection": asked.collection, "jobName": job}};
                listeners.update_one(by_id, set).await.unwrap();
            }
            _ => {
                asked = Asked::random(&mut self.random);
                let document = self.document(&id, &asked);
                listeners.replace_one(by_id, document).await.unwrap();
            }
        }
        self.asked.insert(number, asked);
    }

    async fn change_data(&mut self) {
        let choice = self.random.below(4);
        let (operation, collection, kind, number) = match self.alive.is_empty() || choice < 2 {
            true => {
                let collection = self.random.pick(&COLLECTIONS);
                let kind = self.random.pick(&KINDS);
                let number = self.next;
                self.next += 1;
                let document = doc! {"_id": {"kind": kind, "number": number}, "value": 0};
                let documents = self.db.documents(collection);
                documents.insert_one(document).await.unwrap();
                self.alive.push((collection, kind, number));
                ("insert", collection, kind, number)
            }
            false => {
                let at = self.random.index(self.alive.len());
                let (collection, kind, number) = self.alive[at];
                let documents = self.db.documents(collection);
                let by_id = doc! {"_id": {"kind": kind, "number": number}};
                if choice == 2 {
                    let add = doc! {"$inc": {"value": 1}};
                    documents.update_one(by_id, add).await.unwrap();
                    ("update", collection, kind, number)
                } else {
                    documents.delete_one(by_id).await.unwrap();
                    self.alive.swap_remove(at);
                    ("delete", collection, kind, number)
                }
            }
        };
        for (listener, asked) in &self.asked {
            if asked.wants(collection, operation, kind) {
                let expected = self.expected.entry(*listener).or_default();
                expected.push((operation.to_owned(), number));
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("listener-{number}")
}

/// When the process is killed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Killed {
    /// Some times, and started again at once.
    Often,
    /// At the beginning: all changes are there when it is started again, in as few replies as hold them.
    First,
}

pub(super) async fn run(
    seed: u64,
    changes: usize,
    variables: &[(&str, &str)],
    through: Option<&Wire>,
    killed: Killed,
) {
    // What nobody reads for a while must not be pushed out of the oplog by all the other tests.
    let own = match killed {
        Killed::First => Some(Mongo::dedicated(&["--oplog-max-entries", "1000000"]).await),
        Killed::Often => None,
    };
    let mongo = match &own {
        Some(own) => own,
        None => support::mongo().await,
    };
    let (db, kafka) = (mongo.database().await, support::kafka().await);
    let mut setup = listening(&db, kafka);
    if let Some(wire) = through {
        setup = setup.env("MONGODB_URI", wire.uri_of(db.name()));
    }
    for (name, value) in variables {
        setup = setup.env(name, value);
    }
    let mut world = World {
        db: &db,
        random: Random(seed),
        asked: BTreeMap::new(),
        expected: BTreeMap::new(),
        alive: Vec::new(),
        next: 0,
        jobs: 0,
    };
    let mut process: Tailwater = setup.start().await;
    // `scripts/long` asks for more.
    let asked = std::env::var("TAILWATER_TEST_CHANGES").ok();
    let changes = asked.map_or(changes, |count| count.parse().expect("a number"));
    let kills = 4;
    if killed == Killed::First {
        process.kill9();
    }
    for change in 0..changes {
        world.change_listener().await;
        for _ in 0..world.random.below(5) {
            world.change_data().await;
        }
        if killed == Killed::Often && change % (changes / (kills + 1)) == 7 {
            process.kill9();
            process = setup.start().await;
        }
    }
    if killed == Killed::First {
        process = setup.start().await;
    }
    // What every listener gets last.
    let listeners = db.documents("listeners");
    let end = listener(&db, "end", "end", doc! {});
    listeners.insert_one(end).await.unwrap();
    db.documents("end")
        .insert_one(doc! {"_id": 0})
        .await
        .unwrap();
    super::records(&db, kafka, "end", 1).await;
    let is_exact = variables.contains(&("DELIVERY", "exactly_once"));
    for (listener, expected) in &world.expected {
        let topic = topic(&db, &name(*listener));
        let found = eventually(PATIENCE, &format!("all of {topic}"), async || {
            let records = kafka.committed_records(&[&topic]).await;
            let mut seen = BTreeSet::new();
            let mut found = BTreeMap::<i64, Vec<String>>::new();
            let mut count = 0;
            for record in &records {
                let is_new = seen.insert(record.header("tw-id").to_owned());
                assert!(
                    is_new || !is_exact,
                    "twice in {topic}: {:?}",
                    record.headers
                );
                if is_new {
                    count += 1;
                    let number = record.value["documentKey"]["_id"]["number"]
                        .as_i64()
                        .unwrap();
                    let operation = record.value["operationType"].as_str().unwrap();
                    found.entry(number).or_default().push(operation.to_owned());
                }
            }
            (count >= expected.len()).then_some(found)
        })
        .await;
        let mut wanted = BTreeMap::<i64, Vec<String>>::new();
        for (operation, number) in expected {
            wanted.entry(*number).or_default().push(operation.clone());
        }
        assert_eq!(found, wanted, "listener {listener}, seed {seed}");
    }
    process.stop().await;
}

#[tokio::test]
async fn a_thousand_changes_at_least_once() {
    run(1, 500, &[], None, Killed::Often).await;
    let store = [("RESUME_STORE", "mongodb")];
    run(2, 500, &store, None, Killed::Often).await;
}

#[tokio::test]
async fn a_thousand_changes_exactly_once() {
    let exactly = [("DELIVERY", "exactly_once")];
    run(3, 1000, &exactly, None, Killed::Often).await;
}

/// Many changes of listeners and of documents are in one reply then.
#[tokio::test]
async fn a_thousand_changes_while_nobody_looks() {
    run(5, 500, &[], None, Killed::First).await;
    let exactly = [("DELIVERY", "exactly_once")];
    run(6, 500, &exactly, None, Killed::First).await;
}
