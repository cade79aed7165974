use super::waiting::Since;
use super::*;

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

#[test]
fn what_a_producer_left_behind_is_no_longer_in_flight() {
    let board = crate::status::board();
    board.produced.add(3);
    board.acked.add(1);
    board.abandon_in_flight();
    assert_eq!(board.in_flight(), 0);
    board.produced.add(2);
    board.acked.add(1);
    assert_eq!(board.in_flight(), 1);
}

fn ago(seconds: u64) -> Since {
    let at = Instant::now()
        .checked_sub(Duration::from_secs(seconds))
        .expect("the machine is up for longer");
    Since {
        at,
        millis: now() - 1000 * seconds as i64,
    }
}

fn running() -> Board {
    let board = crate::status::board();
    board.enter(State::Running);
    for flag in [
        &board.mongo_connected,
        &board.kafka_connected,
        &board.checkpoint_loaded,
    ] {
        flag.set(true);
    }
    board.caught_up.set(true);
    board
}

#[test]
fn a_wait_is_told_once_with_the_reason_that_somebody_knows() {
    let board = running();
    let topic = || Awaited::Topic("x.b".into());
    let _pump = board.waits.begin(topic());
    let sink = board.waits.begin(topic());
    sink.because("it does not exist".into());
    let waits = board.waiting();
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].why.as_deref(), Some("it does not exist"));
    assert!(board.is_ready(), "a hiccup so far");
}

#[test]
fn records_that_kafka_does_not_acknowledge_make_it_degraded_then_not_ready() {
    let board = running();
    for (seconds, name, is_ready) in [
        (1, "healthy", true),
        (15, "degraded", true),
        (31, "unhealthy", false),
    ] {
        board.unacknowledged.set(Some(ago(seconds)));
        let health = board.health();
        assert_eq!((health.name(), board.is_ready()), (name, is_ready));
    }
    let told = board.health();
    let reason = "waiting for kafka's acknowledgements since ";
    assert!(told.reason().unwrap().starts_with(reason), "{told:?}");
}

#[test]
fn the_lag_is_the_age_of_what_is_not_delivered_while_something_is_waited_for() {
    let board = running();
    board.idle_millis.store(now() - 40_000, Ordering::Relaxed);
    assert_eq!(board.lag(), Duration::ZERO, "nothing is waited for");
    board.unanswered.set(Some(ago(20)));
    assert!(board.lag() >= Duration::from_secs(40), "the last position");
    let in_hand = &board.in_hand_millis;
    in_hand.store(now() - 90_000, Ordering::Relaxed);
    assert!(board.lag() >= Duration::from_secs(90), "the oldest change");
}

#[test]
fn what_was_delivered_in_time_does_not_lag_while_nothing_new_happens() {
    let board = crate::status::board();
    board
        .last_seen_millis
        .store(now() - 60_000, Ordering::Relaxed);
    board.caught_up.set(false);
    assert!(
        board.lag() < Duration::from_secs(1),
        "read in time, a minute ago"
    );
    board.note_lateness();
    assert!(board.lag() >= Duration::from_secs(60), "read a minute late");
    board.caught_up.set(true);
    assert_eq!(board.lag(), Duration::ZERO);
    board.produced.add(1);
    assert!(
        board.lag() >= Duration::from_secs(60),
        "read, and not acknowledged since"
    );
}
