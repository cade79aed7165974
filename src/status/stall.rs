//! The stall detector: whether anything moves. Connections may look well while nothing comes through
//! them, as with a broker that is frozen or a cursor that is closed again and again. It blames what is
//! waited for, and says in the log how it is, whenever that changes.

use super::health::Health;
use super::waiting::{Awaited, Since};
use super::{Board, State};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// A count that should grow while there is work.
struct Progress {
    count: u64,
    /// Since when it stands still, with work waiting.
    stands: Option<Since>,
}

impl Progress {
    /// Since when the count has stood still with work waiting; none when it moves, or has none.
    fn look(&mut self, count: u64, has_work: bool, now: Since) -> Option<Since> {
        if count != self.count || !has_work {
            self.count = count;
            self.stands = None;
        }
        if has_work {
            self.stands.get_or_insert(now);
        }
        self.stands
    }
}

/// What the log was last told of a run: one line for each change. What begins or ends a run is told as
/// its state.
struct Told(Health);

impl Told {
    fn look(&mut self, board: &Board) {
        let is_run = matches!(board.state(), State::Running | State::Recovering);
        let health = match is_run {
            true => board.health(),
            false => Health::Healthy,
        };
        let from = std::mem::replace(&mut self.0, health.clone());
        if from == health || !is_run {
            return;
        }
        let (from, to) = (from.name(), health.name());
        match health.reason() {
            Some(reason) if from == to => tracing::warn!(still = to, reason, "health"),
            Some(reason) => tracing::warn!(from, to, reason, "health"),
            None => tracing::info!(from, to, "health"),
        }
    }
}

/// What it has seen so far.
struct Detector {
    acks: Progress,
    replies: Progress,
}

impl Detector {
    /// Tells the board since when nothing moves, and whose answer is missing.
    fn look(&mut self, board: &Board, now: Since) {
        let waiting = board.in_flight() > 0;
        let stands = self.acks.look(board.acked.get(), waiting, now);
        board.unacknowledged.set(stands);
        // MongoDB is to blame only where its reply is what is waited for: a reader that is held back asks
        // for none. At rest a cursor answers every second.
        let asked = board.waits.is_on(&Awaited::MongoDb);
        let stands = self.replies.look(board.replies.get(), asked, now);
        board.unanswered.set(stands);
    }
}

/// Looks once a second until the end.
pub async fn run(board: Arc<Board>, done: CancellationToken) {
    let start = || Progress {
        count: 0,
        stands: None,
    };
    let mut detector = Detector {
        acks: start(),
        replies: start(),
    };
    let mut told = Told(Health::Healthy);
    while done
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        detector.look(&board, Since::now());
        told.look(&board);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Since, seconds: u64) -> Since {
        Since {
            at: start.at + Duration::from_secs(seconds),
            millis: start.millis + 1000 * seconds as i64,
        }
    }

    #[test]
    fn what_stands_still_with_work_waiting_is_told_and_what_is_idle_is_not() {
        let start = Since::now();
        let mut acks = Progress {
            count: 0,
            stands: None,
        };
        assert_eq!(acks.look(0, false, at(start, 60)), None);
        assert_eq!(acks.look(0, true, at(start, 61)), Some(at(start, 61)));
        assert_eq!(acks.look(0, true, at(start, 90)), Some(at(start, 61)));
        assert_eq!(acks.look(1, true, at(start, 91)), Some(at(start, 91)));
        assert_eq!(acks.look(1, false, at(start, 96)), None);
    }

    #[test]
    fn a_reader_that_is_held_back_by_something_else_is_no_fault_of_mongodb() {
        let board = crate::status::board();
        let mut detector = Detector {
            acks: Progress {
                count: 0,
                stands: None,
            },
            replies: Progress {
                count: 0,
                stands: None,
            },
        };
        let start = Since::now();
        let topic = board.waits.begin(Awaited::Topic("a".into()));
        detector.look(&board, at(start, 0));
        detector.look(&board, at(start, 40));
        assert_eq!(board.unanswered.get(), None);
        drop(topic);
        let _asked = board.waits.begin(Awaited::MongoDb);
        detector.look(&board, at(start, 41));
        detector.look(&board, at(start, 80));
        assert_eq!(board.unanswered.get(), Some(at(start, 41)));
    }
}
