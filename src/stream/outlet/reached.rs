//! How far the stream has been taken up: what a batch that is closed now gives out.

use super::{Blocked, Outlet};
use crate::change::event::Event;
use crate::change::extra::Extra;
use crate::change::position::{ClusterTime, Position, ResumeToken, Seq};
use crate::change::transactions::Held;
use crate::flow::batch::ClosedBy;
use crate::status::waiting::Awaited;
use crate::stream::produce::Produce;
use bson::Bson;
use std::sync::Arc;
use std::time::Duration;

/// The largest resume token that is stored, in bytes: far below the 1 MiB that a record of a Kafka topic has
/// by default, and far above the token of any usual key.
const LARGEST_TOKEN: usize = 128 << 10;

/// How often it is looked whether a position is stored.
pub const LOOK: Duration = Duration::from_millis(10);

/// The last position taken up: what a batch that is closed now gives out.
#[derive(Debug, Clone)]
pub struct Reached {
    pub seq: Seq,
    pub token: Vec<u8>,
    pub time_millis: Option<i64>,
    /// Of the last event.
    pub cluster_time: Option<ClusterTime>,
    /// But for the part of transactions.
    pub extra: Extra,
    /// What positions hold of transactions; none where nothing is.
    pub(super) transactions: Option<Held>,
}

impl Reached {
    pub(super) fn at(start: &Position) -> Self {
        Self {
            seq: start.seq,
            token: start.token.as_bytes().to_vec(),
            time_millis: start.time_millis,
            cluster_time: start.cluster_time,
            extra: start.extra.with(Extra::TRANSACTIONS, None),
            transactions: None,
        }
    }

    /// None where there is no token.
    pub fn position(&self) -> Option<Position> {
        Some(Position {
            token: ResumeToken::from_bytes(&self.token)?,
            seq: self.seq,
            time_millis: self.time_millis,
            cluster_time: self.cluster_time,
            extra: self.parts(),
        })
    }

    /// All parts of the position.
    fn parts(&self) -> Extra {
        match &self.transactions {
            None => self.extra.clone(),
            Some(held) => held.put(&self.extra, self.seq),
        }
    }

    pub(super) fn behind(&mut self, event: &Event<'_>) {
        self.token.clear();
        self.token.extend_from_slice(event.token);
        self.time_millis = event.timestamp_millis().or(self.time_millis);
        self.cluster_time = event.cluster_time.or(self.cluster_time);
    }
}

impl<P: Produce> Outlet<'_, P> {
    /// Moves behind an event that the filter does not want: it has no number, so that a server which sends more
    /// or fewer of them does not change those of the others.
    pub fn leave_out(&mut self, event: &Event<'_>) {
        self.step_over(event);
        self.pass_reached();
    }

    /// The same for an event behind which no position is given out.
    pub fn step_over(&mut self, event: &Event<'_>) {
        self.reached.behind(event);
    }

    /// From the next event on, positions hold this part, or none of this name.
    pub fn reach_with(&mut self, part: &str, value: Option<Bson>) {
        // What is open ends before it.
        self.seal(ClosedBy::Wait);
        self.reached.extra = self.reached.extra.with(part, value);
    }

    /// Rows were sent up to here: positions from now on say so.
    pub fn reach_rows(&mut self, extra: Extra) {
        self.reached.extra = extra;
        self.is_within_event = false;
        self.is_half_sent = false;
        let now = tokio::time::Instant::now().into_std();
        match &self.batch {
            None => self.pass_reached(),
            Some((_, fill)) => {
                if let Some(by) = fill.closed_by(&self.limits, now) {
                    self.seal(by);
                }
            }
        }
    }

    /// The position holds this from the next event on, in one step with it.
    pub fn carry(&mut self, extra: Extra) {
        self.reached.extra = extra;
    }

    /// What positions hold of transactions around the event that follows, or from here on.
    pub fn hold_transactions(&mut self, held: Option<Held>) {
        self.reached.transactions = held;
    }

    /// Gives the position a number of its own, as an event would: what follows has a higher one. Nothing may be on its
    /// way.
    pub fn renumber(&mut self) {
        self.reached.seq = self.reached.seq.next();
    }

    /// Whether positions are stored beside the records, and not with them.
    pub fn stores_beside(&self) -> bool {
        self.transactions.is_none()
    }

    /// Has the position stored before it is due.
    pub fn hurry(&self) {
        self.tracker.hurry();
    }

    /// Waits until the position is stored. Nothing is sent meanwhile.
    ///
    /// # Errors
    /// [`Blocked`] when it is time to end.
    pub async fn stored(&mut self) -> Result<(), Blocked> {
        self.seal(ClosedBy::Wait);
        if self.transactions.is_some() {
            self.is_urgent = true;
            return self.commit().await;
        }
        let board = Arc::clone(&self.board);
        let (extra, seq) = (self.reached.parts(), self.reached.seq);
        let stored = async {
            let is_stored = || {
                let committed = board.committed();
                committed.is_some_and(|committed| {
                    committed.position.extra.is(&extra) && committed.position.seq >= seq
                })
            };
            // The committer's interval is the longer wait.
            while !is_stored() {
                tokio::time::sleep(LOOK).await;
            }
        };
        self.unless_ended(Awaited::Checkpoint, stored).await
    }

    /// Moves to a position behind the last event, in-band: committed only after what is before it.
    pub fn pass(&mut self, token: &ResumeToken, time_millis: Option<i64>) {
        if token.as_bytes() == self.reached.token {
            return;
        }
        self.reached.token.clear();
        self.reached.token.extend_from_slice(token.as_bytes());
        self.reached.time_millis = time_millis.or(self.reached.time_millis);
        self.pass_reached();
    }

    /// Gives out the position that is reached.
    pub fn pass_reached(&mut self) {
        // An open batch takes the position along when it is closed.
        if self.batch.is_none()
            && let Some(position) = self.position()
        {
            self.tracker.pass(position);
        }
    }

    /// Whether the position may be stored. A resume token holds the document's key, so that the token of one
    /// event may be larger than a checkpoint can be; the next event or idle token is a commit point again.
    pub(super) fn has_room_in_a_checkpoint(&self) -> bool {
        self.reached.token.len() <= LARGEST_TOKEN
    }

    /// None where it cannot be a commit point.
    pub(super) fn position(&self) -> Option<Position> {
        match self.has_room_in_a_checkpoint() {
            true => self.reached.position(),
            false => None,
        }
    }
}
