//! The right to write a stream's checkpoints, for a sink that writes them in its own transactions.

use super::listeners::Stored;
use super::read::{OpenTransactions, Reader};
use super::topic::CheckpointRecords;
use super::{
    QUERY_PATIENCE, Topic, blocking, confirmed, confirmed_through, is_gone, prepare, successor,
    transaction, transactional_id, transient,
};
use crate::change::position::Position;
use crate::checkpoint::commit;
use crate::checkpoint::store::JUST_WRITTEN;
use crate::checkpoint::{Claim, CommitError, Record};
use crate::config::Kafka;
use crate::error::Error;
use crate::flow::watermark::Committable;
use crate::kafka::client;
use crate::kafka::transaction::Outcome;
use std::time::Instant;

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
    /// The listeners that are known to be stored.
    listeners: Option<Stored>,
    /// When it was stored by us.
    written: Option<Instant>,
    is_in_doubt: bool,
    /// A producer of ours has ended: whatever ended it may have met the checkpoint topic as well.
    is_used: bool,
    /// Somebody has removed what is `committed`, and it is not written again yet.
    is_removed: bool,
    /// What the stream was claimed through, for the first producer, which follows at once.
    reader: Option<Reader>,
}

/// A checkpoint that is stored as soon as its transaction is committed.
#[derive(Debug)]
pub struct PreparedCheckpoint {
    position: Position,
    pub records: CheckpointRecords,
}

impl Leader {
    pub(super) fn new(
        kafka: Kafka,
        topic: Topic,
        claim: Claim,
        committed: Option<Position>,
        listeners: Option<Stored>,
        reader: Option<Reader>,
    ) -> Self {
        Self {
            kafka,
            topic,
            claim,
            committed,
            listeners,
            written: None,
            is_in_doubt: false,
            is_used: false,
            is_removed: false,
            reader,
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

    /// Whether the committed position must be written again: a start would not find it.
    pub fn is_removed(&self) -> bool {
        self.is_removed
    }

    /// Whether the committed position is known to be gone: somebody has deleted the topic, or the record.
    pub async fn is_gone(&self) -> bool {
        let is_new = self.written.is_some_and(|at| at.elapsed() < JUST_WRITTEN);
        self.committed.is_some()
            && !is_new
            && is_gone(&self.kafka, self.topic.name(), &self.claim.stream).await
    }

    /// Where the checkpoints are.
    pub fn topic(&self) -> &str {
        self.topic.name()
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
        if self.is_used {
            self.topic = Topic::prepare_again(&self.kafka, self.topic.name())
                .await
                .map_err(transient)?;
        }
        self.is_used = true;
        if self.is_in_doubt {
            let by = successor(&self.kafka, &self.topic, &self.claim).await;
            if let Some(by) = by.map_err(transient)? {
                return Err(CommitError::Fenced { by: Some(by) });
            }
        }
        // A transaction that is still open here may well be our own, which only the producer that
        // comes now will end.
        self.confirm(OpenTransactions::Ignore).await?;
        self.is_in_doubt = false;
        Ok(())
    }

    /// Makes sure once more, for who came in between, and reads what is stored: a commit whose answer
    /// was lost may have happened.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] with the name of who has claimed the stream.
    pub async fn after_init(&mut self) -> Result<(), CommitError> {
        let found = self.confirm(OpenTransactions::Await).await?;
        self.listeners = Stored::of(found.as_ref());
        if let Some(reader) = self.reader.take() {
            client::end_beside(reader);
        }
        match found.and_then(|record| record.position) {
            Some(position) => {
                self.committed = Some(position);
                self.is_removed = false;
            }
            None => self.is_removed = self.committed.is_some(),
        }
        Ok(())
    }

    /// What is stored, claimed by nobody else.
    async fn confirm(&mut self, open: OpenTransactions) -> Result<Option<Record>, CommitError> {
        let Some(reader) = self.reader.take() else {
            return confirmed(&self.kafka, &self.topic, &self.claim, open).await;
        };
        let (found, reader) = confirmed_through(reader, &self.claim, open).await?;
        self.reader = Some(reader);
        Ok(found)
    }

    /// Makes sure at an end that the next start finds the committed position: where it was removed, it is
    /// written again, by a producer that fences ours.
    ///
    /// # Errors
    /// [`CommitError`], when it is not known to be there.
    pub async fn secure(&mut self) -> Result<(), CommitError> {
        let Some(committed) = self.committed.clone() else {
            return Ok(());
        };
        self.topic = Topic::prepare_again(&self.kafka, self.topic.name())
            .await
            .map_err(transient)?;
        let open = OpenTransactions::Ignore;
        let found = confirmed(&self.kafka, &self.topic, &self.claim, open).await?;
        if found.is_some_and(|record| record.position.is_some()) {
            return Ok(());
        }
        let record = self.claim.checkpoint(committed);
        // All of it anew: what is left of it there is not known.
        let records = self.topic.records(&Record::from(record), None);
        let records = records.map_err(CommitError::Failed)?;
        let prepared = prepare(&self.kafka, &self.claim.stream).map_err(transient)?;
        let topic = self.topic.name().to_owned();
        let (producer, outcome) = blocking(move || {
            prepared.settle(&topic, QUERY_PATIENCE);
            let producer = prepared.take_over()?;
            let outcome = transaction(&producer, &records.all);
            Ok((producer, outcome))
        })
        .await
        .map_err(CommitError::Failed)?
        .map_err(transient)?;
        client::end_beside(producer);
        match outcome {
            Outcome::Committed => {
                self.is_removed = false;
                Ok(())
            }
            Outcome::Aborted(error) | Outcome::Broken(error) => Err(transient(error)),
            Outcome::Fenced => Err(CommitError::Fenced { by: None }),
        }
    }

    /// What is to be produced, within the transaction, to store a position that the watermark has given out:
    /// never a token before the committed one.
    ///
    /// # Errors
    /// [`CheckpointFailed`](crate::error::Code::CheckpointFailed) for a number below the committed one, and
    /// when it cannot be encoded.
    pub fn prepare(&self, committable: &Committable) -> Result<PreparedCheckpoint, Error> {
        let position = commit::admit(self.committed.as_ref(), committable.position())?;
        let checkpoint = self.claim.checkpoint(position.clone());
        let record = Record::from(checkpoint);
        let records = self.topic.records(&record, self.listeners.as_ref())?;
        Ok(PreparedCheckpoint { position, records })
    }

    /// Takes note that the transaction with this checkpoint is committed, and says where it is.
    pub fn stored(&mut self, checkpoint: PreparedCheckpoint) -> &Position {
        self.is_removed = false;
        self.listeners = checkpoint.records.stored;
        self.written = Some(Instant::now());
        self.committed.insert(checkpoint.position)
    }
}
