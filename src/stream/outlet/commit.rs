//! Acknowledgements that are waited for, and the transactions that end with them.

use super::{Blocked, Outlet};
use crate::flow::batch::ClosedBy;
use crate::status::waiting::Awaited;
use crate::stream::produce::{Produce, Transact};
use std::time::Duration;
use tokio::time::Instant;

/// While the stream is behind, a transaction is so many times as long as the last commit took: commits then take no
/// more than a tenth of the time.
const PER_COMMIT: u32 = 9;
/// The longest of these, far below what Kafka gives a transaction.
const LONGEST_BEHIND: Duration = Duration::from_secs(10);

impl<P: Produce> Outlet<'_, P> {
    /// Closes the batch and waits until everything is acknowledged.
    ///
    /// # Errors
    /// [`Blocked`] when that will not be.
    pub async fn acknowledged(&mut self) -> Result<(), Blocked> {
        self.seal(ClosedBy::Wait);
        self.unless_ended(Awaited::Acknowledgements, self.tracker.drained())
            .await?;
        self.firsts.acknowledged();
        Ok(())
    }

    /// Waits for `future` until it is time to commit: none then.
    ///
    /// # Errors
    /// [`Blocked`] when it is time to end.
    pub async fn unless_due<T>(
        &self,
        what: Awaited,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>, Blocked> {
        let Some(due) = self.due() else {
            return self.unless_ended(what, future).await.map(Some);
        };
        let due = tokio::time::sleep_until(due);
        self.unless_ended(what, async {
            tokio::select! {
                biased;
                () = due => None,
                done = future => Some(done),
            }
        })
        .await
    }

    /// Commits the transaction when it has reached its length. Between two events, at least once a
    /// no-op.
    ///
    /// # Errors
    /// [`Blocked`] when it is time to end.
    pub async fn commit_if_due(&mut self) -> Result<(), Blocked> {
        match self.due() {
            Some(due) if due <= Instant::now() => self.commit().await,
            _ => Ok(()),
        }
    }

    fn due(&self) -> Option<Instant> {
        if self.is_within_event || !self.has_room_in_a_checkpoint() {
            return None;
        }
        let least = match self.is_behind {
            // What has waited for long at the source may be visible a little later.
            true => (self.commit_took * PER_COMMIT).min(LONGEST_BEHIND),
            false => Duration::ZERO,
        };
        self.transactions.as_ref()?.due(&self.reached.token, least)
    }

    /// Commits the transaction with all that is before this position, if there is anything to commit.
    ///
    /// # Errors
    /// [`Blocked`] when it is time to end.
    pub async fn commit(&mut self) -> Result<(), Blocked> {
        let is_commit_point = !self.is_within_event && self.has_room_in_a_checkpoint();
        if self.is_worth_committing() && is_commit_point {
            let began = Instant::now();
            self.acknowledged().await?;
            self.end_transaction().await?;
            self.commit_took = began.elapsed();
        }
        Ok(())
    }

    /// Waits for the last acknowledgements and commits them; whether that came about.
    pub async fn finish(&mut self) -> bool {
        self.seal(ClosedBy::Wait);
        let drained = async {
            tokio::select! {
                biased;
                () = self.tracker.drained() => true,
                () = self.producer.broken() => false,
            }
        };
        let waits = &self.board.waits;
        let acknowledged = waits.on(Awaited::Acknowledgements, drained).await;
        self.is_without_room =
            acknowledged && !self.is_half_sent && !self.has_room_in_a_checkpoint();
        if !acknowledged || !self.is_worth_committing() {
            return acknowledged && !self.is_half_sent && self.has_room_in_a_checkpoint();
        }
        if self.is_within_event || !self.has_room_in_a_checkpoint() {
            // Half an event must not be committed before a position that does not count it.
            if let Some(transactions) = &mut self.transactions {
                let waits = &self.board.waits;
                waits.on(Awaited::Transaction, transactions.abandon()).await;
            }
            return !self.is_half_sent && self.has_room_in_a_checkpoint();
        }
        self.end_transaction().await.is_ok()
    }

    fn is_worth_committing(&self) -> bool {
        self.transactions.as_ref().is_some_and(|transactions| {
            self.is_urgent || transactions.is_worth_committing(&self.reached.token)
        })
    }

    async fn end_transaction(&mut self) -> Result<(), Blocked> {
        // What is reached, since all before it is acknowledged.
        let committable = self.tracker.take_committable();
        if let (Some(transactions), Some(committable)) = (&mut self.transactions, committable) {
            let began = Instant::now();
            let commit = transactions.commit(committable);
            let committed = self.board.waits.on(Awaited::Transaction, commit).await;
            let metrics = &self.board.metrics;
            metrics.checkpoint(committed.is_ok(), began.elapsed());
            self.board.set_committed(committed?);
            self.is_urgent = false;
        }
        Ok(())
    }
}
