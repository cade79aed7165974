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

/// As [`Progress::rename`], where all of the new name is wanted.
fn rename(progress: &mut Progress, from: &str, to: &str) -> bool {
    progress.rename(&named(from), &named(to), Renamed::Watched(None))
}

fn names(progress: &Progress) -> Vec<&str> {
    progress
        .parts
        .iter()
        .map(|part| part.at.collection.as_str())
        .collect()
}

#[test]
fn a_renamed_collection_is_read_under_its_new_name() {
    let mut progress = progress();
    progress.add(named("m"), None, Bounds::ALL);
    progress.scan = Some(Scan {
        after: Some(named("m")),
    });
    assert!(rename(&mut progress, "m", "z"));
    assert_eq!(names(&progress), ["z"]);
    // The walk has passed the new name, and not come to the old one.
    assert!(rename(&mut progress, "n", "b"));
    assert_eq!(names(&progress), ["z", "b"]);
    // It comes to the new name, if it lists the names once more.
    assert!(rename(&mut progress, "n", "x"));
    assert_eq!(names(&progress), ["z", "b"]);
    let renamed = Renamed::Unwatched;
    assert!(progress.rename(&named("z"), &named("elsewhere"), renamed));
    assert_eq!(names(&progress), ["b"]);
    assert!(progress.forget("shop", None));
    assert!(!progress.forget("shop", None));
}

/// What is behind a name may be another collection than the one that was read: a result of `$out`, a collection that
/// was made capped, or one that was listed under a name whose change the stream comes to only now.
#[test]
fn what_takes_a_name_over_is_read_from_its_beginning() {
    let mut progress = progress();
    progress.scan = Some(Scan {
        after: Some(named("m")),
    });
    let open = Some(doc! {"open": true});
    let renamed = Renamed::Watched(open.clone());
    assert!(progress.rename(&named("tmp.1"), &named("b"), renamed));
    assert_eq!(names(&progress), ["b"]);
    assert_eq!(progress.parts[0].filter, open);
    let (part, range) = (progress.parts[0].number, progress.parts[0].ranges[0].number);
    progress.advance(part, range, Some(5.into()), &Produced::default());
    assert!(rename(&mut progress, "tmp.2", "b"));
    assert_eq!(names(&progress), ["b"]);
    assert_eq!(progress.parts[0].filter, open);
    assert_eq!(progress.parts[0].ranges[0].of, Bounds::ALL);
    assert_ne!(
        progress.parts[0].number, part,
        "pages of the other are void"
    );
    // Documents that somebody asked for are still wanted.
    let ids = Bounds::Ids(vec![1.into()]);
    progress.add(named("c"), None, ids.clone());
    assert!(rename(&mut progress, "tmp.3", "c"));
    assert_eq!(progress.parts[1].ranges[0].of, ids);
    // What was read under the old name goes on where it was, in place of the other.
    progress.advance(
        progress.parts[0].number,
        progress.parts[0].ranges[0].number,
        Some(7.into()),
        &Produced::default(),
    );
    assert!(rename(&mut progress, "b", "c"));
    assert_eq!(names(&progress), ["c"]);
    let expected = Bounds::Between {
        after: Some(7.into()),
        until: None,
    };
    assert_eq!(progress.parts[0].ranges[0].of, expected);
    // Nobody has asked for it.
    let mut asked = Progress::new(Reason::Requested, 7);
    assert!(!rename(&mut asked, "tmp.4", "d"));
    assert!(asked.is_done());
}

#[test]
fn collections_that_are_not_watched_any_more_are_forgotten() {
    let mut progress = progress();
    for name in ["a", "b"] {
        progress.add(named(name), None, Bounds::ALL);
    }
    let gone = progress.keep(|at| at.collection != "a");
    assert_eq!((gone, names(&progress)), (vec![named("a")], vec!["b"]));
}

#[test]
fn what_is_read_again_does_not_gather_in_the_checkpoint() {
    let mut progress = progress();
    let part = progress.add(named("a"), None, Bounds::ALL);
    let range = progress.parts[0].ranges[0].number;
    let again = |progress: &mut Progress, range, ids| progress.read_again(part, range, ids);
    let long: Bson = "x".repeat(1000).into();
    assert!(!again(&mut progress, range, vec![long.clone(); 60]));
    assert!(again(&mut progress, range, vec![long; 10]));
    // In front of what they were found in.
    let kinds = |progress: &Progress| -> Vec<_> {
        let ranges = progress.parts[0].ranges.iter();
        ranges
            .map(|range| matches!(range.of, Bounds::Ids(_)))
            .collect()
    };
    assert_eq!(kinds(&progress), [true, false]);
    assert!(progress.parts[0].again.is_empty());
    // What has changed once more comes last, so that the others are not held up for ever.
    let ids = progress.parts[0].ranges[0].number;
    assert!(again(&mut progress, ids, vec![1.into(); 1000]));
    assert_eq!(kinds(&progress), [true, false, true]);
}
