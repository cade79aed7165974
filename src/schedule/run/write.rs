//! Records and progress in one transaction.

use super::{Incarnation, Run};
use crate::config::Schedules as Config;
use crate::error::{Code, Error};
use crate::kafka::client;
use crate::kafka::transaction::Outcome;
use crate::schedule::record::JobRecord;
use crate::schedule::{claim, progress};
use crate::status::waiting::Awaited;
use crate::tasks;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A key of the topic of progress, and what it holds from now on: none is a tombstone.
pub(super) type Entry = (Vec<u8>, Option<Vec<u8>>);

impl Run {
    /// Writes records and progress in one transaction.
    pub(super) async fn write(
        &mut self,
        incarnation: &mut Incarnation,
        records: Vec<JobRecord>,
        entries: Vec<Entry>,
    ) -> Result<(), Error> {
        let Some(producer) = incarnation.producer.take() else {
            return Err(Error::new(
                Code::Internal,
                "the producer of schedules is gone",
            ));
        };
        let board = Arc::clone(&self.parts.board);
        let topic = self.parts.config.progress.clone();
        let topics: BTreeSet<_> = records.iter().map(|record| record.topic.clone()).collect();
        let work = tasks::blocking("the transaction of schedules", move || {
            let outcome = producer.transaction(|produce| {
                for record in &records {
                    produce(record.borrowed())?;
                }
                for (key, value) in &entries {
                    let mut sent = BaseRecord::<Vec<u8>, Vec<u8>>::to(&topic)
                        .partition(progress::PARTITION)
                        .key(key);
                    sent.payload = value.as_ref();
                    produce(sent)?;
                }
                Ok::<_, KafkaError>(())
            });
            (producer, outcome)
        });
        let (producer, outcome) = board.waits.on(Awaited::Transaction, work).await?;
        let error = match outcome {
            Outcome::Committed => {
                incarnation.producer = Some(producer);
                return Ok(());
            }
            Outcome::Aborted(error) | Outcome::Broken(error) => error,
            Outcome::Fenced => self.end_of_fenced().await,
        };
        client::end_beside(producer);
        if is_denied(&error) {
            self.refused.note(topics);
        }
        Err(error)
    }

    async fn end_of_fenced(&self) -> Error {
        let Config { unit, progress, .. } = self.parts.config.as_ref();
        let Some(claim) = &self.claim else {
            return claim::fenced(None);
        };
        match claim::successor(&self.parts.kafka, progress, unit, claim, true).await {
            Ok(Some(found)) => claim::fenced(Some(&found)),
            Ok(None) => Error::new(
                Code::SinkUnavailable,
                "kafka ended the transaction of schedules; no other instance has claimed them",
            ),
            Err(error) => error,
        }
    }
}

/// Whether it is the right on a topic that is missing.
fn is_denied(error: &Error) -> bool {
    let source = error.source.as_deref();
    let source = source.and_then(|source| source.downcast_ref::<KafkaError>());
    let code = source.and_then(KafkaError::rdkafka_error_code);
    code == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}
