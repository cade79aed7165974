//! The way out of the pump: records go to the producer within the byte budget, batches to the tracker.
//! Exactly once, it also begins and commits the transactions that they are in.

mod commit;
mod reached;

pub use reached::{LOOK, Reached};

use super::produce::{Produce, Transact};
use crate::change::event::Event;
use crate::change::position::{Position, Seq};
use crate::config::Batching;
use crate::error::Error;
use crate::flow::batch::ClosedBy;
use crate::flow::batch::Fill;
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::{EntryId, Seal};
use crate::kafka::produce::Record;
use crate::route::{TargetId, Topic};
use crate::sink::first::Firsts;
use crate::sink::producer::{Producer, Ticket};
use crate::sink::transaction::Uncommitted;
use crate::status::Board;
use crate::status::waiting::Awaited;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many bytes may be on their way when rows of a snapshot are sent beside changes of the stream, which wait behind
/// them.
const MOST_ROWS: usize = 1 << 20;

/// Why a record did not get out.
#[derive(Debug)]
pub enum Blocked {
    /// Asked to stop while waiting.
    Stopped,
    /// The producer must not continue.
    Broken,
    /// librdkafka refuses this record.
    Refused(RDKafkaErrorCode),
    /// There is nothing to try again.
    Failed(Error),
}

impl From<Uncommitted> for Blocked {
    fn from(uncommitted: Uncommitted) -> Self {
        match uncommitted {
            Uncommitted::Broken => Self::Broken,
            Uncommitted::Failed(error) => Self::Failed(error),
        }
    }
}

/// Sends records and closes batches, for one incarnation.
pub struct Outlet<'a, P: Produce = Producer> {
    producer: &'a P,
    tracker: Arc<Tracker>,
    budget: Arc<Budget>,
    limits: Batching,
    stop: CancellationToken,
    reached: Reached,
    batch: Option<(EntryId, Fill)>,
    /// Whether records were queued since the producer was told that nothing follows.
    is_lingering: bool,
    /// Whether the stream works off what has waited at the source: the next reply will not be long.
    is_behind: bool,
    /// Whether `reached` must not be committed before the event that follows it.
    is_within_event: bool,
    /// Whether some of that event's records were sent: a stop waits for the others.
    is_half_sent: bool,
    /// Whether the position holds something that somebody waits for until it is stored.
    is_urgent: bool,
    /// Whether all was acknowledged at the end, and only the token of the last event kept it from being stored.
    is_without_room: bool,
    firsts: Firsts,
    /// None where positions are stored beside the records: at least once.
    transactions: Option<P::Transactions<'a>>,
    /// How long the last commit kept records back.
    commit_took: Duration,
    board: Arc<Board>,
}

impl<'a, P: Produce> Outlet<'a, P> {
    /// `budget` is the records' half; `start` is the position the stream was opened at.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one of the outlet's own parts"
    )]
    pub fn new(
        producer: &'a P,
        transactions: Option<P::Transactions<'a>>,
        tracker: Arc<Tracker>,
        budget: Arc<Budget>,
        limits: Batching,
        board: Arc<Board>,
        stop: CancellationToken,
        start: &Position,
    ) -> Self {
        Self {
            producer,
            tracker,
            budget,
            limits,
            stop,
            reached: Reached::at(start),
            batch: None,
            is_lingering: false,
            is_behind: false,
            is_within_event: false,
            is_half_sent: false,
            is_urgent: false,
            is_without_room: false,
            firsts: Firsts::new(Instant::now().into_std()),
            transactions,
            commit_took: Duration::ZERO,
            board,
        }
    }

    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// The last event of which records were sent, or that was passed over.
    pub fn taken(&self) -> Seq {
        match self.is_half_sent {
            true => self.reached.seq.next(),
            false => self.reached.seq,
        }
    }

    /// Whether the end is behind an event whose token is too large to be stored, and that is all that is wrong.
    pub fn is_without_room(&self) -> bool {
        self.is_without_room
    }

    /// Says whether more waits at the source, so that records should gather.
    pub fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    pub fn is_broken(&self) -> bool {
        self.producer.is_broken()
    }

    /// Queues a record for `target` of the event that follows [`reached`](Self::reached), whose own time is
    /// `change_millis`, waiting for the byte budget where that is used up, and behind the first record of a
    /// partition until that is acknowledged.
    ///
    /// # Errors
    /// [`Blocked`]; nothing was queued then.
    pub async fn send(
        &mut self,
        topic: &Topic,
        record: &Record<'_>,
        target: TargetId,
        change_millis: Option<i64>,
    ) -> Result<(), Blocked> {
        let placed;
        let record = match record.is_to_be_placed() {
            true => {
                placed = record.placed(topic.partitions().unwrap_or(1));
                &placed
            }
            false => record,
        };
        if self.firsts.must_wait(topic, record.key) {
            self.acknowledged().await?;
        }
        let weight = record.weight();
        if !self.budget.try_take(weight) {
            // What is open must be closed, or its bytes would never come back.
            self.seal(ClosedBy::Budget);
            // Records that come one by one would each be sent in a request of its own, where they are spread over
            // many partitions.
            let room = self.budget.take_when_half_free(weight);
            self.unless_ended(Awaited::Budget, room).await?;
        }
        if let Some(transactions) = &mut self.transactions
            && let Err(uncommitted) = transactions.begin()
        {
            self.budget.release(weight);
            return Err(uncommitted.into());
        }
        loop {
            let (entry, fill) = self.open();
            let ticket = Ticket {
                entry,
                index: fill.events,
                target,
            };
            if fill.records == 0 {
                self.board.metrics.sent(entry, change_millis);
                if let Some(millis) = change_millis {
                    self.tracker.note_change(entry, millis);
                }
            }
            let blocked = match self.producer.send(record, ticket) {
                Ok(()) => {
                    self.open().1.record(weight);
                    self.firsts.sent(topic, record.key);
                    self.is_within_event = true;
                    self.is_half_sent = true;
                    self.is_lingering = true;
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull) => {
                    // Only with KAFKA_PROP_QUEUE_*: our own queue is larger than the budget.
                    let pause = tokio::time::sleep(Duration::from_millis(2));
                    match self.unless_ended(Awaited::Queue, pause).await {
                        Ok(()) => continue,
                        Err(blocked) => blocked,
                    }
                }
                Err(
                    code @ (RDKafkaErrorCode::MessageSizeTooLarge
                    | RDKafkaErrorCode::InvalidArgument),
                ) => Blocked::Refused(code),
                Err(code) => {
                    tracing::warn!(%code, "the kafka producer takes no more records");
                    Blocked::Broken
                }
            };
            self.budget.release(weight);
            return Err(blocked);
        }
    }

    /// Lets nothing be committed before the next event is counted.
    pub fn hold(&mut self) {
        self.is_within_event = true;
    }

    /// Counts an event whose records were all sent, and closes the batch when it is full.
    pub fn count(&mut self, event: &Event<'_>) {
        let limits = self.limits;
        let (_, fill) = self.open();
        fill.events += 1;
        let closed_by = fill.closed_by(&limits, Instant::now().into_std());
        self.reached.seq = self.reached.seq.next();
        self.reached.behind(event);
        self.is_within_event = false;
        self.is_half_sent = false;
        if let Some(by) = closed_by {
            self.seal(by);
        }
    }

    /// Takes note of a row whose record was sent: it has no number. No position is given out before
    /// [`reach_rows`](Self::reach_rows) says how far the rows are.
    pub fn count_row(&mut self) {
        self.is_within_event = true;
        self.is_half_sent = false;
    }

    /// Whether rows may be sent: so few bytes are on their way that the stream's own records do not wait for them.
    /// While there are none of those (`is_alone`), half of the budget.
    pub fn has_room_for_rows(&self, is_alone: bool) -> bool {
        self.budget.used() < self.most_rows(is_alone)
    }

    /// Waits until [`has_room_for_rows`](Self::has_room_for_rows). What is open must be closed before.
    pub fn room_for_rows(&self, is_alone: bool) -> impl Future<Output = ()> + use<P> {
        let (budget, most) = (Arc::clone(&self.budget), self.most_rows(is_alone));
        async move { budget.below(most).await }
    }

    fn most_rows(&self, is_alone: bool) -> usize {
        let half = self.budget.limit() / 2;
        if is_alone { half } else { MOST_ROWS.min(half) }
    }

    /// Closes the open batch, if any. It gives out the last position whose event is complete, so that it
    /// may also be closed between the records of one event.
    pub fn seal(&mut self, by: ClosedBy) {
        if self.is_lingering {
            let is_last = match by {
                ClosedBy::Events | ClosedBy::Bytes | ClosedBy::Timeout => false,
                ClosedBy::Idle => !self.is_behind,
                ClosedBy::Budget | ClosedBy::Wait => true,
            };
            self.producer.pause(is_last);
            self.is_lingering = !is_last;
        }
        let Some((entry, fill)) = self.batch.take() else {
            return;
        };
        self.firsts.expire(Instant::now().into_std());
        self.board.metrics.batch_closed(by, fill.events);
        let seal = Seal {
            records: fill.records,
            bytes: fill.bytes,
            position: self.position(),
        };
        self.tracker.seal(entry, seal);
    }

    /// Waits for `future`, unless it is time to end. The pump has no other wait, so that each has a name.
    ///
    /// # Errors
    /// [`Blocked`] when it is.
    pub async fn unless_ended<T>(
        &self,
        what: Awaited,
        future: impl Future<Output = T>,
    ) -> Result<T, Blocked> {
        let unless_ended = async {
            tokio::select! {
                biased;
                () = self.stop.cancelled(), if !self.is_half_sent => Err(Blocked::Stopped),
                () = self.producer.broken() => Err(Blocked::Broken),
                done = future => Ok(done),
            }
        };
        self.board.waits.on(what, unless_ended).await
    }

    fn open(&mut self) -> (EntryId, &mut Fill) {
        let (tracker, first) = (&self.tracker, self.reached.seq.next());
        let (entry, fill) = self
            .batch
            .get_or_insert_with(|| (tracker.open(first), Fill::new(Instant::now().into_std())));
        (*entry, fill)
    }
}
