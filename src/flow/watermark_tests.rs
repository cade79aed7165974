use super::*;
use crate::change::extra::Extra;
use crate::change::position::{ResumeToken, Seq};
use proptest::prelude::*;

fn at(seq: u64) -> Position {
    Position {
        token: ResumeToken::from_data(&format!("{seq:020}")),
        seq: Seq(seq),
        time_millis: None,
        cluster_time: None,
        extra: Extra::default(),
    }
}

fn committed(watermark: &mut Watermark) -> Option<u64> {
    watermark.take_committable().map(|c| c.position().seq.0)
}

fn seal(records: u64, seq: u64) -> Seal {
    Seal {
        records,
        bytes: records as usize * 10,
        position: Some(at(seq)),
    }
}

#[test]
fn an_open_entry_holds_everything_after_it() {
    let mut watermark = Watermark::new();
    let first = watermark.open(Seq(1));
    let second = watermark.open(Seq(2));
    watermark.seal(second, seal(1, 2)).unwrap();
    assert_eq!(
        watermark.resolve(second, 1),
        Ok(Progress {
            freed_bytes: 10,
            advanced: false
        })
    );
    assert_eq!(committed(&mut watermark), None);
    assert!(watermark.seal(first, seal(0, 1)).unwrap().advanced);
    assert_eq!(committed(&mut watermark), Some(2));
    assert!(watermark.is_drained());
}

#[test]
fn acknowledgements_may_come_before_the_seal() {
    let mut watermark = Watermark::new();
    let id = watermark.open(Seq(1));
    assert_eq!(watermark.resolve(id, 2), Ok(Progress::default()));
    assert_eq!(
        watermark.seal(id, seal(2, 2)),
        Ok(Progress {
            freed_bytes: 20,
            advanced: true
        })
    );
}

#[test]
fn an_entry_without_records_resolves_when_sealed() {
    let mut watermark = Watermark::new();
    let idle = watermark.open(Seq(7));
    assert!(watermark.seal(idle, seal(0, 7)).unwrap().advanced);
    assert_eq!(committed(&mut watermark), Some(7));
    assert_eq!(committed(&mut watermark), None);
}

#[test]
fn a_place_inside_a_split_event_is_passed_but_never_given_out() {
    let mut watermark = Watermark::new();
    let whole = watermark.open(Seq(1));
    watermark.seal(whole, seal(0, 1)).unwrap();
    let fragment = watermark.open(Seq(2));
    watermark
        .seal(
            fragment,
            Seal {
                records: 0,
                bytes: 0,
                position: None,
            },
        )
        .unwrap();
    assert_eq!(committed(&mut watermark), Some(1));
    assert!(watermark.is_drained());
}

#[test]
fn an_acknowledgement_too_many_is_refused_and_changes_nothing() {
    let mut watermark = Watermark::new();
    let id = watermark.open(Seq(1));
    watermark.seal(id, seal(1, 1)).unwrap();
    assert_eq!(watermark.resolve(id, 2), Err(Unexpected { entry: id }));
    assert!(!watermark.is_drained());
    watermark.resolve(id, 1).unwrap();
    assert_eq!(watermark.resolve(id, 1), Err(Unexpected { entry: id }));
    let early = watermark.open(Seq(2));
    watermark.resolve(early, 2).unwrap();
    assert_eq!(
        watermark.seal(early, seal(1, 2)),
        Err(Unexpected { entry: early })
    );
}

#[test]
fn numbers_of_entries_begin_anew_without_a_gap() {
    let mut watermark = Watermark::beginning_at(EntryId(EntryId::MASK - 1));
    let ids: Vec<_> = (0..4).map(|seq| watermark.open(Seq(seq))).collect();
    assert_eq!(ids[2], EntryId(0));
    for (seq, id) in (0..).zip(&ids) {
        assert_eq!(watermark.first_of(*id), Some(Seq(seq)));
        watermark.seal(*id, seal(1, seq)).unwrap();
    }
    for id in ids.iter().rev() {
        assert_eq!(committed(&mut watermark), None);
        watermark.resolve(*id, 1).unwrap();
    }
    assert_eq!(committed(&mut watermark), Some(3));
    assert!(watermark.is_drained());
    let late = watermark.resolve(ids[3], 1);
    assert_eq!(late, Err(Unexpected { entry: ids[3] }));
}

#[test]
fn a_position_put_back_does_not_hide_a_newer_one() {
    let mut watermark = Watermark::new();
    let first = watermark.open(Seq(1));
    watermark.seal(first, seal(0, 1)).unwrap();
    let old = watermark.take_committable().unwrap();
    let second = watermark.open(Seq(2));
    watermark.seal(second, seal(0, 2)).unwrap();
    watermark.put_back(old.clone());
    assert_eq!(committed(&mut watermark), Some(2));
    watermark.put_back(old);
    assert_eq!(committed(&mut watermark), Some(1));
}

#[derive(Debug, Clone)]
struct Plan {
    /// Records per entry; none is a place inside a split event.
    entries: Vec<(u32, bool)>,
    /// Which record is acknowledged next, as an index into those outstanding.
    order: Vec<prop::sample::Index>,
    /// Records that are never acknowledged.
    failed: Vec<prop::sample::Index>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        prop::collection::vec((0..4_u32, prop::bool::weighted(0.9)), 1..40),
        prop::collection::vec(any::<prop::sample::Index>(), 160),
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    )
        .prop_map(|(entries, order, failed)| Plan {
            entries,
            order,
            failed,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Against the obvious model: the newest committable position is that of the last commit point in
    /// the longest prefix of entries with nothing outstanding, whatever the order of completion.
    #[test]
    fn the_head_is_always_the_contiguous_prefix(plan in plan()) {
        let mut watermark = Watermark::new();
        let mut ids = Vec::new();
        let mut records: Vec<usize> = Vec::new();
        let mut bytes = 0;
        for (index, (count, commit_point)) in plan.entries.iter().enumerate() {
            let id = watermark.open(Seq(index as u64));
            let seal = Seal {
                records: u64::from(*count),
                bytes: *count as usize * 10,
                position: commit_point.then(|| at(index as u64)),
            };
            bytes += seal.bytes;
            watermark.seal(id, seal).unwrap();
            records.extend(std::iter::repeat_n(index, *count as usize));
            ids.push(id);
        }
        let mut outstanding: Vec<u32> = plan.entries.iter().map(|(count, _)| *count).collect();
        let failed: std::collections::HashSet<usize> =
            plan.failed.iter().filter(|_| !records.is_empty()).map(|i| i.index(records.len())).collect();
        let mut waiting: Vec<usize> = (0..records.len()).filter(|r| !failed.contains(r)).collect();
        let mut newest = committed(&mut watermark);
        let mut freed = 0;
        let model = |outstanding: &[u32]| -> Option<u64> {
            let prefix = outstanding.iter().take_while(|left| **left == 0).count();
            (0..prefix).rev().find(|i| plan.entries[*i].1).map(|i| i as u64)
        };
        prop_assert_eq!(newest, model(&outstanding));
        let mut order = plan.order.iter();
        while !waiting.is_empty() {
            let pick = order.next().map_or(0, |index| index.index(waiting.len()));
            let entry = records[waiting.swap_remove(pick)];
            freed += watermark.resolve(ids[entry], 1).unwrap().freed_bytes;
            outstanding[entry] -= 1;
            newest = committed(&mut watermark).or(newest);
            prop_assert_eq!(newest, model(&outstanding));
        }
        prop_assert_eq!(watermark.is_drained(), failed.is_empty());
        if failed.is_empty() {
            prop_assert_eq!(freed, bytes);
        }
    }
}
