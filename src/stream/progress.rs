//! Sees to it that a producer from which nothing comes any more does not stand still for ever.
//!
//! librdkafka waits by itself for whatever may come back, and reports what it gives up. What it neither
//! delivers nor gives up has no end of its own: a topic that was deleted within a transaction, a client
//! that is stuck while its brokers answer.

use crate::route::Router;
use crate::sink::producer::Producer;
use crate::sink::topics::Topics;
use crate::status::Board;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// After so long without a report, and then each time, the topics are looked at.
const SUSPICIOUS: Duration = Duration::from_secs(4);
/// How long nothing may come while a broker is connected all the time: librdkafka's own requests to one
/// that does not answer end before that.
const STUCK: Duration = Duration::from_secs(45);

/// Looks after one producer.
pub struct Watch<'a> {
    pub board: &'a Board,
    pub topics: &'a Topics,
    pub router: &'a Router,
    pub producer: &'a Producer,
    /// The topic that its transactions end in.
    pub checkpoints: Option<&'a str>,
}

impl Watch<'_> {
    /// For as long as the producer lives: breaks it when a topic is gone that it waits for, or nothing has
    /// come for [`STUCK`].
    pub async fn run(&self) -> Infallible {
        let (mut count, mut moved) = (0, Instant::now());
        let mut looked = moved;
        loop {
            tokio::time::sleep(LOOK).await;
            let (reported, is_waiting) = self.producer.progress();
            if reported != count || !is_waiting && self.board.in_flight() == 0 {
                (count, moved) = (reported, Instant::now());
                looked = moved;
                continue;
            }
            if looked.elapsed() >= SUSPICIOUS {
                looked = Instant::now();
                if let Some(topic) = self.missing().await {
                    self.producer.miss(topic);
                }
            }
            let connected = &self.board.kafka_connected;
            if moved.elapsed() >= STUCK && connected.get() && connected.unchanged_for() >= STUCK {
                tracing::warn!(
                    seconds = moved.elapsed().as_secs(),
                    "no delivery report has come, although a broker is connected"
                );
                self.producer.fail(KafkaError::MessageProduction(
                    RDKafkaErrorCode::OperationTimedOut,
                ));
            }
        }
    }

    /// A topic of those in use that does not exist.
    async fn missing(&self) -> Option<String> {
        let topics = self.router.table().all();
        let used = topics
            .iter()
            .filter(|topic| topic.partitions().is_some())
            .map(|topic| topic.name());
        self.topics
            .missing(self.checkpoints.into_iter().chain(used))
            .await
    }
}
