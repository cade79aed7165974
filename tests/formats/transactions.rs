//! `provide.transaction.metadata`: what the real connector says of random transactions between plain writes, in its
//! envelopes and in its topic of transactions, Tailwater says byte for byte, also when it is stopped on the way.

use super::{PARTITIONS, Peer, beginning, by_partition, compared, debezium, seed};
use crate::support::{self, Connect, Database, Kafka, Random};
use bson::{Document, doc};

/// More than a map of Java has room for at first: at the end of a transaction, the connector names them in its order.
const COLLECTIONS: u64 = 15;
const ROUNDS: usize = 40;

fn collection(number: u64) -> String {
    format!("c{number}")
}

/// One change of some document, or none where there is nothing to delete.
async fn change(db: &Database, random: &mut Random, session: Option<&mut mongodb::ClientSession>) {
    let documents = db.documents(&collection(random.below(5)));
    let id = doc! {"_id": random.below(6) as i32};
    let with = doc! {"_id": id.get("_id"), "n": random.below(99) as i32};
    macro_rules! carried_out {
        ($action:expr) => {
            match session {
                Some(session) => $action.session(session).await.map(drop),
                None => $action.await.map(drop),
            }
        };
    }
    let changed = match random.below(4) {
        0 => carried_out!(documents.delete_one(id)),
        1 => carried_out!(documents.replace_one(id, with).upsert(true)),
        _ => {
            let set = doc! {"$set": {"m": random.below(99) as i32}};
            carried_out!(documents.update_one(id, set).upsert(true))
        }
    };
    changed.unwrap();
}

async fn write(db: &Database, seed: u64) {
    let mut random = Random(seed);
    let random = &mut random;
    for number in 0..COLLECTIONS {
        let documents = db.documents(&collection(number));
        documents.insert_one(doc! {"_id": 0}).await.unwrap();
    }
    let mut session = db.client.start_session().await.unwrap();
    let mut other = db.client.start_session().await.unwrap();
    for _ in 0..ROUNDS {
        let session = match random.below(3) {
            0 => {
                change(db, random, None).await;
                continue;
            }
            1 => &mut session,
            _ => &mut other,
        };
        session.start_transaction().await.unwrap();
        for _ in 0..=random.below(7) {
            change(db, random, Some(session)).await;
        }
        session.commit_transaction().await.unwrap();
    }
    // The last one, since the connector's map stays as large for all that follow.
    session.start_transaction().await.unwrap();
    for number in 0..COLLECTIONS {
        let documents = db.documents(&collection(number));
        let insert = documents.insert_one(doc! {"_id": "of the last"});
        insert.session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    let documents = db.documents(&collection(0));
    documents.insert_one(doc! {"_id": "last"}).await.unwrap();
}

/// All events up to the last.
async fn events(db: &Database, token: &Document) -> Vec<Document> {
    let token = bson::deserialize_from_document(token.clone()).unwrap();
    let watching = db.watch().resume_after(Some(token)).await.unwrap();
    let mut watching = watching.with_type::<Document>();
    let mut events = Vec::new();
    loop {
        let Some(event) = watching.next_if_any().await.unwrap() else {
            continue;
        };
        let key = event.get_document("documentKey").unwrap();
        let is_last = key.get_str("_id").is_ok_and(|id| id == "last");
        events.push(event);
        if is_last {
            return events;
        }
    }
}

/// How many records of changes there are, and how many that say where transactions begin and end.
fn expected(events: &[Document]) -> (usize, usize) {
    let of_deletes = |event: &&Document| {
        event
            .get_str("operationType")
            .is_ok_and(|it| it == "delete")
    };
    let changes = events.len() + events.iter().filter(of_deletes).count();
    let name = |event: &Document| {
        let lsid = event.get_document("lsid").ok()?.to_string();
        Some((lsid, event.get_i64("txnNumber").ok()?))
    };
    let mut names: Vec<_> = events.iter().map(name).collect();
    names.dedup();
    (changes, 2 * names.iter().flatten().count())
}

fn peer(db: &Database, name: &str, schemas: bool, token: &str, more: Option<&str>) -> Peer {
    let mut peer = debezium(db, name, schemas, token);
    let on = ("provide.transaction.metadata", "true".to_owned());
    peer.properties.push(on);
    peer.variables
        .push(("TRANSACTION_METADATA", "true".to_owned()));
    if let Some(topic) = more {
        peer.properties
            .push(("topic.transaction", topic.to_owned()));
        peer.variables
            .push(("DEBEZIUM_TRANSACTION_TOPIC", topic.to_owned()));
    }
    peer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_debezium_says_of_transactions_is_said_byte_for_byte() {
    let (db, kafka): (Database, &Kafka) = (support::database().await, support::kafka().await);
    let seed = seed();
    let writing = async {
        let (token, _) = beginning(&db).await;
        write(&db, seed).await;
        token
    };
    let (connect, resume) = futures_util::future::join(Connect::start(kafka), writing).await;
    let token = resume.get_str("_data").unwrap();
    let events = events(&db, &resume).await;
    let (changes, bounds) = expected(&events);
    assert!(bounds > 20, "hardly any transactions: {bounds}");

    let peers = [
        (peer(&db, "transactions", false, token, None), "transaction"),
        (peer(&db, "bounds", true, token, Some("of.tx")), "of.tx"),
    ];
    let topics = |(peer, bounds): &(Peer, &str)| -> Vec<String> {
        let of = |number| peer.topic.replace("{}", &collection(number));
        let bounds = format!("{}.{bounds}", peer.name);
        (0..COLLECTIONS).map(of).chain([bounds]).collect()
    };
    for one in &peers {
        for topic in topics(one) {
            kafka.create_topic(&topic, PARTITIONS, &[]).await;
        }
        one.0.start(&connect).await;
    }
    let count = changes + bounds;
    let mut of_connectors = Vec::new();
    for one in &peers {
        let topics = topics(one);
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let records = kafka.wait_for_records(&topics, count).await;
        assert_eq!(records.len(), count, "{}\n{}", one.0.name, connect.log());
        of_connectors.push(by_partition(records));
    }
    drop(connect);

    for (one, theirs) in peers.iter().zip(of_connectors) {
        let topics = topics(one);
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let setup = one.0.setup(&db, kafka, token).env("BATCH_SIZE", 3);
        // It is stopped somewhere, mostly within a transaction.
        let tailwater = setup.start().await;
        kafka.wait_for_records(&topics, count + count / 3).await;
        tailwater.stop().await;
        let tailwater = setup.start().await;
        let all = kafka.wait_for_records(&topics, 2 * count).await;
        tailwater.stop().await;
        let all = by_partition(all);
        assert_eq!(all.len(), theirs.len(), "{}", one.0.name);
        for (place, theirs) in &theirs {
            let ours = &all[place][theirs.len()..];
            for (theirs, ours) in theirs.iter().zip(ours) {
                assert_eq!(compared(theirs), compared(ours), "{}", one.0.name);
            }
            assert_eq!(theirs.len(), ours.len(), "{place:?}");
        }
    }
}
