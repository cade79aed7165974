use super::*;
use crate::live::grant::Grant;
use crate::live::group::Taken;
use crate::live::selection::Asked;
use serde_json::json;
use std::time::Duration;

const LARGE: usize = 1 << 20;

fn hub(recent: usize) -> Hub {
    bounded(Bounds {
        recent,
        queue: 64 * LARGE,
    })
}

fn bounded(bounds: Bounds) -> Hub {
    let hub = Hub::new(JsonMode::Simple, bounds, Arc::default());
    hub.grow("changes", 2);
    hub.set_ready(true);
    hub
}

fn place(partition: usize) -> Place {
    Place {
        topic: 0,
        partition,
    }
}

fn room(name: &str) -> Arc<Selection> {
    let asked = Asked {
        filter: Some(json!({ "room": name })),
        ..Asked::default()
    };
    Arc::new(Selection::new(asked, Arc::new(Grant::everything()), JsonMode::Simple).unwrap())
}

fn all() -> Arc<Selection> {
    let grant = Arc::new(Grant::everything());
    Arc::new(Selection::new(Asked::default(), grant, JsonMode::Simple).unwrap())
}

fn message(room: &str, partition: usize, offset: i64) -> Arc<Change> {
    let value = json!({
        "operationType": "insert", "database": "chat", "collection": "msgs",
        "documentKey": {"_id": offset}, "fullDocument": {"room": room, "n": offset},
    });
    Arc::new(Change::of_value(place(partition), offset, &value))
}

/// Tells all, as if time went by.
fn flush(hub: &Hub) {
    let mut now = Instant::now();
    while let Some(next) = hub.flush(now) {
        now = next;
    }
}

/// What a member has not taken yet: the offset of each event, and its position.
fn taken(member: &mut Member) -> Vec<(i64, Position)> {
    let mut all = Vec::new();
    while let Taken::Batch(batch, from) = member.take() {
        for entry in batch.entries.iter().filter(|entry| entry.seq >= from) {
            all.push((entry.offset, Position::decode(batch.id(entry)).unwrap()));
        }
    }
    all
}

fn offsets(changes: &[Arc<Change>]) -> Vec<i64> {
    changes.iter().map(|change| change.offset).collect()
}

#[test]
fn a_member_is_told_what_comes_after_it_has_joined_and_each_event_with_its_position() {
    let hub = hub(LARGE);
    let mut first = hub.join(&room("r1"), CancellationToken::new()).0;
    hub.take(message("r1", 0, 5));
    // Taken up and not yet told: it comes before the second one joins.
    let (mut second, position) = hub.join(&room("r1"), CancellationToken::new());
    assert_eq!(position.next(place(0)), 6);
    hub.take(message("r2", 1, 8));
    hub.take(message("r1", 1, 9));
    flush(&hub);
    let told = taken(&mut first);
    assert_eq!(
        told.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
        [5, 9]
    );
    assert_eq!((told[0].1.next(place(0)), told[0].1.next(place(1))), (6, 0));
    assert_eq!(
        (told[1].1.next(place(0)), told[1].1.next(place(1))),
        (6, 10)
    );
    assert_eq!(taken(&mut second).len(), 1);
    assert!(hub.position_of(&mut second).is_some());
    hub.take(message("r1", 0, 6));
    assert_eq!(hub.position_of(&mut second), None);
}

#[test]
fn whoever_comes_back_is_told_what_is_kept_behind_its_position_and_then_joins() {
    let hub = hub(LARGE);
    for offset in 0..600 {
        hub.take(message("r1", (offset % 2) as usize, offset / 2));
    }
    let mut position = Position::default();
    position.grow("changes", 2);
    position.raise(place(0), 10);
    let cut = CancellationToken::new();
    let Recent::More(first, next) = hub.recent(&room("r1"), &mut position, 0, (false, false), &cut)
    else {
        panic!()
    };
    let Recent::More(second, next) =
        hub.recent(&room("r1"), &mut position, next, (false, false), &cut)
    else {
        panic!()
    };
    let Recent::Joined(third, mut member, None) =
        hub.recent(&room("r1"), &mut position, next, (false, false), &cut)
    else {
        panic!()
    };
    let all = [offsets(&first), offsets(&second), offsets(&third)].concat();
    assert_eq!(all.len(), 590);
    assert!(all.iter().filter(|offset| **offset < 10).count() == 10);
    hub.take(message("r1", 0, 300));
    flush(&hub);
    assert_eq!(taken(&mut member).len(), 1);
}

#[test]
fn a_position_before_what_is_kept_or_ahead_of_what_was_read_is_for_kafka_to_judge() {
    let hub = hub(20_000);
    for offset in 0..1_000 {
        hub.take(message("r1", 0, offset));
    }
    let (now, oldest, _) = hub.positions();
    assert!(oldest.next(place(0)) > 900 && now.next(place(0)) == 1_000);
    let cut = CancellationToken::new();
    let ask = |next: i64, known| {
        let mut position = now.clone();
        position.set(place(0), next);
        hub.recent(&room("r1"), &mut position, 0, (known, false), &cut)
    };
    assert!(matches!(
        ask(oldest.next(place(0)) - 1, true),
        Recent::Elsewhere
    ));
    assert!(matches!(ask(1_001, false), Recent::Elsewhere));
    assert!(matches!(
        ask(oldest.next(place(0)), false),
        Recent::Joined(_, _, None)
    ));
    let Recent::Joined(none, _, Some(ahead)) = ask(1_001, true) else {
        panic!()
    };
    assert!(none.is_empty() && ahead.next(place(0)) == 1_001);
}

#[test]
fn one_who_takes_nothing_is_cut_when_a_mebibyte_waits_and_the_others_are_not() {
    let hub = hub(LARGE);
    let (slow_cut, quick_cut) = (CancellationToken::new(), CancellationToken::new());
    let mut slow = hub.join(&room("r1"), slow_cut.clone()).0;
    let mut quick = hub.join(&room("r1"), quick_cut.clone()).0;
    let text = "x".repeat(100_000);
    for offset in 0..200 {
        let value = json!({"operationType": "insert", "database": "d", "collection": "c", "documentKey": {"_id": 1}, "fullDocument": {"room": "r1", "text": text}});
        hub.take(Arc::new(Change::of_value(place(0), offset, &value)));
        flush(&hub);
        assert_eq!(taken(&mut quick).len(), 1);
        hub.sweep();
        assert!(!quick_cut.is_cancelled());
    }
    assert!(slow_cut.is_cancelled());
    assert!(matches!(slow.take(), Taken::Lost));
    assert!(hub.counts.queue_bytes.get() < 16 << 20);
    hub.leave(&slow);
    hub.leave(&quick);
    hub.sweep();
    assert_eq!(hub.counts.questions.get(), 0);
}

#[test]
fn what_everybody_has_taken_is_forgotten() {
    let hub = hub(LARGE);
    let mut member = hub.join(&room("r1"), CancellationToken::new()).0;
    hub.take(message("r1", 0, 1));
    flush(&hub);
    hub.sweep();
    assert!(hub.counts.queue_bytes.get() > 0);
    assert_eq!(taken(&mut member).len(), 1);
    hub.sweep();
    assert_eq!(hub.counts.queue_bytes.get(), 0);
    hub.take(message("r1", 0, 2));
    flush(&hub);
    assert_eq!(taken(&mut member).len(), 1);
}

#[test]
fn what_waits_for_all_is_bounded_and_who_is_furthest_behind_is_cut() {
    let hub = bounded(Bounds {
        recent: LARGE,
        queue: 10_000,
    });
    let cuts = [(); 3].map(|()| CancellationToken::new());
    let [_slow, mut quick, _quiet] = ["slow", "quick", "quiet"].map(|name| {
        let at = ["slow", "quick", "quiet"]
            .iter()
            .position(|one| *one == name);
        hub.join(&room(name), cuts[at.unwrap()].clone()).0
    });
    hub.take(message("quiet", 0, 0));
    for offset in 1..200 {
        hub.take(message("slow", 0, 2 * offset));
        hub.take(message("quick", 0, 2 * offset + 1));
        flush(&hub);
        assert_eq!(taken(&mut quick).len(), 1);
        assert!(hub.counts.queue_bytes.get() <= 10_000);
    }
    assert_eq!(cuts.map(|cut| cut.is_cancelled()), [true, false, false]);
    assert_eq!(hub.counts.cut.get(), 1);
}

/// Clients of one room each and thousands of one question: who waits for whom, and how long.
#[test]
fn small_questions_do_not_wait_for_large_ones_which_gather_and_are_told_in_portions() {
    let hub = hub(LARGE);
    let none = CancellationToken::new;
    let mut crowd: Vec<_> = (0..5_000).map(|_| hub.join(&all(), none()).0).collect();
    let mut single = hub.join(&room("r1"), none()).0;
    // The first change is told at once.
    hub.take(message("r1", 0, 0));
    let began = Instant::now();
    hub.flush(began);
    assert_eq!(taken(&mut single).len(), 1);
    let woken = |crowd: &[Member]| crowd.iter().filter(|one| one.is_woken()).count();
    assert!((1..1_000).contains(&woken(&crowd)));
    let after = |millis| began + Duration::from_millis(millis);
    hub.flush(after(20));
    assert!((1_000..4_000).contains(&woken(&crowd)));
    hub.flush(after(100));
    assert_eq!(woken(&crowd), 5_000);
    crowd
        .iter_mut()
        .for_each(|one| assert_eq!(taken(one).len(), 1));
    // The next ones wait for the crowd to be told, but not for longer, and the single one's does not.
    hub.take(message("r1", 0, 1));
    let next = hub.flush(after(110)).unwrap();
    assert_eq!(taken(&mut single).len(), 1);
    assert!(taken(&mut crowd[0]).is_empty());
    assert!(
        next > after(110) && next <= after(126),
        "{:?}",
        next - began
    );
    hub.take(message("r2", 0, 2));
    hub.flush(next);
    assert_eq!(taken(&mut crowd[0]).len(), 2);
}
