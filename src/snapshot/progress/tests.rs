use super::*;
use crate::change::extra::Extra;
use crate::error::Code;
use bson::doc;

fn named(collection: &str) -> Namespace {
    Namespace {
        database: "shop".into(),
        collection: collection.into(),
    }
}

fn progress() -> Progress {
    Progress::new(Reason::Initial, 7).of_all()
}

#[test]
fn it_comes_back_from_a_position_as_it_went_in() {
    let mut running = progress();
    let ids = Bounds::Ids(vec![1.into(), "a".into(), Bson::Null]);
    running.add(named("a"), Some(doc! {"x": {"$gt": 1}}), ids);
    let between = Bounds::Between {
        after: Some(Bson::Null),
        until: None,
    };
    let part = running.add(named("b"), None, between);
    running.part(part).unwrap().again.push(f64::NAN.into());
    running.part(part).unwrap().total = Some(9);
    let state = State {
        last: Some(running.ended(true, 9)),
        running: Some(running),
        whole: Some("1f".into()),
    };
    let extra = state.put(&Extra::default());
    let read = State::of(&Extra::from(extra.to_document().unwrap())).unwrap();
    // NaN is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("{state:?}"));
    assert!(State::default().put(&extra).is_empty());
    let damaged = Extra::default().with(Extra::SNAPSHOT, Some(doc! {"running": 1}.into()));
    assert_eq!(
        State::of(&damaged).unwrap_err().code,
        Code::CheckpointFailed
    );
}

#[test]
fn a_range_continues_behind_its_last_row_and_ends_its_part() {
    let mut progress = progress();
    let number = progress.add(named("a"), None, Bounds::ALL);
    let range = progress.parts[0].ranges[0].number;
    let produced = Produced {
        rows: 2,
        bytes: 20,
        left_out: 1,
    };
    progress.advance(number, range, Some(5.into()), &produced);
    let long = "x".repeat(LONGEST_BOUND + 1);
    progress.advance(number, range, Some(long.into()), &produced);
    let expected = Bounds::Between {
        after: Some(5.into()),
        until: None,
    };
    assert_eq!(progress.parts[0].ranges[0].of, expected);
    assert_eq!((progress.rows, progress.left_out), (4, 2));
    progress.parts[0].again.push(3.into());
    assert!(progress.end_range(number, range), "some are read again");
    let again = progress.parts[0].ranges[0].clone();
    assert_eq!(again.of, Bounds::Ids(vec![3.into()]));
    assert!(!progress.end_range(number, again.number));
    assert!(progress.is_done() && progress.collections == 1);
}

#[test]
fn a_renamed_collection_is_read_under_its_new_name() {
    let mut progress = progress();
    progress.add(named("m"), None, Bounds::ALL);
    progress.scan = Some(Scan {
        after: Some(named("m")),
    });
    assert!(progress.rename(&named("m"), &named("z"), true));
    assert_eq!(progress.parts[0].at, named("z"));
    // The walk has passed the new name, and not come to the old one.
    assert!(progress.rename(&named("n"), &named("b"), true));
    assert_eq!(progress.parts[1].at, named("b"));
    // It will come to the new name, or has been at the old one.
    assert!(!progress.rename(&named("n"), &named("x"), true));
    assert!(!progress.rename(&named("c"), &named("d"), true));
    assert!(progress.rename(&named("z"), &named("elsewhere"), false));
    assert_eq!(progress.parts.len(), 1);
    assert!(progress.forget("shop", None));
    assert!(!progress.forget("shop", None));
}
