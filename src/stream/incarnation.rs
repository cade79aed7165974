//! One incarnation of the pipeline: one producer, one watermark, from a position to an end.

use super::outlet::Outlet;
use super::progress;
use super::pump::{End, Knowledge, Pump};
use crate::change::position::{Position, Seq};
use crate::checkpoint::CommitError;
use crate::checkpoint::committer::{self, Committer, Ledger};
use crate::checkpoint::kafka::Leader;
use crate::config::{Config, OnHistoryLost};
use crate::encode::record::Encoder;
use crate::error::{Code, Error};
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::metrics::events::EventCounts;
use crate::mongo::errors::Stage;
use crate::panics::caught;
use crate::retry::Retry;
use crate::route::Router;
use crate::sink::producer::{Faults, Producer, Sizes};
use crate::sink::topics::Topics;
use crate::sink::transaction::{self, Transactions};
use crate::source::Filter;
use crate::source::batch_size::BatchSize;
use crate::source::cursor::{Cursor, Watch};
use crate::source::reader::{Fetched, READ_AHEAD, Reader};
use crate::source::split::Merger;
use crate::status::waiting::Awaited;
use crate::status::{Board, State};
use mongodb::Client;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The least that the last checkpoint of a stop is given, when the drain has used up its time.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// What every incarnation shares.
pub struct Rooms {
    pub config: Config,
    pub client: Client,
    pub watch: Watch,
    pub router: Router,
    pub topics: Topics,
    pub batch_size: BatchSize,
    pub board: Arc<Board>,
    pub stop: CancellationToken,
    /// Whether the stream was open: what is refused from then on may be given back.
    pub has_run: AtomicBool,
}

/// How an incarnation ended.
pub struct Outcome {
    pub end: End,
    /// From where the next one goes on: everything up to it is acknowledged.
    pub position: Position,
    /// Given back for the next one.
    pub ledger: Ledger,
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

impl Rooms {
    /// How to try again.
    pub fn retry(&self) -> Retry {
        self.config.mongo.retry()
    }

    /// How far the stream has come.
    pub fn stage(&self) -> Stage {
        match self.has_run.load(Ordering::Relaxed) {
            true => Stage::Running,
            false => Stage::Starting,
        }
    }

    /// Runs from `position` until the end, with the cursor that was opened there.
    ///
    /// # Errors
    /// When the producer cannot be built: the ledger is lost with it, since that is the configuration's
    /// fault and the process stops.
    pub async fn run(
        &self,
        cursor: Option<Cursor>,
        position: Position,
        mut ledger: Ledger,
        knowledge: &Knowledge,
    ) -> Result<Outcome, Error> {
        let before = ledger.committed().cloned();
        let half = self.config.pipeline.max_in_flight_bytes / 2;
        let budget = Budget::new(half);
        let replies_budget = Budget::new(half);
        let tracker = Tracker::new(Arc::clone(&budget));
        self.board.metrics.flow(&replies_budget, &budget, &tracker);
        let producer = self.producer(half, &ledger, &tracker)?;
        self.settle(&producer);
        if let Ledger::Transactions(leader) = &mut ledger
            && let Err(end) = self.take_over(leader, &producer).await
        {
            let position = stored_since(leader, before.as_ref()).unwrap_or(position);
            let faults = purge(producer).await?;
            return Ok(Outcome {
                end,
                taken: position.seq,
                position,
                ledger,
                faults,
                drained: true,
                stored: true,
                is_without_room: false,
            });
        }
        // A position that the last incarnation could not store gets another chance; one behind a gap is
        // not passed before the gap was told.
        if knowledge.gap.is_none() {
            tracker.pass(position.clone());
        }

        let (sender, replies) = mpsc::channel::<Fetched>(READ_AHEAD);
        let halt_reading = self.stop.child_token();
        let reader = Reader {
            client: self.client.clone(),
            watch: self.watch.clone(),
            retry: self.retry(),
            batch_size: self.batch_size.clone(),
            budget: replies_budget,
            board: Arc::clone(&self.board),
            replies: sender,
        };
        let reading = tokio::spawn(reader.run(cursor, position.clone(), halt_reading.clone()));

        let halt_committing = CancellationToken::new();
        let (mut committing, mut leader) = match ledger {
            Ledger::Store(store) => {
                let committer = Committer {
                    store,
                    tracker: Arc::clone(&tracker),
                    board: Arc::clone(&self.board),
                    interval: self.config.pipeline.commit_interval,
                    newest: position.clone(),
                    in_hand: None,
                    failing_since: None,
                    rests_until: None,
                };
                let committing = tokio::spawn(committer.run(halt_committing.clone()));
                (Some(committing), None)
            }
            Ledger::Transactions(leader) => (None, Some(leader)),
        };

        let checkpoints = leader.as_ref().map(|leader| leader.topic().to_owned());
        self.board.enter(State::Running);
        self.has_run.store(true, Ordering::Relaxed);
        // The pump stops with the process, or when checkpoints can no longer be written.
        let halt_pumping = self.stop.child_token();
        let interval = self.config.pipeline.commit_interval;
        let mut pump = self.pump(
            &producer,
            leader
                .as_mut()
                .map(|leader| Transactions::new(&producer, leader, interval)),
            &tracker,
            budget,
            halt_pumping.clone(),
            &position,
            knowledge,
        );
        let mut committed = None;
        // What is still waited for then is given up: the process should end.
        let mut overdue = std::pin::pin!(async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.config.shutdown_timeout).await;
        });
        let mut is_overdue = false;
        let end = {
            // A panic ends it as an error does: what is before it is drained and committed.
            let mut pumping = Box::pin(caught("the pump", pump.run(replies)));
            let end = tokio::select! {
                end = &mut pumping => end,
                ended = ended(&mut committing) => {
                    committed = Some(ended);
                    halt_pumping.cancel();
                    pumping.await
                }
                () = &mut overdue => {
                    is_overdue = true;
                    Ok(End::Stopped)
                }
                never = progress::watch(self, &producer, checkpoints.as_deref()) => match never {},
            };
            end.unwrap_or_else(End::Failed)
        };

        let began = Instant::now();
        let drained = match (&end, &committed) {
            (End::Producer, _) | (_, Some(_)) => false,
            _ if is_overdue => false,
            (end, _) => tokio::select! {
                drained = self.drain(&mut pump, end) => drained,
                () = &mut overdue => false,
                never = progress::watch(self, &producer, checkpoints.as_deref()) => match never {},
            },
        };
        let (taken, is_without_room) = (pump.outlet.taken(), pump.outlet.is_without_room());
        drop(pump);
        halt_reading.cancel();
        halt_committing.cancel();
        if committed.is_none() && committing.is_some() {
            // A stop does not wait for a store that is away: what is given up on is as after a crash.
            let left = self.config.shutdown_timeout.saturating_sub(began.elapsed());
            let given_up = async {
                self.stop.cancelled().await;
                tokio::time::sleep(left.max(LAST_COMMIT)).await;
            };
            committed = tokio::select! {
                ended = ended(&mut committing) => Some(ended),
                () = given_up => None,
            };
        }
        let faults = purge(producer).await?;
        let mut is_stored = true;
        let (ledger, position, stored) = match (leader, committed) {
            (Some(mut leader), _) => {
                if faults.fenced {
                    leader.doubt();
                }
                let position = stored_since(&leader, before.as_ref()).unwrap_or(position);
                (Ledger::Transactions(leader), position, Ok(()))
            }
            (None, Some(ended)) => {
                let (committer, stored) = ended.map_err(|error| panicked("commit", error))?;
                is_stored = committer.failing_since.is_none();
                (Ledger::Store(committer.store), committer.newest, stored)
            }
            (None, None) => return Err(committer::not_in_time()),
        };
        reading.await.map_err(|error| panicked("reader", error))?;
        let end = match stored {
            Ok(()) => end,
            Err(error) => End::Failed(error),
        };
        Ok(Outcome {
            end,
            position,
            ledger,
            faults,
            drained,
            taken,
            stored: is_stored,
            is_without_room,
        })
    }

    fn producer(
        &self,
        budget: usize,
        ledger: &Ledger,
        tracker: &Arc<Tracker>,
    ) -> Result<Producer, Error> {
        let topics = self.router.table().all();
        let sizes = Sizes {
            budget,
            batch: topics.iter().filter_map(|t| t.max_message_bytes()).min(),
        };
        let transaction = match ledger {
            Ledger::Store(_) => None,
            Ledger::Transactions(leader) => Some(transaction::settings(
                leader,
                self.config.pipeline.commit_interval,
            )),
        };
        Producer::start(
            &self.config.kafka,
            sizes,
            transaction,
            Arc::clone(tracker),
            Arc::clone(&self.board),
        )
    }

    /// Sees to it that the producer has its connection and its id by the time of the first record.
    fn settle(&self, producer: &Producer) {
        let topics = self.router.table().all();
        let Some(topic) = topics
            .into_iter()
            .find(|topic| topic.partitions().is_some())
        else {
            return;
        };
        producer.settle_beside(topic.name().to_owned());
    }

    /// Makes the producer the stream's only one, or says how to go on.
    async fn take_over(&self, leader: &mut Leader, producer: &Producer) -> Result<(), End> {
        let known = leader.committed().cloned();
        let taken = tokio::select! {
            () = self.stop.cancelled() => return Err(End::Stopped),
            taken = self.board.waits.on(
                Awaited::Transaction,
                transaction::take_over(leader, producer),
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

    #[expect(
        clippy::too_many_arguments,
        reason = "what differs between incarnations"
    )]
    fn pump<'a>(
        &'a self,
        producer: &'a Producer,
        transactions: Option<Transactions<'a>>,
        tracker: &Arc<Tracker>,
        budget: Arc<Budget>,
        stop: CancellationToken,
        position: &Position,
        knowledge: &'a Knowledge,
    ) -> Pump<'a> {
        let pipeline = &self.config.pipeline;
        Pump {
            encoder: Encoder::new(
                &self.config.stream_id,
                pipeline.json_mode,
                self.config.kafka.record_timestamp,
            ),
            router: self.router.clone(),
            filter: Filter::of(&self.config),
            ready: Vec::new(),
            topics: &self.topics,
            outlet: Outlet::new(
                producer,
                transactions,
                Arc::clone(tracker),
                budget,
                pipeline.batching,
                Arc::clone(&self.board),
                stop.clone(),
                position,
            ),
            merger: Merger::default(),
            in_hand: None,
            told_operations: BTreeSet::new(),
            knowledge,
            board: Arc::clone(&self.board),
            counts: EventCounts::default(),
            stop,
            tombstones: self.config.kafka.tombstones,
            on_record_error: pipeline.on_record_error,
            on_missing_topic: pipeline.on_missing_topic,
        }
    }

    /// Waits for the last acknowledgements, no longer than a graceful stop may take. But what was read
    /// before history was lost can never be read again: that waits for Kafka.
    async fn drain(&self, pump: &mut Pump<'_>, end: &End) -> bool {
        self.board.enter(State::Draining);
        let is_last_chance = matches!(end, End::Source(fault) if fault.kind.is_of_history())
            && self.config.pipeline.on_history_lost != OnHistoryLost::Stop;
        let limit = async {
            if is_last_chance {
                self.stop.cancelled().await;
            }
            tokio::time::sleep(self.config.shutdown_timeout).await;
        };
        tokio::select! {
            drained = pump.finish() => drained,
            () = limit => false,
        }
    }
}

/// The committer's end; never without one.
async fn ended<T>(
    task: &mut Option<tokio::task::JoinHandle<T>>,
) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// The position that a transaction has stored, if it is not the one known `before`.
fn stored_since(leader: &Leader, before: Option<&Position>) -> Option<Position> {
    let committed = leader.committed();
    committed.filter(|now| Some(*now) != before).cloned()
}

/// Waits for librdkafka's threads, which may take a moment.
async fn purge(producer: Producer) -> Result<Faults, Error> {
    tokio::task::spawn_blocking(move || producer.purge())
        .await
        .map_err(|error| panicked("producer", error))
}

fn panicked(task: &str, ended: tokio::task::JoinError) -> Error {
    Error::new(
        Code::Internal,
        format!("the {task} task ended unexpectedly"),
    )
    .because(ended)
}
