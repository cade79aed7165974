use super::*;
use proptest::prelude::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn only_what_is_done_without_a_gap_is_committed_and_each_once() {
    let assigned = Assigned::new("jobs.a", 0);
    for offset in [3, 4, 7, 8] {
        assert!(assigned.take(offset, 10));
    }
    assert!(!assigned.take(8, 10) && !assigned.take(2, 10));
    assigned.finish(7);
    assigned.finish(4);
    assert_eq!(assigned.to_commit(), None);
    assert_eq!(assigned.held(), (4, 40));
    assigned.finish(3);
    assert_eq!(assigned.to_commit(), Some(8));
    assert_eq!(assigned.to_commit(), None);
    assert_eq!(assigned.held(), (1, 10));
    assigned.not_committed();
    assert_eq!(assigned.to_commit(), Some(8));
    // What is done twice, or not known, changes nothing.
    assigned.finish(3);
    assigned.finish(99);
    assert_eq!(assigned.to_commit(), None);
}

#[test]
fn no_attempt_begins_once_a_partition_is_about_to_be_given_away() {
    let assigned = Arc::new(Assigned::new("jobs.a", 0));
    let attempt = assigned.begin();
    assigned.close();
    assert!(assigned.begin().is_none());
    assert_eq!(assigned.running(), 1);
    drop(attempt);
    assert_eq!(assigned.running(), 0);
}

#[test]
fn what_is_deleted_before_it_is_read_is_lost_and_the_ends_of_transactions_are_not() {
    let lost = |count, is_sure| Lost { count, is_sure };
    let none = Lost::default();
    let assigned = Assigned::new("jobs.a", 0);
    // Nothing is known of what was before.
    assert_eq!(assigned.note_log((5, 9), Some(5)), none);
    for offset in [5, 6, 8, 11] {
        assigned.take(offset, 1);
    }
    // Read, while the log begins where it began: transactions ended at 7, 9 and 10.
    assert_eq!(assigned.note_log((5, 20), None), none);
    assert_eq!(assigned.state().waiting(), 4 + 8);
    // What was read was deleted meanwhile.
    assigned.take(13, 1);
    assert_eq!(assigned.note_log((14, 20), None), none);
    // From 14 on to 29 it was deleted unread.
    assigned.take(30, 1);
    assert_eq!(assigned.note_log((30, 40), None), lost(16, true));
    assert_eq!(assigned.note_log((30, 40), None), none, "told once");
    // All the rest, without a record behind it; what is fetched and not read yet is not lost.
    assert_eq!(assigned.note_log((40, 40), None), none);
    assert_eq!(assigned.note_log((40, 40), Some(40)), lost(9, true));
    assert_eq!(assigned.note_log((40, 40), Some(40)), none, "told once");
    assigned.take(40, 1);
    // A transaction has ended at 41, which is deleted with all the rest.
    assert_eq!(assigned.note_log((40, 42), Some(42)), none);
    assert_eq!(assigned.note_log((42, 42), Some(42)), none);
}

#[test]
fn what_was_deleted_while_no_worker_was_there_is_lost() {
    for (low, count, is_sure) in [(7, 0, false), (8, 1, false), (9, 2, true)] {
        let expected = Lost { count, is_sure };
        let empty = Assigned::new("jobs.a", 0);
        empty.begin_at(7);
        assert_eq!(empty.note_log((low, low), Some(low)), expected, "{low}");
        let full = Assigned::new("jobs.a", 0);
        full.begin_at(7);
        full.take(low, 1);
        assert_eq!(full.note_log((low, low + 1), None), expected, "{low}");
    }
}

#[test]
fn a_partition_that_ends_before_where_it_ended_is_that_of_another_topic_and_told_once() {
    let first = Assigned::new("jobs.a", 0);
    first.take(5, 1);
    first.note_log((5, 9), None);
    assert_eq!(first.made_again(9), None);
    // It was given away, and has come back at once; nothing was read of it yet.
    let second = Assigned::new("jobs.a", 0);
    second.comes_after(&first);
    let third = Assigned::new("jobs.a", 0);
    third.comes_after(&second);
    assert_eq!(third.made_again(9), None);
    third.note_log((5, 9), None);
    assert_eq!(third.made_again(2), Some(4));
    third.note_log((0, 2), None);
    assert_eq!((third.made_again(1), third.all_lost()), (None, None));
    // The first thing that is heard of it is where the other one ends.
    let fourth = Assigned::new("jobs.a", 0);
    fourth.comes_after(&second);
    assert_eq!(fourth.made_again(2), Some(4));
    assert_eq!((first.all_lost(), first.all_lost()), (Some(4), None));
}

#[test]
fn one_that_begins_anew_takes_back_what_was_committed_of_the_former() {
    let before = Instant::now();
    let anew = Assigned::anew("jobs.a", 0);
    assert!(anew.is_anew_since(before) && !anew.is_anew_since(Instant::now() + MINUTE));
    assert!(!Assigned::new("jobs.a", 0).is_anew_since(before));
    assert!(anew.take(0, 1) && anew.take(1, 1));
    assert_eq!((anew.to_commit(), anew.to_commit()), (Some(0), None));
    assert_eq!(anew.next_with(&BTreeSet::from([1])), Some(0));
    anew.finish(0);
    assert_eq!(anew.to_commit(), Some(1));
}

proptest! {
    #[test]
    fn what_is_committed_is_the_contiguous_prefix(
        gaps in proptest::collection::vec(1..4_i64, 1..60),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..90),
    ) {
        let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
        let assigned = Assigned::new("jobs.a", 0);
        for offset in &offsets {
            assigned.take(*offset, 1);
        }
        let mut done = vec![false; offsets.len()];
        let mut committed = None;
        for index in order {
            let at = index.index(offsets.len());
            done[at] = true;
            assigned.finish(offsets[at]);
            committed = assigned.to_commit().or(committed);
            let prefix = done.iter().take_while(|done| **done).count();
            let expected = prefix.checked_sub(1).map(|last| offsets[last] + 1);
            prop_assert_eq!(committed, expected);
            prop_assert_eq!(assigned.held().0, offsets.len() - prefix);
        }
    }
}
