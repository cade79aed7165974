//! Where events stand in MongoDB's transactions.
//!
//! The numbers are the same whenever an event comes: what was counted so far is a part of the position behind it, so that
//! a stream which resumes in the middle of a transaction continues there.

mod counts;
mod stored;

pub use stored::Held;

use crate::change::event::{Event, Operation};
use crate::change::extra::Extra;
use crate::change::position::Seq;
use crate::error::Error;
use counts::Counts;
use std::sync::Arc;

/// What names a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionId<'a> {
    /// The session, a document.
    pub lsid: &'a [u8],
    /// `txnNumber`: the transaction's number in its session.
    pub number: i64,
}

impl<'a> TransactionId<'a> {
    /// That of an event; none outside of transactions, whose events have both fields.
    pub fn of(event: &Event<'a>) -> Option<Self> {
        Some(Self {
            lsid: event.lsid?,
            number: event.txn_number?,
        })
    }
}

/// Where an event stands in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub id: TransactionId<'a>,
    /// Its number among the events of the transaction that take a `tw-seq`, from 1.
    pub order: u64,
}

/// What was counted up to a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    counts: Counts,
}

/// Counts the events of one stream.
#[derive(Debug, Clone, Default)]
pub struct Transactions {
    state: Arc<State>,
}

impl Transactions {
    /// At a position.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`](crate::error::Code::CheckpointFailed) where what the position says cannot be read.
    pub fn at(extra: &Extra) -> Result<Self, Error> {
        let state = Arc::new(State::of(extra)?);
        Ok(Self { state })
    }

    /// What positions from `seq` on hold.
    pub fn held(&self, seq: Seq) -> Option<Held> {
        Held::new(&self.state, &self.state, seq)
    }

    /// Counts the event with the number `seq`: where it stands, and what positions hold from it on.
    ///
    /// A row of a snapshot is no event of the stream.
    pub fn take<'a>(&mut self, event: &Event<'a>, seq: Seq) -> (Option<Place<'a>>, Option<Held>) {
        debug_assert!(event.operation != Operation::Read, "a row has no number");
        let before = Arc::clone(&self.state);
        let id = TransactionId::of(event);
        if id.is_none() && before.is_empty() {
            return (None, None);
        }
        let state = Arc::make_mut(&mut self.state);
        let order = state.counts.count(id, event.cluster_time);
        let place = id.zip(order).map(|(id, order)| Place { id, order });
        (place, Held::new(&before, &self.state, seq))
    }
}

#[cfg(test)]
mod tests;
