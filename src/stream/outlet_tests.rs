//! The outlet under the real pump: when batches close, what is waited for, and how it ends.

use super::pump::End;
use super::scripted::{BEGIN, LISTENERS, Rig, Run, STATIC, Step, change, delete, reply, reply_at};
use crate::flow::batch::Batching;
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;

const WIDE: Batching = Batching {
    events: 1_000,
    bytes: 1 << 30,
    timeout: Duration::from_secs(60),
};

/// Three events of which the first two are acknowledged: a batch that closes behind the second can be committed.
async fn closes_behind_the_second(batching: Batching, pause_millis: u64) -> bool {
    let mut rig = Rig::new([]);
    rig.batching = batching;
    if pause_millis > 0 {
        rig.producer.refuse(1, RDKafkaErrorCode::QueueFull);
    }
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2), change(3, 3)]).await;
    if pause_millis > 0 {
        assert_eq!(rig.waits(), ["queue"]);
        run.after(pause_millis).await;
    }
    assert_eq!(rig.producer.told().len(), 3);
    rig.producer.acknowledge(2);
    rig.committable() == Some(2)
}

#[tokio::test(start_paused = true)]
async fn a_batch_closes_at_events_bytes_or_time() {
    assert!(!closes_behind_the_second(WIDE, 0).await);
    assert!(closes_behind_the_second(Batching { events: 2, ..WIDE }, 0).await);
    let timeout = Duration::from_millis(20);
    assert!(!closes_behind_the_second(Batching { timeout, ..WIDE }, 19).await);
    assert!(closes_behind_the_second(Batching { timeout, ..WIDE }, 20).await);

    let record = {
        let rig = Rig::new([]);
        let mut run = rig.run();
        run.reply([change(1, 1)]).await;
        rig.budget.used()
    };
    let bytes = record + 1;
    assert!(closes_behind_the_second(Batching { bytes, ..WIDE }, 0).await);
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_waits_for_the_batch_to_fill() {
    let mut rig = Rig::new([]);
    rig.batching = WIDE;
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    assert_eq!(rig.producer.steps().last(), Some(&Step::Pause(true)));
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn without_room_the_batch_closes_and_the_wait_has_a_name() {
    let mut rig = Rig::within(1, []);
    rig.batching = WIDE;
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(rig.producer.told(), ["insert 101"]);
    assert_eq!(rig.waits(), ["budget"]);
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(1));
    run.settle().await;
    assert_eq!(rig.producer.told(), ["insert 101", "insert 102"]);
    assert!(rig.waits().is_empty());
    rig.producer.acknowledge(1);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_a_delete_and_its_tombstone_waits_for_both() {
    let rig = Rig::within(1, [("TOMBSTONES", "true")]);
    let mut run = rig.run();
    run.reply([delete(1, 1), change(2, 2)]).await;
    rig.stop.cancel();
    run.settle().await;
    assert!(run.end().is_none(), "half of an event");
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(0), "the position before it");
    run.settle().await;
    assert_eq!(rig.producer.told(), ["delete 101", "tombstone 101"]);
    assert!(matches!(run.end(), Some(End::Stopped)));
    let mut pump = run.pump();
    assert_eq!(pump.outlet.taken().0, BEGIN.0 + 1);
    rig.producer.acknowledge(1);
    assert!(pump.finish().await);
    assert_eq!(rig.committable(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_first_record_of_an_event_does_not_wait_for_room() {
    let rig = Rig::within(1, []);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(rig.waits(), ["budget"]);
    rig.stop.cancel();
    run.settle().await;
    assert!(matches!(run.end(), Some(End::Stopped)));
    assert_eq!(run.pump().outlet.taken().0, BEGIN.0 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_broken_producer_ends_every_wait() {
    let resting = Rig::new([]);
    let waiting = Rig::within(1, []);
    for rig in [resting, waiting] {
        let mut run = rig.run();
        run.reply([change(1, 1), change(2, 2)]).await;
        rig.producer.break_down();
        run.settle().await;
        assert!(matches!(run.end(), Some(End::Producer)));
        let mut pump = run.pump();
        assert!(!pump.finish().await);
        assert_eq!(rig.committable(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_takes_no_records_is_broken() {
    let rig = Rig::new([]);
    rig.producer.refuse(0, RDKafkaErrorCode::Fatal);
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    assert!(matches!(run.end(), Some(End::Producer)));
    assert_eq!(rig.budget.used(), 0);
}

fn commits(rig: &Rig) -> Vec<u64> {
    let steps = rig.producer.steps().into_iter();
    let commits = steps.filter_map(|step| match step {
        Step::Commit(position) => Some(position.seq.0 - BEGIN.0),
        _ => None,
    });
    commits.collect()
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_committed_when_it_is_due_and_all_is_acknowledged() {
    let mut rig = Rig::new([]);
    rig.transactions = Some(Duration::from_millis(100));
    let mut run = rig.run();
    run.reply([change(1, 1)]).await;
    run.after(99).await;
    assert!(rig.waits().is_empty());
    run.after(1).await;
    assert_eq!(rig.waits(), ["acknowledgements"]);
    assert!(commits(&rig).is_empty());
    rig.producer.acknowledge(1);
    run.settle().await;
    assert_eq!(commits(&rig), [1]);
    let committed = rig.board.committed().unwrap();
    assert_eq!(committed.position.seq.0, BEGIN.0 + 1);
    run.after(1_000).await;
    assert_eq!(commits(&rig), [1], "nothing more to commit");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_due_while_replies_come_is_committed_between_two_events() {
    let mut rig = Rig::within(1, [("TOMBSTONES", "true")]);
    rig.transactions = Some(Duration::from_millis(100));
    let mut run = rig.run();
    run.reply([delete(1, 1), change(2, 2)]).await;
    assert_eq!(rig.waits(), ["acknowledgements"], "for its tombstone");
    run.after(200).await;
    rig.producer.acknowledge(1);
    run.settle().await;
    assert!(commits(&rig).is_empty(), "within an event");
    assert_eq!(rig.producer.told(), ["delete 101", "tombstone 101"]);
    rig.producer.acknowledge(1);
    run.settle().await;
    assert_eq!(commits(&rig), [1]);
    assert_eq!(rig.producer.told().last().unwrap(), "insert 102");
}

/// Commits the first transaction, for which the acknowledgements take so long; the stream is behind then.
async fn commits_slowly(run: &mut Run<'_>, rig: &Rig, millis: u64) {
    let behind = reply_at(&[change(1, 1)], Some(1), Some(1_000));
    run.fetch(behind).await;
    run.after(100).await;
    assert_eq!(rig.waits(), ["acknowledgements"]);
    run.after(millis).await;
    rig.producer.acknowledge_all();
    run.settle().await;
    assert_eq!(commits(rig), [1]);
}

#[tokio::test(start_paused = true)]
async fn while_behind_a_transaction_lasts_nine_times_as_long_as_its_commit() {
    for (took, lasts) in [(5, 100), (200, 1_800), (5_000, 10_000)] {
        let mut rig = Rig::new([]);
        rig.transactions = Some(Duration::from_millis(100));
        let mut run = rig.run();
        commits_slowly(&mut run, &rig, took).await;
        run.fetch(reply_at(&[change(2, 2)], Some(2), Some(1_000)))
            .await;
        rig.producer.acknowledge_all();
        run.after(lasts - 1).await;
        assert_eq!(commits(&rig), [1], "{took}");
        run.after(1).await;
        assert_eq!(commits(&rig), [1, 2], "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_caught_up_commits_at_once_what_has_lasted_for_the_interval() {
    let mut rig = Rig::new([]);
    rig.transactions = Some(Duration::from_millis(100));
    let mut run = rig.run();
    commits_slowly(&mut run, &rig, 5_000).await;
    run.fetch(reply_at(&[change(2, 2)], Some(2), Some(1_000)))
        .await;
    rig.producer.acknowledge_all();
    run.after(500).await;
    assert_eq!(commits(&rig), [1]);
    // Nothing more waits at the source.
    run.fetch(reply_at(&[], Some(3), Some(1_000))).await;
    assert_eq!(commits(&rig), [1, 2]);
    // From then on as ever.
    run.fetch(reply_at(&[change(4, 4)], Some(4), Some(4))).await;
    rig.producer.acknowledge_all();
    run.after(99).await;
    assert_eq!(commits(&rig), [1, 2]);
    run.after(1).await;
    assert_eq!(commits(&rig), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn without_room_it_waits_until_half_is_acknowledged() {
    let weight = {
        let rig = Rig::new([]);
        let mut run = rig.run();
        run.reply([change(1, 1)]).await;
        rig.budget.used()
    };
    let mut rig = Rig::within(4 * weight, []);
    // Each record gives its room back by itself.
    rig.batching = Batching { events: 1, ..WIDE };
    let mut run = rig.run();
    run.reply([1, 2, 3, 4, 5, 6].map(|number| change(number, number.cast_signed())))
        .await;
    assert_eq!(rig.producer.told().len(), 4);
    rig.producer.acknowledge(1);
    run.settle().await;
    assert_eq!(rig.producer.told().len(), 4, "there is room for one");
    rig.producer.acknowledge(1);
    run.settle().await;
    assert_eq!(rig.producer.told().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn half_an_event_is_never_committed() {
    let mut rig = Rig::new([("TOMBSTONES", "true")]);
    rig.transactions = Some(Duration::from_secs(10));
    rig.producer
        .refuse(1, RDKafkaErrorCode::MessageSizeTooLarge);
    let mut run = rig.run();
    run.reply([delete(1, 1)]).await;
    rig.producer.acknowledge(1);
    run.settle().await;
    assert!(matches!(run.end(), Some(End::Failed(_))));
    let mut pump = run.pump();
    rig.producer.acknowledge_all();
    assert!(!pump.finish().await);
    assert_eq!(rig.producer.steps().last(), Some(&Step::Abandon));
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_the_open_transaction() {
    let mut rig = Rig::new([]);
    rig.transactions = Some(Duration::from_secs(10));
    let mut run = rig.run();
    run.fetch(reply(&[change(1, 1), change(2, 2)], None)).await;
    rig.stop.cancel();
    run.settle().await;
    let mut pump = run.pump();
    rig.producer.acknowledge_all();
    assert!(pump.finish().await);
    assert_eq!(commits(&rig), [2]);
}

const BOTH: u8 = STATIC | LISTENERS[0];

#[tokio::test(start_paused = true)]
async fn room_is_taken_for_each_record_of_an_event_and_a_stop_waits_for_all() {
    let rig = Rig::listening([], &["jobs.a"], &[BOTH; 2]).within_bytes(1);
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(rig.producer.told(), ["insert 101"]);
    assert_eq!(rig.waits(), ["budget"]);
    rig.stop.cancel();
    run.settle().await;
    assert!(run.end().is_none(), "half of an event");
    rig.producer.acknowledge(1);
    assert_eq!(rig.committable(), Some(0), "the position before it");
    run.settle().await;
    assert_eq!(rig.producer.told(), ["insert 101", "insert 101 for a"]);
    assert!(matches!(run.end(), Some(End::Stopped)));
    let mut pump = run.pump();
    rig.producer.acknowledge(1);
    assert!(pump.finish().await);
    assert_eq!(rig.committable(), Some(1));
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_not_committed_between_the_records_of_an_event() {
    let mut rig = Rig::listening([], &["jobs.a"], &[BOTH; 2]).within_bytes(1);
    rig.transactions = Some(Duration::from_millis(100));
    let mut run = rig.run();
    run.reply([change(1, 1), change(2, 2)]).await;
    assert_eq!(rig.waits(), ["budget"], "for the listener's record");
    run.after(200).await;
    rig.producer.acknowledge(1);
    run.settle().await;
    assert!(commits(&rig).is_empty());
    assert_eq!(rig.producer.told(), ["insert 101", "insert 101 for a"]);
    rig.producer.acknowledge(1);
    run.settle().await;
    assert_eq!(commits(&rig), [1]);
}
