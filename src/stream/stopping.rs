//! What a stop must not hide: exit code 0 says that nothing delivered is uncommitted, and that nothing
//! that was taken up is undelivered.

use crate::change::position::{Position, Seq};
use crate::checkpoint::RESUMES;
use crate::checkpoint::committer::Checkpoints;
use crate::error::{Code, Error};
use crate::status::Board;
use crate::status::waiting::Awaited;

/// What the incarnations so far have left behind.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    /// The last event that any of them took up.
    taken: Option<Seq>,
    /// Not all of that is behind the last acknowledged position.
    is_undelivered: bool,
    /// The last one ended before all was acknowledged and committed.
    is_cut_short: bool,
    /// The last one could not store its position.
    is_unstored: bool,
    /// All that is undelivered is the last event, whose token is too large to be stored.
    pub(super) is_without_room: bool,
}

impl Outstanding {
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
        board: &Board,
        checkpoints: Checkpoints,
        position: &Position,
    ) -> Result<Checkpoints, Error> {
        let mut checkpoints = checkpoints;
        // Whatever kept the records back may have taken the checkpoint as well.
        let securing = checkpoints.secure(self.is_undelivered || self.is_cut_short);
        board.waits.on(Awaited::Checkpoint, securing).await?;
        if let (Checkpoints::Store(_), true) = (&checkpoints, self.is_unstored) {
            let why = board.checkpoint_error.get();
            let why = why.map_or_else(String::new, |noted| format!(" ({})", noted.text));
            return Err(Error::new(
                Code::CheckpointFailed,
                format!("the last checkpoint could not be stored{why}; {RESUMES}"),
            ));
        }
        if !self.is_undelivered {
            return Ok(checkpoints);
        }
        let last = board.sink_error.get().map(|noted| noted.text);
        Err(Error::new(
            Code::DrainTimedOut,
            self.sentence(position, last),
        ))
    }

    /// Why something is read again at the next start.
    fn sentence(&self, position: &Position, last_error: Option<String>) -> String {
        let taken = self.taken.unwrap_or(position.seq);
        let count = taken.0.saturating_sub(position.seq.0);
        if self.is_without_room {
            return format!(
                "the resume token of the last event is too large for a checkpoint, since it holds the _id of the \
                 document; nothing is lost: the last changes ({count}) are read again at the next start"
            );
        }
        let last = last_error.map_or_else(String::new, |text| format!("; the last error: {text}"));
        format!(
            "kafka did not acknowledge the last records ({count} of the changes that were read) within \
             SHUTDOWN_TIMEOUT_MS; nothing is lost: they are read again at the next start{last}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::extra::Extra;
    use crate::change::position::ResumeToken;

    fn at(seq: u64) -> Position {
        Position {
            token: ResumeToken::from_data("82"),
            seq: Seq(seq),
            time_millis: None,
            cluster_time: None,
            extra: Extra::default(),
        }
    }

    #[test]
    fn kafka_is_not_blamed_for_a_token_that_is_too_large() {
        let mut outstanding = Outstanding::default();
        outstanding.after(&at(5), Seq(6), false, true);
        assert!(
            outstanding
                .sentence(&at(5), None)
                .contains("kafka did not acknowledge")
        );
        outstanding.is_without_room = true;
        let said = outstanding.sentence(&at(5), Some("an old one".into()));
        assert!(
            said.contains("resume token of the last event") && said.contains("(1)"),
            "{said}"
        );
        assert!(
            !said.contains("kafka") && !said.contains("an old one"),
            "{said}"
        );
    }

    #[test]
    fn what_an_earlier_producer_took_up_is_owed_until_a_later_one_got_past_it() {
        let mut outstanding = Outstanding::default();
        outstanding.after(&at(5), Seq(9), false, true);
        assert!(outstanding.is_undelivered);
        // Stopped in its replay: it has done all that it took up, and not all that was taken up.
        outstanding.after(&at(7), Seq(7), true, true);
        assert!(outstanding.is_undelivered);
        outstanding.after(&at(9), Seq(9), true, true);
        assert!(!outstanding.is_undelivered);
    }
}
