//! The checkpoints of one stream, claimed by this process: what is written, when, and how a run ends.

use super::{Checkpoint, Claim, CommitError, Connections, Location, Record, StoreContext};
use super::{commit, file, kafka, mongodb, read};
use crate::change::extra::Extra;
use crate::change::position::{Position, ResumeToken, Seq};
use crate::config::ResumeBackend;
use crate::error::{Code, Error};
use crate::flow::watermark::Committable;
use std::time::{Duration, Instant};

/// The checkpoints of one stream, claimed by this process.
#[derive(Debug)]
pub struct Store {
    claim: Claim,
    backend: Backend,
    /// The newest position that is known to be stored.
    committed: Option<Position>,
    /// When it was written by us; `None` before our first write.
    written: Option<Instant>,
    /// An idle move that was not worth a write of its own yet.
    deferred: Option<Checkpoint>,
    /// When it was looked whether the checkpoint is gone, and what that said.
    looked: Option<(Instant, bool)>,
}

#[derive(Debug)]
enum Backend {
    Kafka(Box<kafka::Store>),
    MongoDb(mongodb::Store),
    File(file::Store),
    /// Of a dry run: nothing is claimed, and nothing stored.
    Nowhere,
}

/// How long the last write of a run may be repeated, and after which pause: a store that has just come back
/// refuses once what was under way when it went.
pub const LAST_TRIES: Duration = Duration::from_secs(3);
pub const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long the look at a stop after the checkpoint may take.
pub(super) const LAST_LOOK: Duration = Duration::from_secs(2);

/// How long it is known what a look has said: so long may a stop take from its first to its last.
const LOOK_HOLDS: Duration = Duration::from_secs(5);

/// Where the next start resumes when the last checkpoint was not stored.
pub(crate) const RESUMES: &str = "\
    nothing is lost as long as the previous checkpoint is still there, which `tailwater token show` tells: the next \
    start resumes at it, and sends again what was delivered since";

/// What was written so short a time ago need not be looked for: whoever deletes it in this moment might as well do
/// so after the stop. A stream under load would wait for the look each time that it is given to another instance.
pub(super) const JUST_WRITTEN: Duration = Duration::from_secs(1);

/// While only idle tokens move, one write in this time is enough: in MongoDB each makes an oplog entry,
/// which the stream itself then has to pass, and in Kafka each is a transaction.
const IDLE_WRITE_INTERVAL: Duration = Duration::from_secs(10);

impl Store {
    /// Claims the stream of `location`, fencing the instance that held it, and reads its
    /// checkpoint: `None` only when it was read that there is none.
    ///
    /// # Errors
    /// [`SinkUnavailable`](crate::error::Code::SinkUnavailable) and
    /// [`SourceUnavailable`](crate::error::Code::SourceUnavailable) for what may heal by waiting,
    /// [`TokenInvalid`](crate::error::Code::TokenInvalid) for a checkpoint of another source or
    /// database (nobody is fenced then), [`Fenced`](crate::error::Code::Fenced) when a still newer
    /// instance took over meanwhile, else
    /// [`CheckpointFailed`](crate::error::Code::CheckpointFailed).
    pub async fn open(
        location: Location<'_>,
        context: StoreContext,
    ) -> Result<(Self, Option<Checkpoint>), Error> {
        Self::open_through(Connections::default(), location, context).await
    }

    /// As [`open`](Self::open), through connections that were made before.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_through(
        connections: Connections,
        location: Location<'_>,
        context: StoreContext,
    ) -> Result<(Self, Option<Checkpoint>), Error> {
        if location.kafka.dry_run {
            return Self::look(location, context).await;
        }
        let stream = location.stream;
        let (backend, claim, previous) = match &location.resume.backend {
            ResumeBackend::Kafka { topic } => {
                let clients = match connections.kafka {
                    Some(clients) => clients,
                    None => kafka::Clients::new(location.kafka, stream)?,
                };
                let opened =
                    kafka::Store::open(clients, location.kafka, topic, stream, &context).await;
                let (store, claim, previous) = opened?;
                (Backend::Kafka(Box::new(store)), claim, previous)
            }
            ResumeBackend::MongoDb { .. } => {
                let collection =
                    mongodb::Collection::open(location, context.mongo.as_ref()).await?;
                collection.ensure_expiry().await;
                let (store, claim, previous) =
                    mongodb::Store::claim(collection, stream, &context).await?;
                (Backend::MongoDb(store), claim, previous)
            }
            ResumeBackend::File { path } => {
                let (store, claim, previous) = file::Store::open(path, stream, &context).await?;
                (Backend::File(store), claim, previous)
            }
        };
        let checkpoint = previous.and_then(Record::into_checkpoint);
        let store = Self {
            claim,
            backend,
            committed: checkpoint.as_ref().map(|found| found.position.clone()),
            written: None,
            deferred: None,
            looked: None,
        };
        Ok((store, checkpoint))
    }

    /// Reads the checkpoint as a dry run does: an instance that runs the stream is not fenced, and what
    /// is committed here is stored nowhere.
    async fn look(
        location: Location<'_>,
        context: StoreContext,
    ) -> Result<(Self, Option<Checkpoint>), Error> {
        let stream = location.stream;
        let checkpoint = read(location, context.mongo.as_ref()).await?;
        let store = Self {
            claim: Claim::after(None, stream, &context),
            backend: Backend::Nowhere,
            committed: None,
            written: None,
            deferred: None,
            looked: None,
        };
        Ok((store, checkpoint))
    }

    /// What this process holds: the epoch counts the claims on the stream.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// A checkpoint of this claim at `position`, as it would be stored now.
    pub fn checkpoint(&self, position: Position) -> Checkpoint {
        self.claim.checkpoint(position)
    }

    /// Stores a position that the watermark has given out durably. Only [`begin`](Self::begin) and
    /// [`set`](Self::set) store another one.
    ///
    /// A move of an idle stream (the same sequence number, nothing new beside it) may be held back for some seconds where a
    /// write has a price; [`close`](Self::close) stores it.
    ///
    /// # Errors
    /// [`CommitError`] says whether to try again. Trying the same position again is always safe.
    pub async fn commit(&mut self, committable: &Committable) -> Result<(), CommitError> {
        let next = committable.position();
        let position = commit::admit(self.committed.as_ref(), next)?;
        if position != *next && self.committed.as_ref() == Some(&position) {
            return Ok(());
        }
        let checkpoint = self.checkpoint(position);
        if self.may_wait(&checkpoint) {
            self.deferred = Some(checkpoint);
            return Ok(());
        }
        self.write(&Record::from(checkpoint)).await
    }

    fn may_wait(&self, checkpoint: &Checkpoint) -> bool {
        matches!(self.backend, Backend::Kafka(_) | Backend::MongoDb(_))
            && self.committed.as_ref().is_some_and(|committed| {
                committed.seq == checkpoint.position.seq
                    && committed.extra.is(&checkpoint.position.extra)
            })
            && self
                .written
                .is_some_and(|at| at.elapsed() < IDLE_WRITE_INTERVAL)
    }

    async fn write(&mut self, record: &Record) -> Result<(), CommitError> {
        match &mut self.backend {
            Backend::Kafka(store) => store.write(record).await?,
            Backend::MongoDb(store) => store.write(record).await?,
            Backend::File(store) => store.write(record).await?,
            Backend::Nowhere => {}
        }
        self.committed.clone_from(&record.position);
        self.written = Some(Instant::now());
        self.deferred = None;
        // What was looked for at a stop is there now.
        self.looked = self.looked.map(|(at, _)| (at, false));
        Ok(())
    }

    /// Stores where a stream without a checkpoint begins: nothing lies before it that could be lost.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); [`CommitError::Failed`] where the stream has a checkpoint.
    pub async fn begin(&mut self, position: Position) -> Result<(), CommitError> {
        if self.committed.is_some() {
            return Err(CommitError::Failed(Error::new(
                Code::Internal,
                "a stream that has a checkpoint does not begin",
            )));
        }
        let checkpoint = self.checkpoint(position);
        self.write(&Record::from(checkpoint)).await
    }

    /// Stores what the committed position holds beside its token, read anew. The position itself stays.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); [`CommitError::Failed`] where the stream has no checkpoint.
    pub async fn amend(&mut self, extra: Extra) -> Result<(), CommitError> {
        let Some(committed) = self.committed.clone() else {
            return Err(CommitError::Failed(Error::new(
                Code::Internal,
                "a stream without a checkpoint has nothing to be amended",
            )));
        };
        let checkpoint = self.checkpoint(Position { extra, ..committed });
        self.write(&Record::from(checkpoint)).await
    }

    /// For an operator: begins a new incarnation of the stream at `token`, which may lie behind the committed one.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn set(&mut self, token: ResumeToken) -> Result<Checkpoint, CommitError> {
        let seq = Seq::renewed(self.committed.as_ref().map(|position| position.seq));
        let time_millis = token.cluster_time().map(|time| time.millis());
        // Which listeners were in force there is not known: they are read anew.
        let extra = self
            .committed
            .as_ref()
            .map(|found| found.extra.with(Extra::LISTENERS, None));
        let checkpoint = self.checkpoint(Position {
            cluster_time: token.cluster_time(),
            token,
            seq,
            time_millis,
            extra: extra.unwrap_or_default(),
        });
        self.write(&Record::from(checkpoint.clone())).await?;
        Ok(checkpoint)
    }

    /// Forgets the position: the next start is a first start.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn reset(&mut self) -> Result<(), CommitError> {
        let record = Record::without_position(&self.claim);
        self.write(&record).await
    }

    /// Nobody else will write the checkpoints of this claim.
    pub fn keep(&mut self) {
        if let Backend::Kafka(store) = &mut self.backend {
            store.keep();
        }
    }

    /// Gives on the claim to a sink that stores checkpoints in its own transactions.
    ///
    /// # Errors
    /// [`Code::Internal`](crate::error::Code::Internal) for a store that is not in Kafka.
    pub fn hand_over(self) -> Result<kafka::Leader, Error> {
        match self.backend {
            Backend::Kafka(store) => Ok(store.hand_over(self.committed)),
            Backend::MongoDb(_) | Backend::File(_) | Backend::Nowhere => Err(Error::new(
                Code::Internal,
                "only checkpoints in kafka can be part of its transactions",
            )),
        }
    }

    /// Where the checkpoint is, for people.
    pub fn place(&self) -> String {
        match &self.backend {
            Backend::Kafka(store) => store.place(),
            Backend::MongoDb(store) => store.place(),
            Backend::File(store) => store.place(),
            Backend::Nowhere => "no store".into(),
        }
    }

    /// Whether the store was there a few seconds ago: it is worth a try without [a look](Self::is_gone).
    pub fn was_there(&self) -> bool {
        self.was_written_within(LOOK_HOLDS)
    }

    fn was_written_within(&self, time: Duration) -> bool {
        self.written.is_some_and(|at| at.elapsed() < time)
    }

    /// Whether the checkpoint is known to be gone: somebody has deleted it, or all that held it. A store that
    /// does not say so in time has it.
    pub async fn is_gone(&mut self) -> bool {
        match self.looked {
            Some((at, is_gone)) if at.elapsed() < LOOK_HOLDS => return is_gone,
            _ if self.was_written_within(JUST_WRITTEN) => return false,
            _ => {}
        }
        let is_gone = self.committed.is_some()
            && match &mut self.backend {
                Backend::Kafka(store) => store.is_gone().await,
                Backend::MongoDb(store) => store.is_gone().await,
                Backend::File(store) => store.is_gone().await,
                Backend::Nowhere => false,
            };
        self.looked = Some((Instant::now(), is_gone));
        is_gone
    }

    /// Waits until a write that is under way has become hopeless. Only one to a topic that was deleted ever does: it
    /// waits for the topic. Elsewhere trying again costs little, and nothing is waited for.
    pub fn hopeless(&self) -> impl Future<Output = ()> + use<> {
        let gone = match &self.backend {
            Backend::Kafka(store) => Some(store.gone()),
            Backend::MongoDb(_) | Backend::File(_) | Backend::Nowhere => None,
        };
        async move {
            if let Some(gone) = gone {
                gone.await;
            }
        }
    }

    /// Writes the newest position once more, for a checkpoint that [is gone](Self::is_gone).
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn restore(&mut self) -> Result<(), CommitError> {
        let committed = self.committed.clone();
        let committed = committed.map(|position| self.checkpoint(position));
        match self.deferred.clone().or(committed) {
            Some(checkpoint) => self.write_at_last(&Record::from(checkpoint)).await,
            None => Ok(()),
        }
    }

    /// Writes what nobody will write later: again for a moment where that fails, since after a rest the
    /// first attempt may only find out that the store has forgotten us.
    async fn write_at_last(&mut self, record: &Record) -> Result<(), CommitError> {
        let began = Instant::now();
        loop {
            match self.write(record).await {
                Err(CommitError::Transient(_)) if began.elapsed() < LAST_TRIES => {
                    tokio::time::sleep(LAST_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// Stores what was held back and lets go of the stream.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); the store is closed in any case.
    pub async fn close(mut self) -> Result<(), CommitError> {
        let stored = match self.deferred.take() {
            Some(checkpoint) => self.write_at_last(&Record::from(checkpoint)).await,
            None => Ok(()),
        };
        let stored = stored.map_err(|error| match error {
            CommitError::Transient(failure) => CommitError::Failed(Error::new(
                Code::CheckpointFailed,
                format!("the last checkpoint could not be stored ({failure}); {RESUMES}"),
            )),
            other => other,
        });
        if let Backend::Kafka(store) = self.backend {
            store.close();
        }
        stored
    }
}
