//! What the outlet needs of a producer and of its transactions. Kafka's are the only ones outside of tests, and
//! known when it is compiled: a call costs what it cost without this.

use crate::change::position::Position;
use crate::flow::watermark::Committable;
use crate::kafka::produce::Record;
use crate::sink::producer::{Producer, Ticket};
use crate::sink::transaction::{Transactions, Uncommitted};
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;
use tokio::time::Instant;

/// A producer of one incarnation, which acknowledges to the incarnation's tracker.
pub trait Produce {
    /// What its records are in where they are committed together with their position.
    type Transactions<'a>: Transact;

    /// Queues a record; its acknowledgement goes to the tracker, under the ticket.
    ///
    /// # Errors
    /// librdkafka's code, when nothing was queued.
    fn send(&self, record: &Record<'_>, ticket: Ticket) -> Result<(), RDKafkaErrorCode>;

    /// A part of the stream is queued. With `is_last`, nothing follows for now.
    fn pause(&self, is_last: bool);

    /// Whether it must not continue.
    fn is_broken(&self) -> bool;

    /// Waits until [`is_broken`](Self::is_broken).
    fn broken(&self) -> impl Future<Output = ()> + Send;
}

/// The transactions of one producer, one after the other.
pub trait Transact {
    /// Begins a transaction, unless one is open. To be called before each record.
    ///
    /// # Errors
    /// [`Uncommitted`] when none begins.
    fn begin(&mut self) -> Result<(), Uncommitted>;

    /// When there is something to commit for a stream that has reached `token`; none where there is nothing. A
    /// transaction lasts for `least`, or longer.
    fn due(&self, token: &[u8], least: Duration) -> Option<Instant>;

    /// Whether there is anything to commit for a stream that has reached `token`.
    fn is_worth_committing(&self, token: &[u8]) -> bool;

    /// Commits everything up to the position.
    ///
    /// # Errors
    /// [`Uncommitted`]; whether it was committed may be unknown.
    fn commit(
        &mut self,
        committable: Committable,
    ) -> impl Future<Output = Result<Position, Uncommitted>> + Send;

    /// Ends the open transaction as if it had never been.
    fn abandon(&mut self) -> impl Future<Output = ()> + Send;
}

impl Produce for Producer {
    type Transactions<'a> = Transactions<'a>;

    #[inline]
    fn send(&self, record: &Record<'_>, ticket: Ticket) -> Result<(), RDKafkaErrorCode> {
        self.send(record, ticket)
    }

    #[inline]
    fn pause(&self, is_last: bool) {
        self.pause(is_last);
    }

    #[inline]
    fn is_broken(&self) -> bool {
        self.is_broken()
    }

    fn broken(&self) -> impl Future<Output = ()> + Send {
        self.broken()
    }
}

impl Transact for Transactions<'_> {
    #[inline]
    fn begin(&mut self) -> Result<(), Uncommitted> {
        self.begin()
    }

    fn due(&self, token: &[u8], least: Duration) -> Option<Instant> {
        self.due(token, least)
    }

    fn is_worth_committing(&self, token: &[u8]) -> bool {
        self.is_worth_committing(token)
    }

    fn commit(
        &mut self,
        committable: Committable,
    ) -> impl Future<Output = Result<Position, Uncommitted>> + Send {
        self.commit(committable)
    }

    fn abandon(&mut self) -> impl Future<Output = ()> + Send {
        self.abandon()
    }
}
