use super::*;
use crate::config::Config;
use crate::worker::assigned::Assigned;
use crate::worker::handler;
use crate::worker::job::Record;
use bson::doc;

/// More than are taken in one go.
const JOBS: usize = AT_ONCE * 3 + 1;

fn job(at: &Arc<Assigned>, offset: i64) -> Job {
    at.take(offset, 1);
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.into()));
    let record = Record {
        topic: "jobs.a".into(),
        partition: 0,
        offset,
        key: None,
        value: None,
        headers: vec![
            header("tw-job", "mail"),
            header("tw-id", &offset.to_string()),
        ],
    };
    Job::new(record, Arc::clone(at))
}

/// A dispatcher whose one handler fails at once: its address may not be called. Its dead letters are taken by nobody.
fn dispatcher(board: &Arc<Board>) -> Dispatcher {
    let kafka = Config::from_vars([
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
    ]);
    let kafka = kafka.unwrap().config.kafka;
    let mail = doc! {"url": "http://127.0.0.1:1/", "order": "none"};
    let mail = Arc::new(handler::of_document("mail", &mail, None).unwrap());
    let known = Known {
        handlers: [(Arc::clone(&mail.job), mail)].into(),
        ..Known::default()
    };
    Dispatcher::new(
        Arc::new(known),
        JOBS,
        Caller::new(false, None).unwrap(),
        DeadLetters::new(&kafka, "g").unwrap(),
        Arc::new(Parking::new(&kafka, "g", Arc::clone(board))),
        None,
        Arc::clone(board),
    )
}

/// In a runtime of one thread all attempts end before the dispatcher, which is a task as they are, has its next turn.
#[tokio::test]
async fn of_more_attempts_that_end_in_one_moment_than_are_taken_in_one_go_each_is_taken_note_of() {
    let board = Arc::new(Board::new("g", "i".to_owned()));
    let mut dispatcher = dispatcher(&board);
    let at = Arc::new(Assigned::new("jobs.a", 0));
    for offset in 0..JOBS as i64 {
        dispatcher.fetched(job(&at, offset));
    }
    let (_events, mut heard) = mpsc::channel(1);
    let (_tell, mut known) = watch::channel(Arc::clone(&dispatcher.known));
    let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
    let given = stopped.clone();
    let running = tokio::spawn(async move {
        tokio::select! {
            _ = dispatcher.run(&mut heard, &mut known, &stop, Duration::ZERO) => {}
            () = given.cancelled() => {}
        }
        dispatcher
    });
    let all_ended = async {
        let active = || board.view().jobs.get("mail").map(|it| it.active);
        while active() != Some(0) {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    let ended = tokio::time::timeout(patience, all_ended).await;
    assert!(
        ended.is_ok(),
        "some were taken note of by nobody: {:?}",
        board.view().jobs
    );
    stopped.cancel();
    let dispatcher = running.await.unwrap();
    assert_eq!(dispatcher.running.len(), 0);
    assert_eq!(dispatcher.burying.len(), JOBS);
    assert_eq!(board.attempts().running(1).1, 0);
}
