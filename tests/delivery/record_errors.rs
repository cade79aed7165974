//! Records that Kafka refuses: their neighbours are delivered, in order, and nothing passes unseen.

use super::{assert_complete, assert_first_in_order, committed};
use crate::support::{self, Database, Kafka, PATIENCE, Record, Setup, Tailwater};
use bson::doc;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::Write as _;
use std::time::Duration;
use tailwater::error::Code;
use tailwater::kafka::produce;

/// Text that does not compress below this length, as a broker sees it.
fn noise(len: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut text = String::new();
    while text.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text.truncate(len);
    text
}

fn on(db: &Database, kafka: &Kafka, topic: &str) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", topic)
        .env("KAFKA_DLQ_TOPIC", format!("{topic}.dead"))
}

const LIMIT: &str = "20000";

/// Writes a backlog of many small changes to few documents, with two that are over [`LIMIT`] early
/// and late in it; returns the number of changes.
async fn write_backlog(db: &Database) -> usize {
    let documents = db.documents("users");
    let mut count = 0;
    for round in 0..40_i32 {
        for id in 0..10 {
            let mut document = doc! {"round": round, "text": noise(200, 7)};
            if (round, id) == (0, 3) || (round, id) == (30, 5) {
                document.insert("large", noise(60_000, 11));
            }
            documents
                .replace_one(doc! {"_id": id}, document)
                .upsert(true)
                .await
                .unwrap();
            count += 1;
        }
    }
    count
}

/// With compression on, whether a record fits is known only by sending it.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_refused_among_others_is_found_and_dead_lettered_alone() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let settings = [("max.message.bytes", LIMIT)];
    kafka.create_topic(&topic, 2, &settings).await;
    let setup = on(&db, kafka, &topic)
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_PROP_COMPRESSION_TYPE", "lz4");
    let mut tailwater = setup.start().await;
    tailwater.signal(Signal::STOP);
    let written = write_backlog(&db).await;
    tailwater.signal(Signal::CONT);
    let dead = format!("{topic}.dead");
    check_diverted(kafka, &topic, &dead, written).await;
    tailwater.stop().await;

    // The checkpoint is behind the dead letters: nothing comes again.
    let before = kafka.records(&[&topic, &dead]).await.len();
    setup.start().await.stop().await;
    assert_eq!(kafka.records(&[&topic, &dead]).await.len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_the_refused_record_is_diverted_inside_the_next_one() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    let dead = format!("{topic}.dead");
    let settings = [("max.message.bytes", LIMIT)];
    kafka.create_topic(&topic, 2, &settings).await;
    let mut tailwater = on(&db, kafka, &topic)
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_PROP_COMPRESSION_TYPE", "lz4")
        .env("DELIVERY", "exactly_once")
        .env("COMMIT_INTERVAL_MS", 100)
        .start()
        .await;
    tailwater.signal(Signal::STOP);
    let written = write_backlog(&db).await;
    tailwater.signal(Signal::CONT);
    let delivered = committed(kafka, &topic, written - 2).await;
    let letters = committed(kafka, &dead, 2).await;
    tailwater.stop().await;
    assert_eq!((delivered.len(), letters.len()), (written - 2, 2));
    assert_first_in_order(&delivered);
    let all: Vec<_> = delivered.into_iter().chain(letters).collect();
    assert_complete(&all, written);
}

/// The limit that was learned at the start is no longer the topic's, and the refused batch is the
/// first that the producer sends: Kafka has nothing yet to hold the next ones against.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_lowered_while_running_reorders_nothing() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    kafka.create_topic(&topic, 1, &[]).await;
    let setup = on(&db, kafka, &topic).env("ON_RECORD_ERROR", "dlq");
    let mut tailwater = setup.start().await;
    tailwater.signal(Signal::STOP);
    let settings = [("max.message.bytes", LIMIT)];
    kafka.alter_topic(&topic, &settings).await;
    let written = write_backlog(&db).await;
    tailwater.signal(Signal::CONT);
    check_diverted(kafka, &topic, &format!("{topic}.dead"), written).await;
    tailwater.stop().await;
}

async fn check_diverted(kafka: &Kafka, topic: &str, dead: &str, written: usize) {
    let topics = [topic, dead];
    let records = kafka
        .wait_until(&topics, "every change", |records| {
            let mut seqs: Vec<_> = records.iter().map(Record::seq).collect();
            seqs.sort_unstable();
            seqs.dedup();
            seqs.len() >= written
        })
        .await;
    assert_complete(&records, written);
    let (letters, delivered): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.topic == dead);
    assert_first_in_order(&delivered);
    let mut refused: Vec<_> = letters.iter().map(Record::seq).collect();
    refused.dedup();
    assert_eq!(refused.len(), 2, "only the two large ones are diverted");
    assert!(
        letters
            .iter()
            .all(|l| l.header("tw-dlq-reason") == "too_large")
    );
    let small = |record: &Record| record.bytes.as_ref().is_some_and(|b| b.len() < 20_000);
    assert!(delivered.iter().all(small));
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_it_stops_at_the_record_says_what_helps_and_goes_on_once_that_is_done() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", LIMIT)])
        .await;
    let setup = on(&db, kafka, &topic);
    let documents = db.documents("users");
    for compression in ["none", "lz4"] {
        let before = kafka.records(&[&topic]).await.len();
        let setup = setup
            .clone()
            .env("KAFKA_PROP_COMPRESSION_TYPE", compression);
        let mut tailwater = setup.start().await;
        documents.insert_one(doc! {"number": 1}).await.unwrap();
        documents
            .insert_one(doc! {"large": noise(60_000, 3)})
            .await
            .unwrap();
        documents.insert_one(doc! {"number": 2}).await.unwrap();
        let exit = tailwater.wait_exit(PATIENCE).await;
        assert_eq!(
            exit.code,
            Some(i32::from(Code::RecordRefused.exit_code())),
            "{}",
            exit.output
        );
        for advice in [
            "max.message.bytes",
            "KAFKA_PROP_COMPRESSION_TYPE",
            "ON_RECORD_ERROR",
        ] {
            assert!(exit.output.contains(advice), "{}", exit.output);
        }
        kafka.wait_for_records(&[&topic], before + 1).await;

        let settings = [("max.message.bytes", "200000")];
        kafka.alter_topic(&topic, &settings).await;
        let tailwater = setup.start().await;
        kafka.wait_for_records(&[&topic], before + 3).await;
        tailwater.stop().await;
        let records = kafka.records(&[&topic]).await;
        assert_eq!(
            records.len(),
            before + 3,
            "the checkpoint was right before it"
        );
        kafka
            .alter_topic(&topic, &[("max.message.bytes", LIMIT)])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_by_the_users_choice_it_is_counted_and_logged() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", LIMIT)])
        .await;
    let mut tailwater = on(&db, kafka, &topic)
        .env("ON_RECORD_ERROR", "skip")
        .start()
        .await;
    let documents = db.documents("users");
    documents
        .insert_one(doc! {"large": noise(60_000, 3)})
        .await
        .unwrap();
    documents.insert_one(doc! {"_id": "after"}).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 1).await;
    assert_eq!(records[0].value["documentKey"]["_id"], "after");
    let line = tailwater.wait_for_event("record_skipped").await;
    assert!(line.contains("too_large"), "{line}");
    tailwater.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_just_the_limit_passes_and_one_byte_more_is_not_even_sent() {
    let db = support::database().await;
    let kafka = support::kafka().await;
    let topic = db.topic("changes");
    kafka
        .create_topic(&topic, 1, &[("max.message.bytes", LIMIT)])
        .await;
    let mut tailwater = on(&db, kafka, &topic)
        .env("ON_RECORD_ERROR", "dlq")
        .start()
        .await;
    let documents = db.documents("users");
    let text = |len| "x".repeat(len);
    let probe = 15_000;
    let document = doc! {"_id": 1, "text": text(probe)};
    documents.insert_one(document).await.unwrap();
    let records = kafka.wait_for_records(&[&topic], 1).await;
    let limit: usize = LIMIT.parse().unwrap();
    let exact = probe + limit - wire_size(&records[0]);
    for (id, len) in [(2, exact), (3, exact + 1), (4, exact)] {
        let document = doc! {"_id": id, "text": text(len)};
        documents.insert_one(document).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&topic], 3).await;
    let ids: Vec<_> = records
        .iter()
        .map(|r| &r.value["documentKey"]["_id"])
        .collect();
    assert_eq!(ids, [1, 2, 4]);
    assert_eq!(wire_size(&records[1]), limit);
    tailwater.wait_for_event("record_dead_lettered").await;
    let exit = tailwater.stop().await;
    assert!(!exit.output.contains("kafka refused"), "{}", exit.output);
}

/// The size of a record that was read back, in a batch of its own.
fn wire_size(record: &Record) -> usize {
    // In the order they were written in.
    let headers: Vec<(&str, &[u8])> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    produce::Record {
        topic: &CString::new(record.topic.as_str()).unwrap(),
        partition: None,
        key: record.key_bytes.as_deref().unwrap_or_default(),
        is_keyless: false,
        value: record.bytes.as_deref(),
        timestamp_millis: 0,
        headers: &headers,
        more_headers: &[],
    }
    .wire_size()
}

/// The first batch that a producer sends to a partition is refused as a whole while the next one is
/// on the wire already: Kafka has no sequence yet to hold that one against.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_first_batch_is_not_overtaken_by_the_second() {
    let db = support::database().await;
    let mut kafka = Kafka::dedicated(&[]).await;
    let (topic, trial) = (db.topic("changes"), db.topic("trial"));
    kafka.create_topic(&topic, 2, &[]).await;
    kafka.create_topic(&trial, 2, &[]).await;
    let documents = db.documents("users");

    // Which documents go to which partition.
    let tailwater = on(&db, &kafka, &trial).start().await;
    for id in 0..20_i32 {
        documents.insert_one(doc! {"_id": id}).await.unwrap();
    }
    let records = kafka.wait_for_records(&[&trial], 20).await;
    tailwater.stop().await;
    let ids = |partition| {
        let of = records.iter().filter(move |r| r.partition == partition);
        of.map(|r| i32::try_from(r.value["documentKey"]["_id"].as_i64().unwrap()).unwrap())
            .collect::<Vec<_>>()
    };
    let (warm, cold) = (ids(0)[0], ids(1));

    let tailwater = on(&db, &kafka, &topic)
        .env("ON_RECORD_ERROR", "dlq")
        .env("KAFKA_PROP_BATCH_SIZE", 30_000)
        // So that the large record has neighbours in its batch.
        .env("KAFKA_PROP_LINGER_MS", 50)
        .start()
        .await;
    documents
        .replace_one(doc! {"_id": warm}, doc! {})
        .await
        .unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    kafka
        .alter_topic(&topic, &[("max.message.bytes", LIMIT)])
        .await;
    kafka.stop_signal();
    // A batch that is refused, and half of one that is not.
    for round in 0..14_i32 {
        let large = if round == 2 { 25_000 } else { 700 };
        let document = doc! {"round": round, "text": noise(large, 7)};
        let id = cold[usize::try_from(round).unwrap() % 3];
        documents
            .replace_one(doc! {"_id": id}, document)
            .await
            .unwrap();
    }
    // Time for both batches to be sent. Were it too short, the test would show less, not fail.
    tokio::time::sleep(Duration::from_secs(1)).await;
    kafka.cont();
    let dead = format!("{topic}.dead");
    let records = kafka
        .wait_until(&[&topic, &dead], "every change", |records| {
            let seqs: BTreeSet<_> = records.iter().map(Record::seq).collect();
            seqs.len() >= 15
        })
        .await;
    tailwater.stop().await;
    assert_complete(&records, 15);
    let (_, delivered): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| r.topic == dead);
    assert_first_in_order(&delivered);
}
