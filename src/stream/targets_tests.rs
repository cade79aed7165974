//! The real pump where an event makes any number of records, each with a fate of its own.

use super::pump::End;
use super::scripted::{LISTENERS, Rig, STATIC, change, delete, token};
use crate::change::position::Seq;
use crate::error::Code;
use crate::route::TargetId;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};

const A: u8 = LISTENERS[0];
const B: u8 = LISTENERS[1];
const C: u8 = LISTENERS[2];

/// The topics of what was sent.
fn topics(rig: &Rig) -> Vec<String> {
    let sent = rig.producer.sent().into_iter();
    sent.map(|sent| sent.topic).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_makes_as_many_records_as_want_it_and_is_passed_when_all_are_acknowledged() {
    let listeners = ["jobs.a", "jobs.b", "jobs.c"];
    let wanted = [0, STATIC, STATIC | B, A | B | C, C];
    let rig = Rig::listening([], &listeners, &wanted);
    let mut run = rig.run();
    run.reply([
        change(1, 1),
        change(2, 2),
        change(3, 3),
        change(4, 4),
        delete(5, 5),
    ])
    .await;
    assert_eq!(
        rig.producer.told(),
        [
            "insert 102",
            "insert 103",
            "insert 103 for b",
            "insert 104 for a",
            "insert 104 for b",
            "insert 104 for c",
            "delete 105 for c",
        ]
    );
    assert_eq!(
        topics(&rig),
        [
            "changes", "changes", "jobs.b", "jobs.a", "jobs.b", "jobs.c", "jobs.c"
        ]
    );
    assert_eq!(rig.board.passed.get(), 1);
    assert_eq!(rig.committable(), Some(1), "nobody wants the first");
    for _ in 0..7 {
        assert_eq!(rig.committable(), None);
        rig.producer.acknowledge(1);
    }
    assert_eq!(rig.committable(), Some(5));
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_listeners_record_says_whose_it_is_and_has_an_id_of_its_own() {
    let variables = [("TOMBSTONES", "true")];
    let rig = Rig::listening(variables, &["jobs.a", "jobs.b"], &[STATIC | A | B]);
    let mut run = rig.run();
    run.reply([delete(1, 1)]).await;
    rig.producer.acknowledge_all();
    run.settle().await;
    rig.producer.acknowledge_all();
    run.settle().await;
    let data = token(1).data().unwrap().to_owned();
    let sent = rig.producer.sent();
    let headers = |at: usize, name| sent[at].header(name);
    let own = |at: usize| (headers(at, "tw-id"), headers(at, "tw-listener"));
    assert_eq!(own(0), (Some(data.as_str()), None));
    assert_eq!(own(1), (Some(format!("{data}-t").as_str()), None));
    assert_eq!(own(2), (Some(format!("{data}-a").as_str()), Some("a")));
    assert_eq!(own(3), (Some(format!("{data}-a-t").as_str()), Some("a")));
    assert_eq!(own(4), (Some(format!("{data}-b").as_str()), Some("b")));
    assert_eq!(headers(2, "tw-job"), Some("job a"));
    assert_eq!(headers(2, "tw-priority"), Some("high"));
    assert_eq!(headers(4, "tw-priority"), None);
    assert_eq!(headers(0, "tw-job"), None);
    assert!(sent.iter().all(|sent| sent.seq == Seq(101)));
}

#[tokio::test(start_paused = true)]
async fn a_record_too_large_for_one_target_becomes_its_dead_letter_and_the_others_are_delivered() {
    let variables = [("ON_RECORD_ERROR", "dlq"), ("KAFKA_DLQ_TOPIC", "dead")];
    let rig = Rig::listening(variables, &["jobs.a", "jobs.b"], &[STATIC | A | B]);
    rig.stream.topic("jobs.a").learned(100, Some(200));
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    assert_eq!(topics(&rig), ["changes", "jobs.b", "dead"]);
    let sent = rig.producer.sent();
    assert_eq!(sent[2].header("tw-dlq-reason"), Some("too_large"));
    assert_eq!(sent[2].header("tw-listener"), Some("a"));
    assert_eq!(sent[2].header("tw-job"), Some("job a"));
    let id = format!("{}-a", token(1).data().unwrap());
    assert_eq!(sent[2].header("tw-id"), Some(id.as_str()));
    rig.producer.acknowledge(2);
    assert_eq!(
        rig.committable(),
        None,
        "the dead letter is one of its records"
    );
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(1));
    assert_eq!(rig.board.dead_lettered.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_one_target_cannot_have_is_skipped_for_it_alone() {
    let variables = [("ON_RECORD_ERROR", "skip")];
    let rig = Rig::listening(variables, &["jobs.a", "jobs.b"], &[STATIC | A | B; 2]);
    rig.producer
        .refuse(1, RDKafkaErrorCode::MessageSizeTooLarge);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(
        rig.producer.told(),
        [
            "insert 101",
            "insert 101 for b",
            "insert 102",
            "insert 102 for a",
            "insert 102 for b"
        ]
    );
    assert_eq!(rig.board.skipped.get(), 1);
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(2));
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_one_target_cannot_have_stops_the_stream_where_that_is_wanted() {
    let rig = Rig::listening([], &["jobs.a"], &[STATIC | A; 3]);
    rig.producer
        .refuse(3, RDKafkaErrorCode::MessageSizeTooLarge);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 3)]).await;
    match run.end() {
        Some(End::Failed(error)) => {
            assert_eq!(error.code, Code::RecordRefused);
            assert!(
                error.detail.contains("to the listener a (job job a)"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    let mut pump = run.pump();
    rig.producer.acknowledge_all();
    assert!(!pump.finish().await, "half of the second event was sent");
    assert_eq!(rig.committable(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_cannot_be_had_holds_up_only_its_own_target() {
    let variables = [("ON_RECORD_ERROR", "skip")];
    let listeners = ["jobs.gone", "..", "jobs.c"];
    let rig = Rig::listening(variables, &listeners, &[STATIC | A | B | C; 2]);
    rig.stream.forbid("jobs.gone");
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(
        rig.producer.told(),
        [
            "insert 101",
            "insert 101 for c",
            "insert 102",
            "insert 102 for c"
        ]
    );
    assert!(!rig.waits().contains(&"topic"), "{:?}", rig.waits());
    assert_eq!(rig.board.skipped.get(), 4);
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn only_the_suspect_record_of_an_event_is_sent_alone() {
    let mut rig = Rig::listening([], &["jobs.a", "jobs.b"], &[STATIC | A | B]);
    let a = TargetId::of_listener(0).unwrap();
    rig.hints.suspects = BTreeSet::from([(Seq(101), a)]);
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    for sent in 1..3 {
        assert_eq!(rig.producer.told().len(), sent);
        assert_eq!(rig.waits(), ["acknowledgements"]);
        rig.producer.acknowledge(1);
        run.settle().await;
    }
    assert_eq!(rig.producer.told().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_refuses_of_one_target_is_its_dead_letter_alone() {
    let variables = [("ON_RECORD_ERROR", "dlq"), ("KAFKA_DLQ_TOPIC", "dead")];
    let mut rig = Rig::listening(variables, &["jobs.a"], &[STATIC | A; 2]);
    let a = TargetId::of_listener(0).unwrap();
    rig.hints.refused = BTreeMap::from([((Seq(101), a), RDKafkaErrorCode::PolicyViolation)]);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(topics(&rig), ["changes", "dead"]);
    assert_eq!(rig.producer.sent()[1].ticket.target, a);
    assert_eq!(rig.waits(), ["acknowledgements"]);
    rig.producer.acknowledge_all();
    run.settle().await;
    assert_eq!(topics(&rig), ["changes", "dead", "changes", "jobs.a"]);
    rig.producer.acknowledge_all();
    assert_eq!(rig.committable(), Some(2));
}
