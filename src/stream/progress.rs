//! Sees to it that a producer from which nothing comes any more does not stand still for ever.
//!
//! librdkafka waits by itself for whatever may come back, and reports what it gives up. What it neither
//! delivers nor gives up has no end of its own: a topic that was deleted within a transaction, a client
//! that is stuck while its brokers answer. Such a client may be connected, or it may have lost its last broker and
//! never look for another one (seen with librdkafka 2.12: it asked for its producer id just when it replaced the
//! bootstrap broker).

use crate::listener::ListenerRouter;
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
/// How long a producer may have no connection while the brokers answer another client of this process: librdkafka
/// gives one attempt to connect up after 30 s.
const UNCONNECTED: Duration = Duration::from_secs(35);

/// What is known of a producer that has work and reports nothing.
#[derive(Debug, Clone, Copy)]
struct Client {
    /// How long no report has come.
    silent: Duration,
    is_connected: bool,
    /// How long it has been connected, or not.
    unchanged: Duration,
    /// How long the brokers have answered another client of this process each time.
    answering: Option<Duration>,
}

impl Client {
    /// Whether it is at fault, and not the brokers or the way to them.
    fn is_stuck(self) -> bool {
        let still = self.silent.min(self.unchanged);
        match self.is_connected {
            true => still >= STUCK,
            false => {
                still >= UNCONNECTED
                    && self
                        .answering
                        .is_some_and(|answering| answering + SUSPICIOUS >= UNCONNECTED)
            }
        }
    }
}

/// Looks after one producer.
pub struct Watch<'a> {
    pub board: &'a Board,
    pub topics: &'a Topics,
    pub router: &'a ListenerRouter,
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
        let mut answering = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let (reported, is_waiting) = self.producer.progress();
            if reported != count || !is_waiting && self.board.in_flight() == 0 {
                (count, moved) = (reported, Instant::now());
                looked = moved;
                answering = None;
                continue;
            }
            if looked.elapsed() >= SUSPICIOUS {
                let began = Instant::now();
                let missing = self.missing().await;
                answering = missing.is_ok().then(|| answering.unwrap_or(began));
                looked = Instant::now();
                if let Ok(Some(topic)) = missing {
                    self.producer.miss(topic);
                }
            }
            let connected = &self.board.kafka_connected;
            let client = Client {
                silent: moved.elapsed(),
                is_connected: connected.get(),
                unchanged: connected.unchanged_for(),
                answering: answering.map(|since| since.elapsed()),
            };
            if client.is_stuck() {
                tracing::warn!(
                    seconds = client.silent.as_secs(),
                    connected = client.is_connected,
                    "no delivery report has come, although kafka can be reached: replacing the producer"
                );
                self.producer.fail(KafkaError::MessageProduction(
                    RDKafkaErrorCode::OperationTimedOut,
                ));
            }
        }
    }

    /// A topic of those in use that does not exist.
    async fn missing(&self) -> Result<Option<String>, KafkaError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_is_stuck_only_when_the_brokers_can_be_reached_all_the_time() {
        let connected = Client {
            silent: LONG,
            is_connected: true,
            unchanged: LONG,
            answering: None,
        };
        let unconnected = Client {
            is_connected: false,
            answering: Some(LONG),
            ..connected
        };
        assert!(connected.is_stuck() && unconnected.is_stuck());
        for client in [connected, unconnected] {
            let reporting = Client {
                silent: SHORT,
                ..client
            };
            let changing = Client {
                unchanged: SHORT,
                ..client
            };
            assert!(!reporting.is_stuck() && !changing.is_stuck());
        }
        // Kafka is away, or was until a moment ago.
        for answering in [None, Some(SHORT)] {
            assert!(
                !Client {
                    answering,
                    ..unconnected
                }
                .is_stuck()
            );
        }
    }
}
