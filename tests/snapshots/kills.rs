//! Killed at random moments and handed from one instance to another, under random writes of every kind to documents
//! with `_id`s of every type. Two judges say what has come of it: `tailwater verify`, and a fold of the topics that has
//! nothing in common with it.
//!
//! `TAILWATER_TEST_KILLS` says how many kills there are, `TAILWATER_TEST_SEED` repeats a run's choices.

use super::documents::ids;
use super::judge::{self, Chunks};
use super::setup;
use crate::support::{Database, PATIENCE, Random, Setup, Tailwater, database, http, kafka, unique};
use crate::verify;
use bson::{Bson, Document, doc};
use mongodb::Collection;
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Kills of the short form.
const KILLS: u64 = 4;

/// Those that are written to at random.
const COLLECTIONS: [&str; 3] = ["b", "m", "x"];

/// What is renamed into one another, and dropped: before, between and behind the others.
const MOVING: [&str; 3] = ["a", "n", "z"];

const DOCUMENTS: usize = 2500;

/// The least size of a document, and of a chunk.
const PAD: usize = 200;
const CHUNK: usize = 64 << 10;

/// Those of the ids that the server takes.
async fn fill(collection: &Collection<Document>, ids: Vec<Bson>) -> Vec<Bson> {
    let document = |id: &Bson| doc! {"_id": id.clone(), "n": 0, "pad": "x".repeat(PAD)};
    let mut taken = Vec::new();
    for ids in ids.chunks(100) {
        let all = collection.insert_many(ids.iter().map(document));
        if all.await.is_ok() {
            taken.extend_from_slice(ids);
            continue;
        }
        // The server of the tests does not take every type.
        for id in ids {
            let one = collection.insert_one(document(id)).await;
            taken.extend(one.is_ok().then(|| id.clone()));
        }
    }
    taken
}

struct Writers {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<u64>>,
}

impl Writers {
    fn start(db: &Database, filled: Vec<(&'static str, Vec<Bson>)>, seed: u64) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        for ((name, ids), number) in filled.into_iter().zip(1..) {
            let collection = db.documents(name);
            let random = Random(seed ^ number);
            tasks.push(tokio::spawn(write(collection, ids, random, stop.clone())));
        }
        let moving = move_about(
            db.client.clone(),
            db.name().to_owned(),
            Random(seed),
            stop.clone(),
        );
        tasks.push(tokio::spawn(moving));
        Self { stop, tasks }
    }

    async fn stop(self) -> u64 {
        self.stop.cancel();
        let mut all = 0;
        for task in self.tasks {
            all += task.await.unwrap();
        }
        all
    }
}

/// Changes documents at random.
async fn write(
    collection: Collection<Document>,
    mut ids: Vec<Bson>,
    mut random: Random,
    stop: CancellationToken,
) -> u64 {
    let mut count = 0;
    while !stop.is_cancelled() {
        let id = ids[random.index(ids.len())].clone();
        let at = doc! {"_id": id.clone()};
        let n = random.below(1 << 20) as i32;
        let done = match random.below(12) {
            0 | 1 => collection.delete_one(at).await.map(drop),
            2 | 3 => {
                let new = doc! {"n": n, "pad": "y".repeat(PAD)};
                let replaced = collection.replace_one(at, new).upsert(true);
                replaced.await.map(drop)
            }
            4 => {
                let new = ids_of_now(&mut random, n);
                let document = doc! {"_id": new.clone(), "n": n, "pad": "z".repeat(PAD)};
                let inserted = collection.insert_one(document).await;
                ids.push(new);
                inserted.map(drop)
            }
            5 => {
                let change = doc! {"$push": {"list": n}, "$unset": {"pad": 1}};
                collection.update_one(at, change).await.map(drop)
            }
            6 => {
                let some = doc! {"n": {"$lt": n}, "list": {"$exists": true}};
                let change = doc! {"$set": {"pad": "w".repeat(PAD)}, "$unset": {"list": 1}};
                collection.update_many(some, change).await.map(drop)
            }
            7 => {
                let few: Vec<_> = (0..3)
                    .map(|_| ids[random.index(ids.len())].clone())
                    .collect();
                let few = doc! {"_id": {"$in": few}};
                collection.delete_many(few).await.map(drop)
            }
            8 => {
                // Gone, and there again at once: with another content.
                let again = doc! {"_id": id, "n": n, "again": true};
                match collection.delete_one(at).await {
                    Ok(_) => collection.insert_one(again).await.map(drop),
                    Err(error) => Err(error),
                }
            }
            _ => {
                let change = doc! {"$inc": {"n": 1}};
                collection.update_one(at, change).await.map(drop)
            }
        };
        done.unwrap();
        count += 1;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    count
}

/// A new `_id` that sorts anywhere.
fn ids_of_now(random: &mut Random, n: i32) -> Bson {
    let name = format!("{:x}", random.next());
    match random.below(4) {
        0 => name.into(),
        1 => (f64::from(n) + 0.125 + random.below(1 << 30) as f64 * 1e-12).into(),
        2 => bson::oid::ObjectId::new().into(),
        _ => doc! {"new": name}.into(),
    }
}

/// Renames collections into one another, drops them and makes them again.
async fn move_about(
    client: mongodb::Client,
    database: String,
    mut random: Random,
    stop: CancellationToken,
) -> u64 {
    let db = client.database(&database);
    let mut count = 0;
    while !stop.is_cancelled() {
        let [from, to] = [random.pick(&MOVING), random.pick(&MOVING)];
        let collection = db.collection::<Document>(from);
        if from != to {
            let rename = doc! {
                "renameCollection": format!("{database}.{from}"), "to": format!("{database}.{to}"),
                "dropTarget": true,
            };
            // It may not be there.
            let _ = client.database("admin").run_command(rename).await;
        } else if random.once_in(3) {
            collection.drop().await.unwrap();
        }
        for _ in 0..20 {
            let id = random.below(400) as i32;
            let change = doc! {"$inc": {"n": 1}, "$set": {"pad": "m".repeat(PAD)}};
            let name = random.pick(&MOVING);
            let collection = db.collection::<Document>(name);
            let changed = collection.update_one(doc! {"_id": id}, change).upsert(true);
            changed.await.unwrap();
            count += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    count
}

/// Two instances that agree on who carries the stream.
struct Pair {
    setup: Setup,
    members: [Tailwater; 2],
}

impl Pair {
    async fn start(setup: Setup) -> Self {
        let members = [setup.start().await, setup.start().await];
        Self { setup, members }
    }

    /// Which of the two carries the stream, and what it tells of the snapshot.
    async fn carrier(&self) -> (usize, Value) {
        let end = Instant::now() + 2 * PATIENCE;
        loop {
            for (index, member) in self.members.iter().enumerate() {
                if let Some(view) = view(member).await {
                    return (index, view);
                }
            }
            let [one, two] = self.members.each_ref().map(Tailwater::log);
            assert!(
                Instant::now() < end,
                "nobody has the stream:\n{one}\n\n{two}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn finished(&self) -> (usize, Value) {
        let end = Instant::now() + 3 * PATIENCE;
        loop {
            let (carrier, view) = self.carrier().await;
            if view["state"] == "finished" {
                return (carrier, view);
            }
            assert!(Instant::now() < end, "not finished: {view:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn again(&self, carrier: usize) {
        let addr = self.members[carrier].http_addr().unwrap();
        // The end of this instance's stream may come first.
        let _ = http::post(addr, "/api/snapshots", "", "{}").await;
    }
}

async fn view(member: &Tailwater) -> Option<Value> {
    let reply = http::get(member.http_addr()?, "/api/snapshots")
        .await
        .ok()?;
    let list: Value = serde_json::from_str(&reply.body).ok()?;
    list["snapshots"].get(0).cloned()
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

async fn killed_and_handed_over(delivery: &str) {
    let kills = setting("TAILWATER_TEST_KILLS").unwrap_or(KILLS);
    let seed = setting("TAILWATER_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("TAILWATER_TEST_SEED={seed}");
    let mut random = Random(seed);
    let (db, kafka) = (database().await, kafka().await);
    let mut filled = Vec::new();
    for name in COLLECTIONS {
        let ids = ids(&mut random, DOCUMENTS);
        let taken = fill(&db.documents(name), ids).await;
        assert!(taken.len() > DOCUMENTS * 8 / 10, "{}", taken.len());
        filled.push((name, taken));
    }
    for name in ["a", "z"] {
        fill(&db.documents(name), (0..400).map(Bson::from).collect()).await;
    }
    let (setup, topic) = setup(&db, kafka);
    let ddl = db.topic("ddl");
    let setup = setup
        .env("KAFKA_TOPIC_DDL", &ddl)
        .env("DELIVERY", delivery)
        .env("SNAPSHOT", "initial")
        .env("SNAPSHOT_CHUNK_BYTES", CHUNK)
        .env("SNAPSHOT_RATE_LIMIT", "3000docs")
        // Far more than a chunk would be sent within it.
        .env("COMMIT_INTERVAL_MS", 2000);
    let setup = match delivery {
        "exactly_once" => setup
            .env("COORDINATION", "kafka")
            .env("COORDINATION_TOPIC", db.topic("instances"))
            .env("COMMIT_INTERVAL_MS", 100)
            .env("KAFKA_SESSION_TIMEOUT_MS", 2000),
        _ => setup
            .env("COORDINATION", "mongodb")
            .env("RESUME_STORE", "mongodb")
            .env("LEASE_DATABASE", unique("leases").replace('-', "_"))
            .env("LEASE_HEARTBEAT_MS", 200)
            .env("LEASE_TIMEOUT_MS", 1000)
            .env("LEASE_POLL_MS", 500),
    };
    let writers = Writers::start(&db, filled, seed);
    let began = Instant::now();
    let mut pair = Pair::start(setup).await;
    let (mut done, mut of_carriers, mut hand_overs) = (0, 0, 0);
    while done < kills {
        tokio::time::sleep(Duration::from_millis(100 + random.below(1200))).await;
        let (carrier, view) = pair.carrier().await;
        if view["state"] == "finished" {
            pair.again(carrier).await;
            continue;
        }
        let victim = match random.once_in(6) {
            true => 1 - carrier,
            false => carrier,
        };
        let kills_both = random.once_in(8);
        let member = &mut pair.members[victim];
        if random.once_in(6) {
            // As an orchestrator does: it hands over by itself.
            member.signal(Signal::TERM);
            assert_eq!(member.wait_exit(PATIENCE).await.code, Some(0));
        } else {
            member.kill9();
            done += 1;
            of_carriers += u64::from(victim == carrier);
            if kills_both {
                pair.members[1 - victim].kill9();
                pair.members[1 - victim] = pair.setup.spawn();
                of_carriers += u64::from(victim != carrier);
            }
        }
        if victim == carrier {
            let (next, _) = pair.carrier().await;
            assert_ne!(next, carrier, "it is dead");
            hand_overs += 1;
        }
        pair.members[victim] = pair.setup.spawn();
    }
    let (carrier, last) = pair.finished().await;
    let written = writers.stop().await;
    let took = began.elapsed();

    let report = verify::run(&pair.setup, &["verify", "--output", "json"], verify::EQUAL).await;
    for collection in report["collections"].as_array().unwrap() {
        for figure in ["missing", "extra", "different", "outOfOrder"] {
            assert_eq!(collection[figure], 0, "{report:#}");
        }
        assert_eq!(collection["unknown"], serde_json::json!({}), "{report:#}");
    }
    let topics = [ddl.as_str(), topic.as_str()];
    let records = match delivery {
        "exactly_once" => kafka.committed_records(&topics).await,
        _ => kafka.records(&topics).await,
    };
    let fold = judge::fold(&records);
    for name in COLLECTIONS.iter().chain(&MOVING) {
        judge::assert_equal(&fold, &db, name).await;
    }
    let chunks = Chunks::of(&records, &COLLECTIONS);
    println!(
        "{delivery}: {done} kills, {of_carriers} of the one that read, {hand_overs} hand-overs in {:.0} s: {written} \
         writes, {} records, {} snapshots with {} rows, {} of them again; the last {}",
        took.as_secs_f64(),
        records.len(),
        chunks.snapshots,
        chunks.rows,
        chunks.again,
        last["id"],
    );
    if delivery == "exactly_once" {
        assert_eq!(chunks.again, 0, "no row comes twice");
    }
    // At most one chunk of each of the two queries.
    let most = of_carriers * 2 * (CHUNK / PAD) as u64;
    assert!(chunks.again <= most, "{} of {most}", chunks.again);
    assert!(hand_overs > 0);
    let [one, two] = pair.members;
    for member in match carrier {
        0 => [two, one],
        _ => [one, two],
    } {
        let mut member = member;
        member.signal(Signal::TERM);
        let exit = member.wait_exit(PATIENCE).await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_hand_overs_under_every_kind_of_write_leave_both_judges_content() {
    killed_and_handed_over("at_least_once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_transactions_they_repeat_no_row_either() {
    killed_and_handed_over("exactly_once").await;
}
