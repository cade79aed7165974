use super::*;
use bson::{Document, doc};

fn schedule(document: Document) -> Arc<Schedule> {
    Arc::new(Schedule::read(&document).unwrap())
}

fn every(name: &str, every: &str, missed: &str) -> Arc<Schedule> {
    schedule(doc! {"name": name, "every": every, "jobName": "j", "missed": missed})
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

fn dues(jobs: &[Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.due).collect()
}

/// What is stored, after everything was.
fn stored(plan: &mut Plan) -> BTreeMap<String, Progress> {
    let all = plan.take_unstored(usize::MAX).into_iter();
    all.filter_map(|(name, progress)| Some((name, progress?)))
        .collect()
}

#[test]
fn each_due_time_makes_one_job_however_often_the_clock_is_looked_at() {
    let mut plan = Plan::default();
    plan.put(&[every("a", "10s", "once")], &none(), 5_000);
    let mut all = Vec::new();
    for now in (5_000..60_000).step_by(1_700) {
        all.extend(plan.take(now, 5_000, 100));
    }
    assert_eq!(dues(&all), [10_000, 20_000, 30_000, 40_000, 50_000]);
}

#[test]
fn what_was_missed_is_made_once_or_not_or_all_of_it() {
    for (missed, wanted) in [
        ("once", vec![90_000, 100_000, 110_000]),
        ("skip", vec![100_000, 110_000]),
        ("all", (2..=11).map(|ten| ten * 10_000).collect()),
    ] {
        let schedule = every("a", "10s", missed);
        let mut plan = Plan::default();
        plan.put(std::slice::from_ref(&schedule), &none(), 5_000);
        assert_eq!(dues(&plan.take(10_000, 5_000, 100)), [10_000]);
        // Nobody runs until 95 s.
        let mut plan = Plan::new(stored(&mut plan));
        plan.put(std::slice::from_ref(&schedule), &none(), 95_000);
        let mut all = plan.take(96_000, 95_000, 100);
        all.extend(plan.take(111_000, 95_000, 100));
        assert_eq!(dues(&all), wanted, "{missed}");
    }
}

#[test]
fn a_backlog_is_made_in_parts_and_the_oldest_first() {
    let mut plan = Plan::default();
    plan.put(
        &[every("a", "1s", "all"), every("b", "2s", "all")],
        &none(),
        0,
    );
    let mut all = Vec::new();
    loop {
        let some = plan.take(100_000, 50_000, 7);
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= 7);
        all.extend(some);
    }
    assert_eq!(all.len(), 150);
    assert!(all.is_sorted_by_key(|job| job.due));
}

#[test]
fn a_clock_that_goes_back_makes_no_job_twice() {
    let schedule = every("a", "10s", "all");
    let mut plan = Plan::default();
    plan.put(std::slice::from_ref(&schedule), &none(), 0);
    assert_eq!(plan.take(30_000, 0, 100).len(), 3);
    assert!(plan.take(12_000, 0, 100).is_empty());
    let mut plan = Plan::new(stored(&mut plan));
    plan.put(std::slice::from_ref(&schedule), &none(), 12_000);
    assert!(plan.take(29_000, 12_000, 100).is_empty());
    assert_eq!(dues(&plan.take(40_000, 12_000, 100)), [40_000]);
}

#[test]
fn another_timing_begins_anew_and_the_same_one_goes_on() {
    let mut plan = Plan::default();
    plan.put(&[every("a", "10s", "all")], &none(), 0);
    assert_eq!(plan.take(20_000, 0, 100).len(), 2);
    plan.put(&[every("a", "1s", "all")], &none(), 25_500);
    assert_eq!(dues(&plan.take(27_000, 0, 100)), [26_000, 27_000]);
    // Something else of it is another.
    let other = schedule(doc! {"name": "a", "every": "1s", "jobName": "k", "missed": "all"});
    plan.put(&[other], &none(), 29_500);
    let jobs = plan.take(29_500, 0, 100);
    assert_eq!(dues(&jobs), [28_000, 29_000]);
    assert_eq!(jobs[0].schedule.job, "k");
    // Off for a while: what was due then is none of its times.
    plan.put(&[], &none(), 30_000);
    plan.put(&[every("a", "1s", "all")], &none(), 40_500);
    assert_eq!(dues(&plan.take(42_000, 0, 100)), [41_000, 42_000]);
}

#[test]
fn one_time_is_due_once_also_for_a_document_that_comes_back() {
    let at = |millis: i64| {
        schedule(doc! {"name": "a", "at": bson::DateTime::from_millis(millis), "jobName": "j"})
    };
    let mut plan = Plan::default();
    plan.put(&[at(50_000)], &none(), 0);
    assert_eq!(plan.next(), Some(50_000));
    assert_eq!(dues(&plan.take(51_000, 0, 100)), [50_000]);
    plan.put(&[], &none(), 52_000);
    let mut plan = Plan::new(stored(&mut plan));
    plan.put(&[at(50_000)], &none(), 53_000);
    assert!(plan.take(60_000, 53_000, 100).is_empty());
    // Another time is another; one that was missed before it was seen is due at once.
    plan.put(&[at(55_000)], &none(), 60_000);
    assert_eq!(dues(&plan.take(60_000, 53_000, 100)), [55_000]);
    assert_eq!(plan.next(), None);
}

#[test]
fn what_is_held_loses_nothing() {
    let schedule = every("a", "10s", "all");
    let mut plan = Plan::default();
    let held = BTreeSet::from(["a".to_owned()]);
    plan.put(std::slice::from_ref(&schedule), &held, 0);
    assert!(plan.take(30_000, 0, 100).is_empty());
    plan.put(&[schedule], &none(), 35_000);
    assert_eq!(dues(&plan.take(35_000, 0, 100)), [10_000, 20_000, 30_000]);
}

#[test]
fn what_is_gone_for_long_is_forgotten() {
    let mut plan = Plan::default();
    plan.put(&[every("a", "10s", "once")], &none(), 0);
    plan.put(&[], &none(), 10_000);
    stored(&mut plan);
    plan.forget(KEPT);
    assert!(plan.take_unstored(10).is_empty());
    plan.forget(KEPT + 20_000);
    assert_eq!(plan.take_unstored(10), [("a".to_owned(), None)]);
}

/// Far times are no trouble, and ten thousand schedules are kept in order.
#[test]
fn ten_thousand_schedules_are_due_in_order() {
    let all: Vec<_> = (1..=10_000)
        .map(|n| every(&format!("s{n}"), &format!("{n}s"), "all"))
        .collect();
    let mut plan = Plan::default();
    plan.put(&all, &none(), 0);
    let mut count = 0;
    let mut last = 0;
    while let Some(next) = plan.next().filter(|next| *next <= 100_000) {
        for job in plan.take(next, 0, 500) {
            assert!(job.due >= last);
            last = job.due;
            count += 1;
        }
    }
    let wanted: i64 = (1..=100).map(|n| 100 / n).sum();
    assert_eq!(count, wanted);
}

/// Whatever is done to it, and wherever it dies: with `all`, each due time has one job.
#[test]
fn no_due_time_is_lost_or_made_twice_over_crashes_at_any_moment() {
    use proptest::prelude::*;
    let steps = prop::collection::vec((0_i64..7_000, any::<bool>(), 1_usize..4), 1..60);
    proptest!(|(steps in steps)| {
        let schedules = [every("a", "1s", "all"), every("b", "3s", "all")];
        let mut plan = Plan::default();
        plan.put(&schedules, &none(), 0);
        let (mut kept, mut made): (BTreeMap<String, Progress>, Vec<(String, i64)>) = (stored(&mut plan), Vec::new());
        let (mut now, mut since) = (0, 0);
        for (pass, dies, most) in steps {
            now += pass;
            let jobs = plan.take(now, since, most);
            if dies {
                // Not committed: neither the jobs nor the progress.
                plan = Plan::new(kept.clone());
                since = now;
                plan.put(&schedules, &none(), now);
                continue;
            }
            kept.extend(stored(&mut plan));
            made.extend(jobs.iter().map(|job| (job.schedule.name.clone(), job.due)));
        }
        let rest = plan.take(now, since, usize::MAX);
        made.extend(rest.iter().map(|job| (job.schedule.name.clone(), job.due)));
        for (name, every) in [("a", 1_000), ("b", 3_000)] {
            let found: Vec<_> = made.iter().filter(|(it, _)| it == name).map(|(_, due)| *due).collect();
            let wanted: Vec<_> = (1..=now / every).map(|n| n * every).collect();
            prop_assert_eq!(found, wanted);
        }
    });
}
