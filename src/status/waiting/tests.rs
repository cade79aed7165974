use super::*;
use futures_util::FutureExt;

#[test]
fn a_wait_is_there_while_it_lasts_also_when_it_is_given_up() {
    let waits = Waits::default();
    assert!(waits.on(Awaited::Budget, async {}).now_or_never().is_some());
    assert!(waits.all().is_empty());
    let mut pending = Box::pin(waits.on(Awaited::Budget, std::future::pending::<()>()));
    assert!(pending.as_mut().now_or_never().is_none());
    assert!(waits.is_on(&Awaited::Budget));
    drop(pending);
    assert!(waits.all().is_empty());
}

#[test]
fn an_idle_stream_waits_for_nothing_that_is_told() {
    let waits = Waits::default();
    let _idle = waits.begin(Awaited::Change);
    assert!(waits.all().is_empty());
}

#[test]
fn trouble_is_told_from_the_first_attempt_until_the_topic_takes_a_record() {
    let waits = Waits::default();
    let (denied, other) = (Awaited::Topic("a".into()), Awaited::Topic("b".into()));
    waits.trouble(denied.clone(), "denied".into());
    let since = waits.all()[0].since;
    waits.trouble(denied.clone(), "still denied".into());
    waits.trouble(other.clone(), "gone".into());
    waits.acknowledged("b", true);
    let left = waits.all();
    assert_eq!((left.len(), left[0].since), (1, since));
    assert_eq!(left[0].why.as_deref(), Some("still denied"));
    waits.acknowledged("a", false);
    assert!(waits.all().is_empty());
}

/// In a transaction, an acknowledgement may be taken back: only the checkpoint tells.
#[test]
fn a_producer_is_waited_for_until_what_it_delivered_is_final() {
    let waits = Waits::default();
    waits.trouble(Awaited::Producer, "denied".into());
    waits.acknowledged("a", false);
    assert!(waits.is_on(&Awaited::Producer));
    waits.moved_on();
    assert!(waits.all().is_empty());
    waits.trouble(Awaited::Producer, "denied".into());
    waits.acknowledged("a", true);
    assert!(waits.all().is_empty());
}

#[test]
fn every_kind_that_is_reported_has_a_name_for_the_metrics() {
    for what in [
        Awaited::Topic("a".into()),
        Awaited::Budget,
        Awaited::Queue,
        Awaited::Acknowledgements,
        Awaited::Transaction,
        Awaited::Producer,
        Awaited::Kafka,
        Awaited::Registry,
        Awaited::Checkpoint,
        Awaited::MongoDb,
    ] {
        assert!(Awaited::NAMES.contains(&what.name()), "{what}");
        assert!(what.noticed_after() <= what.unhealthy_after(), "{what}");
    }
}

#[test]
fn acknowledgements_are_progress_for_what_waits_for_them_and_not_for_a_topic() {
    let wait = |what| Wait {
        what,
        since: Since::now(),
        why: None,
    };
    let (budget, topic) = (wait(Awaited::Budget), wait(Awaited::Topic("a".into())));
    let later = Since {
        at: budget.since.at + Duration::from_secs(5),
        millis: 0,
    };
    assert_eq!(budget.counted_from(Some(later)).since, later);
    assert_ne!(topic.counted_from(Some(later)).since, later);
}
