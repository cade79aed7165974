//! Where events stand in MongoDB's transactions.
//!
//! The numbers are the same whenever an event comes: what was counted so far is a part of the position behind it, so that
//! a stream which resumes in the middle of a transaction continues there.

mod counts;
mod spans;
mod stored;

pub use spans::{Bounds, InSpan, Span};
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
    /// The same as Debezium's connector counts, where that is asked for.
    pub in_span: Option<InSpan>,
}

/// What was counted up to a position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    counts: Counts,
    /// The transaction in progress, where spans are asked for.
    span: Option<Span>,
}

/// Counts the events of one stream.
#[derive(Debug, Clone, Default)]
pub struct Transactions {
    state: Arc<State>,
    has_spans: bool,
}

/// What is known of an event once it is counted.
#[derive(Debug, Default)]
pub struct Taken<'a> {
    /// None outside of transactions.
    pub place: Option<Place<'a>>,
    /// What ends and what begins with it.
    pub bounds: Option<Bounds>,
    /// What positions hold from the event on; none where there is nothing to hold.
    pub held: Option<Held>,
}

impl Transactions {
    /// At a position; with spans where Debezium's transactions are asked for.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`](crate::error::Code::CheckpointFailed) where what the position says cannot be read.
    pub fn at(extra: &Extra, has_spans: bool) -> Result<Self, Error> {
        let mut state = State::of(extra)?;
        if !has_spans {
            // Of another format, before.
            state.span = None;
        }
        Ok(Self {
            state: Arc::new(state),
            has_spans,
        })
    }

    /// What positions from `seq` on hold.
    pub fn held(&self, seq: Seq) -> Option<Held> {
        Held::new(&self.state, &self.state, seq)
    }

    /// Counts the event with the number `seq`. An event that only listeners want (not `by_configuration`), or one that
    /// is not about a document, is in no span: Debezium's connector would not see it.
    pub fn take<'a>(&mut self, event: &Event<'a>, seq: Seq, by_configuration: bool) -> Taken<'a> {
        debug_assert!(event.operation != Operation::Read, "a row has no number");
        let before = Arc::clone(&self.state);
        let id = TransactionId::of(event);
        if id.is_none() && before.is_empty() {
            return Taken::default();
        }
        let state = Arc::make_mut(&mut self.state);
        let order = state.counts.count(id, event.cluster_time);
        let (mut in_span, mut bounds) = (None, None);
        if self.has_spans && by_configuration && event.operation.is_document() {
            let namespace = format!("{}.{}", event.database, event.collection);
            (in_span, bounds) = spans::count(&mut state.span, id, &namespace);
        }
        let place = id
            .zip(order)
            .map(|(id, order)| Place { id, order, in_span });
        Taken {
            place,
            bounds,
            held: Held::new(&before, &self.state, seq),
        }
    }
}

#[cfg(test)]
mod tests;
