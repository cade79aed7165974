//! What the group's client tells: of partitions that come and go, of commits, and of how much waits.

use super::lag::{Report, What};
use super::{Shared, lock};
use crate::kafka::bootstrap::{Known, KnowsBrokers};
use crate::kafka::client::Logging;
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_resp_err_t as Answer;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug)]
pub struct Context {
    logging: Logging,
    shared: Arc<Shared>,
}

impl Context {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            logging: Logging::default(),
            shared,
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logging.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logging.error(error, reason);
    }

    fn stats_raw(&self, report: &[u8]) {
        self.logging.stats_raw(report);
        if let Some(report) = Report::read(report) {
            let (lag, lost) = {
                let assigned = lock(&self.shared.assigned);
                (report.lag(&assigned), report.lost(&assigned))
            };
            self.shared.board.change().lag = lag;
            for (assigned, lost) in lost {
                match lost {
                    What::All(count) => self.shared.tell_made_again(&assigned, count),
                    What::Unread(lost) => self.shared.tell_expired(&assigned, lost),
                }
            }
        }
    }
}

impl KnowsBrokers for Context {
    fn known(&self) -> &Known {
        self.logging.known()
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        answer: Answer,
        partitions: &mut TopicPartitionList,
    ) {
        match answer {
            Answer::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.shared.assigned(consumer, partitions);
            }
            _ => self.shared.revoked(consumer, partitions),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let committing = &self.shared.committing;
        let _ = committing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(count.saturating_sub(1))
        });
        match result {
            Ok(()) => {
                self.shared.board.go_on("commit");
                self.shared.note_committed(offsets);
            }
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset) => {}
            Err(error) => self.shared.not_committed(offsets, &error),
        }
    }
}
