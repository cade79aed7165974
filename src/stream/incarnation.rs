//! One incarnation of a stream: one producer, one watermark, from a position to an end.

mod producer;
mod settled;
mod tasks;

use super::context::StreamContext;
use super::hints::ReplayHints;
use super::outlet::Outlet;
use super::progress;
use super::pump::{End, Parts, Pump, Rows};
use crate::change::position::{Position, Seq};
use crate::change::transactions::Transactions;
use crate::checkpoint::CommitError;
use crate::checkpoint::committer::{Checkpoints, Committer};
use crate::config::OnHistoryLost;
use crate::error::{Code, Error};
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::panics::caught;
use crate::route::Route;
use crate::sink::producer::{Faults, Producer};
use crate::sink::transaction;
use crate::source::cursor::Cursor;
use crate::source::validators as source;
use crate::status::State;
use crate::status::waiting::Awaited;
use settled::{Settled, stored_since};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tasks::{Committing, Reading};
use tokio::task::JoinError;

/// The least that the last checkpoint of a stop is given, when the drain has used up its time.
pub(super) const LAST_COMMIT: Duration = Duration::from_secs(2);

/// How an incarnation ended.
pub struct Outcome {
    pub end: End,
    /// Where the next one resumes: everything up to it is acknowledged.
    pub position: Position,
    /// Given back for the next one.
    pub checkpoints: Checkpoints,
    /// Why the producer broke, if it did.
    pub faults: Faults,
    /// Whether everything taken up was acknowledged.
    pub drained: bool,
    /// The last event of which records were sent.
    pub taken: Seq,
    /// Whether `position` is stored.
    pub stored: bool,
    /// Whether the last event is only not behind `position` because its token is too large to be stored.
    pub is_without_room: bool,
}

/// Runs from `position` until the end, with the cursor that was opened there.
///
/// # Errors
/// When the producer cannot be built: the claim on the checkpoints is lost with it, since that is the
/// configuration's fault and the stream ends.
pub async fn run(
    context: &StreamContext,
    cursor: Option<Cursor>,
    position: Position,
    checkpoints: Checkpoints,
    hints: &ReplayHints,
) -> Result<Outcome, Error> {
    match Incarnation::start(context, position, checkpoints, hints).await? {
        Started::Ready(incarnation) => incarnation.run(cursor, hints).await,
        Started::Ended(outcome) => Ok(*outcome),
    }
}

/// The parts of an incarnation that is ready to run.
struct Incarnation<'a> {
    context: &'a StreamContext,
    producer: Producer,
    tracker: Arc<Tracker>,
    replies: Arc<Budget>,
    records: Arc<Budget>,
    checkpoints: Checkpoints,
    /// What was known to be stored before.
    stored_before: Option<Position>,
    position: Position,
}

enum Started<'a> {
    Ready(Box<Incarnation<'a>>),
    /// It has ended before the first event.
    Ended(Box<Outcome>),
}

impl<'a> Incarnation<'a> {
    /// Builds the producer, and makes it the stream's only one where positions are in its transactions.
    async fn start(
        context: &'a StreamContext,
        position: Position,
        checkpoints: Checkpoints,
        hints: &ReplayHints,
    ) -> Result<Started<'a>, Error> {
        let memory = &context.shared.memory;
        let (replies, records) = (memory.replies(), memory.records());
        let tracker = Tracker::new(Arc::clone(&records));
        context.board().metrics.flow(&replies, &records, &tracker);
        let producer = producer::start(context, &records, &checkpoints, &tracker)?;
        producer::settle(context, &producer);
        let mut incarnation = Self {
            context,
            producer,
            tracker,
            replies,
            records,
            stored_before: checkpoints.committed().cloned(),
            checkpoints,
            position,
        };
        if let Err(end) = incarnation.take_over().await {
            return Ok(Started::Ended(Box::new(incarnation.not_begun(end).await?)));
        }
        // A position that the last incarnation could not store gets another chance; one behind a gap is
        // not passed before the gap was told.
        if hints.gap.is_none() {
            incarnation.tracker.pass(incarnation.position.clone());
        }
        Ok(Started::Ready(Box::new(incarnation)))
    }

    /// Makes the producer the stream's only one, or says how it ends.
    async fn take_over(&mut self) -> Result<(), End> {
        let Checkpoints::Transactions(leader) = &mut self.checkpoints else {
            return Ok(());
        };
        let known = leader.committed().cloned();
        let taken = tokio::select! {
            () = self.context.stop().cancelled() => return Err(End::Stopped),
            taken = self.context.board().waits.on(
                Awaited::Transaction,
                transaction::take_over(leader, &self.producer),
            ) => taken,
        };
        match taken {
            Ok(()) if leader.committed() == known.as_ref() => Ok(()),
            Ok(()) => {
                tracing::info!("the last transaction had been committed after all");
                Err(End::Producer)
            }
            Err(CommitError::Transient(refusal)) => {
                tracing::warn!(error = %refusal, "kafka does not take the transactions now");
                Err(End::Producer)
            }
            Err(error) => Err(End::Failed(error.into())),
        }
    }

    async fn not_begun(self, end: End) -> Result<Outcome, Error> {
        let stored = stored_since(&self.checkpoints, self.stored_before.as_ref());
        let position = stored.unwrap_or(self.position);
        Ok(Outcome {
            end,
            taken: position.seq,
            position,
            checkpoints: self.checkpoints,
            faults: producer::purge(self.producer).await?,
            drained: true,
            stored: true,
            is_without_room: false,
        })
    }

    /// Reads, pumps and commits until one of them ends, then winds down.
    async fn run(self, cursor: Option<Cursor>, hints: &ReplayHints) -> Result<Outcome, Error> {
        let Self {
            context,
            producer,
            tracker,
            replies,
            records,
            checkpoints,
            stored_before,
            position,
        } = self;
        let router = context.router.at(&position.extra)?;
        let (reading, fetched) = Reading::start(
            context,
            replies,
            cursor,
            &position,
            &Route::interest(&router),
        );
        let (mut committing, mut leader) = match checkpoints {
            Checkpoints::Store(store) => {
                let committer = Committer {
                    store,
                    tracker: Arc::clone(&tracker),
                    board: Arc::clone(context.board()),
                    interval: context.spec.pipeline.commit_interval,
                    newest: position.clone(),
                    in_hand: None,
                    failing_since: None,
                    rests_until: None,
                };
                (Committing::start(committer), None)
            }
            Checkpoints::Transactions(leader) => (Committing::none(), Some(leader)),
        };
        let topic = leader.as_ref().map(|leader| leader.topic().to_owned());
        context.board().enter(State::Running);
        context.opener.has_run.store(true, Ordering::Relaxed);
        // The pump stops with the stream, or when checkpoints can no longer be written.
        let halt_pumping = context.stop().child_token();
        let interval = context.spec.pipeline.commit_interval;
        let outlet = Outlet::new(
            &producer,
            leader
                .as_mut()
                .map(|leader| transaction::Transactions::new(&producer, leader, interval)),
            Arc::clone(&tracker),
            records,
            context.spec.pipeline.batching,
            Arc::clone(context.board()),
            halt_pumping.clone(),
            &position,
        );
        let parts = Parts {
            spec: &context.spec,
            router: &router,
            topics: &context.topics,
            board: context.board(),
            requests: reading.requests(),
        };
        let rows = Rows::at(&position.extra, context.rows(), Arc::clone(&context.desk))?;
        let sink = &context.spec.sink;
        let has_spans = sink.topics.bounds.is_some();
        let transactions = sink.transactions;
        let transactions = transactions.then(|| Transactions::at(&position.extra, has_spans));
        let validators = Arc::new(source::Validators::of(&context.shared.client));
        let mut pump = Pump::new(parts, outlet, hints, halt_pumping.clone())
            .with_rows(rows)
            .with_transactions(transactions.transpose()?)
            .with_validators(validators);
        let watching = progress::Watch {
            board: context.board(),
            topics: &context.topics,
            router: &context.router,
            producer: &producer,
            checkpoints: topic.as_deref(),
        };
        // What is still waited for then is given up: the stream should end.
        let mut overdue = std::pin::pin!(after_stop(context, || context.shared.grace.left()));
        let mut is_overdue = false;
        let end = {
            // A panic ends it as an error does: what is before it is drained and committed.
            let mut pumping = Box::pin(caught("the pump", pump.run(fetched)));
            let end = tokio::select! {
                end = &mut pumping => end,
                () = committing.ended() => {
                    halt_pumping.cancel();
                    pumping.await
                }
                () = &mut overdue => {
                    is_overdue = true;
                    Ok(End::Stopped)
                }
                never = watching.run() => match never {},
            };
            end.unwrap_or_else(End::Failed)
        };

        let began = Instant::now();
        let drained = match &end {
            End::Producer => false,
            _ if committing.has_ended() || is_overdue => false,
            end => tokio::select! {
                drained = drain(context, &mut pump, end) => drained,
                () = &mut overdue => false,
                never = watching.run() => match never {},
            },
        };
        let (taken, is_without_room) = (pump.outlet.taken(), pump.outlet.is_without_room());
        drop(pump);
        reading.halt();
        // A stop does not wait for a store that is away: what is given up on is as after a crash.
        let left = || context.shared.grace.left_since(began).max(LAST_COMMIT);
        let committed = committing.finish(after_stop(context, left)).await;
        let faults = producer::purge(producer).await?;
        let settled = Settled::of(leader, committed, &faults, stored_before, position)?;
        reading.ended().await?;
        Ok(Outcome {
            end: match settled.failed {
                Some(error) => End::Failed(error),
                None => end,
            },
            position: settled.position,
            checkpoints: settled.checkpoints,
            faults,
            drained,
            taken,
            stored: settled.is_stored,
            is_without_room,
        })
    }
}

/// Waits for the last acknowledgements, no longer than a graceful stop may take. But what was read
/// before history was lost can never be read again: that waits for Kafka.
async fn drain(context: &StreamContext, pump: &mut Pump<'_>, end: &End) -> bool {
    context.board().enter(State::Draining);
    let is_last_chance = matches!(end, End::Source(fault) if fault.kind.is_of_history())
        && context.spec.pipeline.on_history_lost != OnHistoryLost::Stop;
    let limit = async {
        if is_last_chance {
            context.stop().cancelled().await;
        }
        tokio::time::sleep(context.shared.grace.left()).await;
    };
    tokio::select! {
        drained = pump.finish() => drained,
        () = limit => false,
    }
}

/// Waits until the stream was asked to stop, and then for `grace`.
async fn after_stop(context: &StreamContext, grace: impl FnOnce() -> Duration) {
    context.stop().cancelled().await;
    tokio::time::sleep(grace()).await;
}

fn panicked(task: &str, ended: JoinError) -> Error {
    Error::new(
        Code::Internal,
        format!("the {task} task ended unexpectedly"),
    )
    .because(ended)
}
