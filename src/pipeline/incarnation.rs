//! One incarnation of the pipeline: one producer, one watermark, from a position to an end.

use super::budget::Budget;
use super::encoder::Encoder;
use super::outlet::Outlet;
use super::pump::{End, Knowledge, Pump};
use super::tracker::Tracker;
use crate::commit::Committer;
use crate::config::Config;
use crate::error::{Code, Error};
use crate::position::Position;
use crate::resume::Store;
use crate::route::Router;
use crate::sink::producer::{Faults, Producer};
use crate::sink::topics::Topics;
use crate::source::batch_size::BatchSize;
use crate::source::cursor::{Cursor, Watch};
use crate::source::reader::{Fetched, READ_AHEAD, Reader, Retry};
use crate::source::split::Merger;
use crate::status::{Board, State};
use mongodb::Client;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What every incarnation shares.
pub struct Rooms {
    pub config: Config,
    pub client: Client,
    pub watch: Watch,
    pub router: Router,
    pub topics: Topics,
    pub board: Arc<Board>,
    pub stop: CancellationToken,
}

/// How an incarnation ended.
pub struct Outcome {
    pub end: End,
    /// From where the next one goes on: everything up to it is acknowledged.
    pub position: Position,
    /// Given back for the next one.
    pub store: Store,
    /// Why the producer broke, if it did.
    pub faults: Faults,
    /// Whether everything taken up was acknowledged.
    pub drained: bool,
}

impl Rooms {
    /// How to try again.
    pub fn retry(&self) -> Retry {
        Retry {
            first: self.config.mongo.reconnect_delay,
            most: self.config.mongo.reconnect_max_retries,
        }
    }

    /// Runs from an open cursor at `position` until the end.
    ///
    /// # Errors
    /// When the producer cannot be built: the store is lost with it, since that is the configuration's
    /// fault and the process stops.
    pub async fn run(
        &self,
        cursor: Cursor,
        position: Position,
        store: Store,
        knowledge: &Knowledge,
    ) -> Result<Outcome, Error> {
        let half = self.config.pipeline.max_in_flight_bytes / 2;
        let budget = Budget::new(half);
        let tracker = Tracker::new(Arc::clone(&budget));
        let producer = Producer::start(
            &self.config.kafka,
            half,
            None,
            Arc::clone(&tracker),
            Arc::clone(&self.board),
        )?;
        // A position that the last incarnation could not store gets another chance.
        tracker.pass(position.clone());

        let (sender, replies) = mpsc::channel::<Fetched>(READ_AHEAD);
        let halt_reading = self.stop.child_token();
        let reader = Reader {
            client: self.client.clone(),
            watch: self.watch.clone(),
            retry: self.retry(),
            batch_size: BatchSize::new(self.config.mongo.batch_bytes),
            budget: Budget::new(half),
            board: Arc::clone(&self.board),
            replies: sender,
        };
        let reading =
            tokio::spawn(reader.run(cursor, position.token.clone(), halt_reading.clone()));

        let halt_committing = CancellationToken::new();
        let committer = Committer {
            store,
            tracker: Arc::clone(&tracker),
            board: Arc::clone(&self.board),
            interval: self.config.pipeline.commit_interval,
            newest: position.clone(),
            failing_since: None,
        };
        let mut committing = tokio::spawn(committer.run(halt_committing.clone()));

        self.board.enter(State::Running);
        // The pump stops with the process, or when checkpoints can no longer be written.
        let halt_pumping = self.stop.child_token();
        let pump = self.pump(
            &producer,
            &tracker,
            budget,
            halt_pumping.clone(),
            &position,
            knowledge,
        );
        let mut committed = None;
        let end = {
            let mut pumping = Box::pin(pump.run(replies));
            tokio::select! {
                end = &mut pumping => end,
                ended = &mut committing => {
                    committed = Some(ended);
                    halt_pumping.cancel();
                    pumping.await
                }
            }
        };

        let drained = match (&end, &committed) {
            (End::Producer, _) | (_, Some(_)) => false,
            _ => self.drain(&producer, &tracker).await,
        };
        halt_reading.cancel();
        halt_committing.cancel();
        let committed = match committed {
            Some(ended) => ended,
            None => committing.await,
        };
        let faults = producer.faults();
        // Waits for librdkafka's threads, which may take a moment.
        let purged = tokio::task::spawn_blocking(move || producer.purge());
        let (committer, stored) = committed.map_err(|error| panicked("commit", error))?;
        purged.await.map_err(|error| panicked("producer", error))?;
        reading.await.map_err(|error| panicked("reader", error))?;
        let end = match stored {
            Ok(()) => end,
            Err(error) => End::Failed(error),
        };
        Ok(Outcome {
            end,
            position: committer.newest,
            store: committer.store,
            faults,
            drained,
        })
    }

    fn pump<'a>(
        &'a self,
        producer: &'a Producer,
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
            ready: Vec::new(),
            topics: &self.topics,
            outlet: Outlet::new(
                producer,
                Arc::clone(tracker),
                budget,
                pipeline.batching,
                stop.clone(),
                position,
            ),
            merger: Merger::default(),
            knowledge,
            board: Arc::clone(&self.board),
            stop,
            tombstones: self.config.kafka.tombstones,
            on_record_error: pipeline.on_record_error,
        }
    }

    /// Waits for the last acknowledgements, no longer than a graceful stop may take.
    async fn drain(&self, producer: &Producer, tracker: &Tracker) -> bool {
        self.board.enter(State::Draining);
        tokio::select! {
            () = tracker.drained() => true,
            () = producer.broken() => false,
            () = tokio::time::sleep(self.config.shutdown_timeout) => false,
        }
    }
}

fn panicked(task: &str, error: tokio::task::JoinError) -> Error {
    Error::new(
        Code::Internal,
        format!("the {task} task ended unexpectedly"),
    )
    .because(error)
}
