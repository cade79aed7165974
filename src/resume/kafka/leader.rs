//! The right to write a stream's checkpoints, for a sink that writes them in its own transactions.

use super::read::OpenTransactions;
use super::topic::CheckpointRecord;
use super::{Topic, confirmed, healing, successor, transactional_id};
use crate::config::Kafka;
use crate::error::Error;
use crate::position::Position;
use crate::resume::commit;
use crate::resume::{Claim, CommitError, Record};

/// A claimed stream without a producer of its own.
///
/// Whoever initialises a producer under [`transactional_id`](Self::transactional_id) fences all others,
/// also a newer instance. So [`before_init`](Self::before_init) comes before that, and
/// [`after_init`](Self::after_init) after it.
#[derive(Debug)]
pub struct Leader {
    kafka: Kafka,
    topic: Topic,
    claim: Claim,
    committed: Option<Position>,
    is_in_doubt: bool,
}

impl Leader {
    pub(in crate::resume) fn new(
        kafka: Kafka,
        topic: Topic,
        claim: Claim,
        committed: Option<Position>,
    ) -> Self {
        Self {
            kafka,
            topic,
            claim,
            committed,
            is_in_doubt: false,
        }
    }

    /// The id that the records' producer must have.
    pub fn transactional_id(&self) -> String {
        transactional_id(&self.claim.stream)
    }

    /// The newest position that is known to be stored.
    pub fn committed(&self) -> Option<&Position> {
        self.committed.as_ref()
    }

    /// Takes note that a producer of ours found itself fenced.
    pub fn doubt(&mut self) {
        self.is_in_doubt = true;
    }

    /// Makes sure that nobody has claimed the stream since, before a producer is initialised.
    ///
    /// In doubt, it waits some seconds for the claim of who fenced us. Nobody did when Kafka itself
    /// ended a transaction that was open for too long.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] with the name of who has.
    pub async fn before_init(&mut self) -> Result<(), CommitError> {
        if self.is_in_doubt {
            let by = successor(&self.kafka, &self.topic, &self.claim).await;
            if let Some(by) = by.map_err(healing)? {
                return Err(CommitError::Fenced { by: Some(by) });
            }
        }
        // A transaction that is still open here may well be our own, which only the producer that
        // comes now will end.
        let open = OpenTransactions::Ignore;
        confirmed(&self.kafka, &self.topic, &self.claim, open).await?;
        self.is_in_doubt = false;
        Ok(())
    }

    /// Makes sure once more, for who came in between, and reads what is stored: a commit whose answer
    /// was lost may have happened.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] with the name of who has claimed the stream.
    pub async fn after_init(&mut self) -> Result<(), CommitError> {
        let open = OpenTransactions::Await;
        let found = confirmed(&self.kafka, &self.topic, &self.claim, open).await?;
        if let Some(position) = found.and_then(|record| record.position) {
            self.committed = Some(position);
        }
        Ok(())
    }

    /// What is to be produced, within the transaction, to store `position`.
    ///
    /// # Errors
    /// [`CheckpointFailed`](crate::error::Code::CheckpointFailed) for a position behind the committed one.
    pub fn record(&self, position: Position) -> Result<CheckpointRecord, Error> {
        let checkpoint = self.claim.checkpoint(position);
        commit::check(&self.claim, self.committed.as_ref(), &checkpoint)?;
        self.topic.record(&Record::from(checkpoint))
    }

    /// Takes note that the transaction with this position is committed.
    pub fn stored(&mut self, position: Position) {
        self.committed = Some(position);
    }
}
