//! What a stop and a crash of the process leave behind, in every stream.

use super::{Streams, ids};
use crate::support;
use bson::doc;
use std::collections::BTreeSet;

const DATABASES: usize = 10;
const COUNT: i32 = 150;

/// Writes so many documents to each database, side by side.
pub(super) fn write(streams: &Streams, count: i32) -> Vec<tokio::task::JoinHandle<()>> {
    let writer = |index: usize| {
        let users = streams.databases[index].documents("users");
        tokio::spawn(async move {
            for id in 0..count {
                users.insert_one(doc! {"_id": id}).await.unwrap();
            }
        })
    };
    (0..streams.databases.len()).map(writer).collect()
}

async fn kills_of_the_process(delivery: &str) {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, DATABASES).await;
    let setup = streams.under_writes(delivery);
    let mut tailwater = setup.start().await;
    let writers = write(&streams, COUNT);
    for seen in [20, 60, 100] {
        // Wherever each of the streams is then.
        kafka.wait_for_records(&[&streams.topic(3)], seen).await;
        tailwater.kill9();
        tailwater = setup.start().await;
    }
    arrived(&streams, writers, COUNT).await;
    tailwater.stop().await;
    nothing_lost_or_reordered(&streams, COUNT, delivery).await;
}

/// Waits until all that is written has arrived, whatever was repeated.
pub(super) async fn arrived(
    streams: &Streams,
    writers: Vec<tokio::task::JoinHandle<()>>,
    count: i32,
) {
    for writer in writers {
        writer.await.unwrap();
    }
    for index in 0..streams.databases.len() {
        let topic = streams.topic(index);
        let is_whole = |records: &[crate::support::Record]| {
            let seen: BTreeSet<_> = ids(records).into_iter().collect();
            seen.len() == count as usize
        };
        let kafka = support::kafka().await;
        kafka.wait_until(&[&topic], "all of them", is_whole).await;
    }
}

/// Each database's topic has all of its documents in order, for a consumer that leaves out what it has seen; and exactly
/// once for every consumer.
pub(super) async fn nothing_lost_or_reordered(streams: &Streams, count: i32, delivery: &str) {
    let kafka = support::kafka().await;
    for index in 0..streams.databases.len() {
        let topic = streams.topic(index);
        let records = match delivery {
            "exactly_once" => kafka.committed_records(&[&topic]).await,
            _ => kafka.records(&[&topic]).await,
        };
        let mut last = 0;
        let mut fresh = Vec::new();
        for record in &records {
            assert_eq!(record.header("tw-stream"), streams.id(index));
            if record.seq() > last {
                last = record.seq();
                fresh.push(record.clone());
            }
        }
        let every: Vec<_> = (0..i64::from(count)).collect();
        assert_eq!(ids(&fresh), every, "{topic}");
        if delivery == "exactly_once" {
            assert_eq!(records.len(), count as usize, "repeated: {topic}");
        }
    }
}

#[tokio::test]
async fn kills_lose_and_reorder_nothing_in_any_stream_at_least_once() {
    kills_of_the_process("at_least_once").await;
}

#[tokio::test]
async fn kills_lose_reorder_and_repeat_nothing_in_any_stream_exactly_once() {
    kills_of_the_process("exactly_once").await;
}

/// The id of a single stream over a database is that of the stream of the same name.
#[tokio::test]
async fn a_single_stream_becomes_one_of_several_where_it_stood_and_back() {
    let kafka = support::kafka().await;
    let streams = Streams::new(kafka, 2).await;
    let single = streams
        .setup
        .clone()
        .without("STREAMS")
        .env("MONGODB_URI", streams.databases[0].uri());
    let tailwater = single.start().await;
    streams.insert(0, 1).await;
    kafka.wait_for_records(&[&streams.topic(0)], 1).await;
    tailwater.stop().await;
    streams.insert(0, 2).await;

    let tailwater = streams.setup.start().await;
    streams.insert(1, 1).await;
    kafka.wait_for_records(&[&streams.topic(0)], 2).await;
    kafka.wait_for_records(&[&streams.topic(1)], 1).await;
    tailwater.stop().await;
    streams.insert(0, 3).await;

    let tailwater = single.start().await;
    let records = kafka.wait_for_records(&[&streams.topic(0)], 3).await;
    assert_eq!(ids(&records), [1, 2, 3]);
    tailwater.stop().await;
}
