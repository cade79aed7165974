//! What a stop must not hide: exit code 0 says that nothing delivered is uncommitted, and that nothing
//! that was taken up is undelivered.

use super::incarnation::Rooms;
use crate::change::position::{Position, Seq};
use crate::checkpoint::committer::Ledger;
use crate::error::{Code, Error};
use crate::status::waiting::Awaited;
use std::time::Duration;

/// How long the last look after the checkpoint may take.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What the incarnations so far have left behind.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// The last event that any of them took up.
    taken: Option<Seq>,
    /// Not all of that is behind the last acknowledged position.
    is_undelivered: bool,
    /// The last one ended before all was acknowledged and committed.
    is_cut_short: bool,
    /// The last one could not store its position.
    is_unstored: bool,
}

impl Owed {
    /// Takes note of how an incarnation has ended.
    pub(super) fn after(&mut self, position: &Position, taken: Seq, drained: bool, stored: bool) {
        self.taken = self.taken.max(Some(taken));
        self.is_undelivered = Some(position.seq) < self.taken;
        self.is_cut_short = !drained;
        self.is_unstored = !stored;
    }

    /// Ends a run that was asked to stop, at the last acknowledged `position`.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] when the next start would not find the position, or an older one;
    /// [`Code::DrainTimedOut`] when it reads again what was taken up.
    pub(super) async fn stop(
        &self,
        rooms: &Rooms,
        ledger: Ledger,
        position: &Position,
    ) -> Result<Ledger, Error> {
        let mut ledger = ledger;
        match &mut ledger {
            Ledger::Store(_) if self.is_unstored => {
                let why = rooms.board.checkpoint_error.get();
                let why = why.map_or_else(String::new, |noted| format!(" ({})", noted.text));
                return Err(Error::new(
                    Code::CheckpointFailed,
                    format!(
                        "the last checkpoint could not be stored{why}; where the one before is still there, \
                         which `tailwater token show` tells, nothing is lost: what was delivered since comes \
                         again at the next start"
                    ),
                ));
            }
            Ledger::Transactions(leader)
                if self.is_undelivered || self.is_cut_short || leader.is_removed() =>
            {
                // Whatever kept the records back may have taken the checkpoint as well.
                let secure = tokio::time::timeout(LAST_LOOK, leader.secure());
                let secured = rooms.board.waits.on(Awaited::Checkpoint, secure).await;
                let problem = match secured {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_elapsed) => Some("kafka did not answer in time".into()),
                };
                if let Some(problem) = problem {
                    return Err(Error::new(
                        Code::CheckpointFailed,
                        format!(
                            "it is not known whether the checkpoint is still in topic {}: {problem}; before the \
                             next start see with `tailwater token show` that it is there",
                            leader.topic()
                        ),
                    ));
                }
            }
            _ => {}
        }
        if !self.is_undelivered {
            return Ok(ledger);
        }
        let taken = self.taken.unwrap_or(position.seq);
        let last = rooms.board.sink_error.get().map(|noted| noted.text);
        let last = last.map_or_else(String::new, |text| format!("; the last error: {text}"));
        Err(Error::new(
            Code::DrainTimedOut,
            format!(
                "kafka did not acknowledge the last records ({} of the changes that were read) within \
                 SHUTDOWN_TIMEOUT_MS; nothing is lost: they are read again at the next start{last}",
                taken.0.saturating_sub(position.seq.0)
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::position::ResumeToken;

    fn at(seq: u64) -> Position {
        Position {
            token: ResumeToken::from_data("82"),
            seq: Seq(seq),
            time_millis: None,
            cluster_time: None,
        }
    }

    #[test]
    fn what_an_earlier_producer_took_up_is_owed_until_a_later_one_got_past_it() {
        let mut owed = Owed::default();
        owed.after(&at(5), Seq(9), false, true);
        assert!(owed.is_undelivered);
        // Stopped in its replay: it has done all that it took up, and not all that was taken up.
        owed.after(&at(7), Seq(7), true, true);
        assert!(owed.is_undelivered);
        owed.after(&at(9), Seq(9), true, true);
        assert!(!owed.is_undelivered);
    }
}
