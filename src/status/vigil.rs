//! Watches whether anything moves: connections may look well while nothing comes through them, as with
//! a broker that is frozen or a cursor that is closed again and again. And says in the log how it is,
//! whenever that changes.

use super::health::{Health, STILL};
use super::{Board, Lasting, Note, State};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// A count that should grow while there is work, and when it last did or had none.
struct Progress {
    count: u64,
    moved: Instant,
}

impl Progress {
    /// For how long the count has stood still with work waiting.
    fn stands(&mut self, count: u64, has_work: bool, now: Instant) -> Duration {
        if count != self.count || !has_work {
            self.count = count;
            self.moved = now;
        }
        now - self.moved
    }
}

/// Keeps in `lasting` for how long something stands still, and in `note` that it does, once it has for long.
fn tell(lasting: &Lasting, stands: Duration, note: &Note, text: &str) {
    if lasting.get() < STILL && stands >= STILL {
        note.set(format!("{text} for {} s", stands.as_secs()));
    }
    lasting.set(stands);
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
        let from = std::mem::replace(&mut self.0, health);
        if from == health || !is_run {
            return;
        }
        let (from, to) = (from.name(), health.name());
        match health.reason() {
            Some(reason) => tracing::warn!(from, to, reason, "health"),
            None => tracing::info!(from, to, "health"),
        }
    }
}

/// Tells the board once a second for how long nothing has moved.
pub async fn run(board: Arc<Board>, done: CancellationToken) {
    let start = || Progress {
        count: 0,
        moved: Instant::now(),
    };
    let (mut acks, mut replies) = (start(), start());
    let mut told = Told(Health::Healthy);
    while done
        .run_until_cancelled(tokio::time::sleep(LOOK))
        .await
        .is_some()
    {
        let now = Instant::now();
        let waiting = board.in_flight() > 0;
        let stands = acks.stands(board.acked.get(), waiting, now);
        let what = "kafka has acknowledged nothing";
        tell(&board.unacknowledged, stands, &board.sink_error, what);
        // With records waiting the reader may be held back by the byte budget: no fault of the source. At
        // rest a cursor answers every second.
        let reads = board.state() == State::Running && !waiting;
        let stands = replies.stands(board.replies.get(), reads, now);
        let what = "no cursor of the change stream has answered";
        tell(&board.unanswered, stands, &board.source_error, what);
        told.look(&board);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_with_work_waiting_is_told_and_what_is_idle_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut acks = Progress {
            count: 0,
            moved: start,
        };
        assert_eq!(acks.stands(0, false, at(60)), Duration::ZERO);
        assert_eq!(acks.stands(0, true, at(90)), Duration::from_secs(30));
        assert_eq!(acks.stands(1, true, at(91)), Duration::ZERO);
        assert_eq!(acks.stands(1, true, at(95)), Duration::from_secs(4));
        assert_eq!(acks.stands(1, false, at(96)), Duration::ZERO);
    }
}
