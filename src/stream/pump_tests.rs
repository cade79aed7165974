//! The pump between a source and a producer that a test scripts.

use super::pump::End;
use super::scripted::{
    BEGIN, Rig, change, delete, drop_collection, fragment, reply, token, unwanted,
};
use crate::change::position::Seq;
use crate::error::Code;
use crate::mongo::errors::SourceFault;
use crate::retry::GivenUp;
use crate::route::TargetId;
use crate::source::reader::{Fault, Fetched};
use bson::{Document, RawDocumentBuf, doc};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn records_leave_in_the_order_of_their_events() {
    let rig = Rig::new([("TOMBSTONES", "true")]);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), delete(3, 1)]).await;
    run.reply([drop_collection(4), change(5, 2)]).await;
    rig.producer.acknowledge_all();
    run.settle().await;
    assert_eq!(
        rig.producer.told(),
        [
            "insert 101",
            "insert 102",
            "delete 103",
            "tombstone 103",
            "insert 105"
        ]
    );
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(5));
    assert_eq!(rig.board.passed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_has_a_number_if_and_only_if_the_filter_wants_it() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    let without_record = drop_collection(4);
    run.reply([
        change(1, 1),
        unwanted(2),
        change(3, 2),
        without_record,
        change(5, 3),
    ])
    .await;
    rig.producer.acknowledge_all();
    run.settle().await;
    rig.producer.acknowledge_all();
    assert_eq!(
        rig.producer.told(),
        ["insert 101", "insert 102", "insert 104"]
    );
    assert_eq!(rig.committable(), Some(4));
    // It is passed all the same, in its place.
    run.reply([unwanted(6)]).await;
    assert_eq!(rig.committable(), Some(4));
    assert_eq!(rig.board.passed.get(), 3);
    run.reply([change(7, 4), unwanted(8)]).await;
    assert_eq!(rig.producer.told().last().unwrap(), "insert 105");
    assert_eq!(rig.committable(), None);
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_first_record_to_a_partition_before_it_is_acknowledged() {
    for transactions in [None, Some(Duration::from_secs(10))] {
        let mut rig = Rig::new([]);
        rig.transactions = transactions;
        let mut run = rig.run();
        run.reply([change(1, 1), change(2, 1), change(3, 1)]).await;
        assert_eq!(rig.producer.told(), ["insert 101"]);
        assert_eq!(rig.waits(), ["acknowledgements"]);
        rig.producer.acknowledge(1);
        run.settle().await;
        assert_eq!(rig.producer.told().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_are_sent_with_nothing_else_in_flight() {
    let mut rig = Rig::new([]);
    rig.hints.suspects = BTreeSet::from([(Seq(102), TargetId::STATIC)]);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 3)]).await;
    for sent in 1..3 {
        assert_eq!(rig.producer.told().len(), sent);
        assert_eq!(rig.waits(), ["acknowledgements"]);
        rig.producer.acknowledge(1);
        run.settle().await;
    }
    assert_eq!(rig.producer.told().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_is_skipped_where_that_is_wanted() {
    let rig = Rig::new([("ON_RECORD_ERROR", "skip")]);
    rig.producer
        .refuse(1, RDKafkaErrorCode::MessageSizeTooLarge);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 2)]).await;
    assert_eq!(rig.producer.told().first().unwrap(), "insert 101");
    rig.producer.acknowledge_all();
    run.settle().await;
    rig.producer.acknowledge_all();
    assert_eq!(rig.producer.told(), ["insert 101", "insert 103"]);
    assert_eq!(rig.board.skipped.get(), 1);
    assert_eq!(rig.committable(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_stops_the_stream_otherwise_and_nothing_is_passed() {
    let rig = Rig::new([]);
    rig.producer
        .refuse(1, RDKafkaErrorCode::MessageSizeTooLarge);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 3)]).await;
    match run.end() {
        Some(End::Failed(error)) => assert_eq!(error.code, Code::RecordRefused),
        other => panic!("{other:?}"),
    }
    let mut pump = run.pump();
    rig.producer.acknowledge_all();
    assert!(pump.finish().await);
    assert_eq!(rig.committable(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_has_refused_alone_becomes_a_dead_letter_in_its_place() {
    let mut rig = Rig::new([("ON_RECORD_ERROR", "dlq"), ("KAFKA_DLQ_TOPIC", "dead")]);
    rig.hints.refused = BTreeMap::from([(
        (Seq(102), TargetId::STATIC),
        RDKafkaErrorCode::PolicyViolation,
    )]);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 3)]).await;
    let topics = || rig.producer.sent().into_iter().map(|sent| sent.topic);
    assert!(topics().eq(["changes", "dead"]));
    assert_eq!(
        rig.waits(),
        ["acknowledgements"],
        "it may be refused as well"
    );
    assert_eq!(rig.committable(), None);
    rig.producer.acknowledge_all();
    run.settle().await;
    assert!(topics().eq(["changes", "dead", "changes"]));
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_before_what_comes_behind_it() {
    let mut rig = Rig::new([("KAFKA_TOPIC_DDL", "schema")]);
    let gap = doc! { "_id": doc! { "_data": token(1).data() }, "operationType": "gap", "ns": { "db": "shop" } };
    rig.hints.gap = Some(RawDocumentBuf::try_from(&gap).unwrap());
    let mut run = rig.run();
    run.reply([change(2, 1)]).await;
    assert_eq!(rig.producer.told(), ["gap 101", "insert 102"]);
    assert_eq!(rig.committable(), None, "the gap is not acknowledged");
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), None, "nor is all of its batch");
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_split_event_is_one_record_and_no_position_lies_within_it() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.fetch(reply(&[fragment(1, 1, 1)], Some(1))).await;
    assert!(rig.producer.told().is_empty());
    assert_eq!(rig.committable(), None);
    let last = fragment(1, 1, 2);
    let last_token = last.get_document("_id").unwrap().get_str("_data").unwrap();
    run.fetch(reply(std::slice::from_ref(&last), None)).await;
    assert_eq!(rig.producer.told(), ["insert 101"]);
    rig.producer.acknowledge_all();
    let committable = rig.tracker.take_committable().unwrap();
    assert_eq!(committable.position().token.data(), Some(last_token));
}

#[tokio::test(start_paused = true)]
async fn fragments_that_come_again_from_the_first_are_one_record() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.fetch(reply(&[fragment(1, 1, 1)], None)).await;
    run.fetch(Fetched::SplitAnew).await;
    run.fetch(reply(&[fragment(1, 1, 1), fragment(1, 1, 2)], None))
        .await;
    assert_eq!(rig.producer.told(), ["insert 101"]);
    assert!(run.end().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_post_batch_token_is_committed_only_after_what_is_before_it() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.fetch(reply(&[], Some(3))).await;
    let idle = rig.tracker.take_committable().unwrap();
    assert_eq!(idle.position().token, token(3));
    assert_eq!(idle.position().seq, BEGIN);
    run.reply([change(4, 1)]).await;
    run.fetch(reply(&[], Some(9))).await;
    assert_eq!(rig.committable(), None);
    rig.producer.acknowledge_all();
    let behind = rig.tracker.take_committable().unwrap();
    assert_eq!(behind.position().token, token(9));
    assert_eq!(behind.position().seq, Seq(101));
}

/// A change whose token is too large to be stored.
fn with_a_large_token() -> Document {
    let mut large = change(1, 1);
    let data = format!("{}{}", token(1).data().unwrap(), "0".repeat(200 << 10));
    large.insert("_id", doc! { "_data": data });
    large
}

#[tokio::test(start_paused = true)]
async fn a_token_too_large_to_be_stored_is_never_a_commit_point() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.fetch(reply(&[with_a_large_token()], None)).await;
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), None);
    run.fetch(reply(&[change(2, 2)], None)).await;
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_behind_a_token_too_large_to_be_stored_says_so() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.fetch(reply(&[with_a_large_token()], None)).await;
    rig.producer.acknowledge_all();
    rig.stop.cancel();
    run.settle().await;
    assert!(matches!(run.end(), Some(End::Stopped)));
    let mut pump = run.pump();
    assert!(!pump.finish().await);
    assert!(pump.outlet.is_without_room());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_ends_it_behind_what_came_before() {
    let rig = Rig::new([]);
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    let fault = Fault {
        kind: SourceFault::HistoryLost,
        error: mongodb::error::Error::custom("the oplog has moved on"),
        given_up: GivenUp::AtOnce,
    };
    run.fetch(Fetched::Failed(fault)).await;
    assert!(matches!(run.end(), Some(End::Source(_))));
    let mut pump = run.pump();
    rig.producer.acknowledge_all();
    assert!(pump.finish().await);
    assert_eq!(rig.committable(), Some(1));
}
