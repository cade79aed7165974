//! Checkpoints: where a stream continues after a stop.
//!
//! A [`Store`] is opened for one stream. Opening it *claims* the stream: the instance that ran it
//! before can no longer write (it is fenced), and only then the checkpoint is read. A stream that
//! has no checkpoint is `None`; a checkpoint that could not be read is an error, never `None`.
//!
//! The rules that hold for every backend are kept here: a position behind the committed one is never
//! written, and a checkpoint of another source or database is refused before anyone is fenced. The
//! backends only read and write [`Record`]s, and know who leads. `docs/checkpoints.md` shows what is
//! stored.

mod codec;
mod commit;
pub mod committer;
mod file;
pub(crate) mod filter;
mod form;
pub mod kafka;
mod mongodb;
mod record;
mod store;
mod verify;

pub use commit::CommitError;
#[cfg(test)]
pub(crate) use commit::admit;
pub use filter::FilterChange;
pub use record::{Checkpoint, Filter, Record};
use store::LAST_LOOK;
pub(crate) use store::RESUMES;
pub use store::{LAST_PAUSE, LAST_TRIES, Store};
pub use verify::{Decision, verify};

use crate::change::position::Position;
use crate::config::{Kafka, Mongo, Resume, ResumeBackend, StreamSpec};
use crate::error::Error;
use crate::preflight::Finding;

/// Where the checkpoints of a stream are, and how the servers are reached.
#[derive(Debug, Clone, Copy)]
pub struct Location<'a> {
    pub kafka: &'a Kafka,
    pub mongo: &'a Mongo,
    pub resume: &'a Resume,
    /// The stream's id.
    pub stream: &'a str,
}

impl<'a> Location<'a> {
    pub fn of(kafka: &'a Kafka, mongo: &'a Mongo, stream: &'a StreamSpec) -> Self {
        Self {
            kafka,
            mongo,
            resume: &stream.resume,
            stream: &stream.id,
        }
    }
}

/// Who opens a store, and for what: written into every checkpoint.
#[derive(Debug, Clone)]
pub struct StoreContext {
    /// A name for this process, told to the instance that it takes the stream from.
    pub instance: String,
    /// The database, or `*`.
    pub namespace: String,
    /// The replica set's or cluster's identity.
    pub source: String,
    /// The filter in force.
    pub filter: Filter,
    /// The source's client, so that the `mongodb` store shares its connections; without it the store
    /// connects by itself.
    pub mongo: Option<::mongodb::Client>,
}

impl StoreContext {
    /// That of a stream, for an instance that has found `source` behind its client.
    pub fn of(
        stream: &StreamSpec,
        filter: Filter,
        instance: String,
        source: String,
        client: &::mongodb::Client,
    ) -> Self {
        Self {
            instance,
            namespace: stream.source.scope.name().to_owned(),
            source,
            filter,
            mongo: Some(client.clone()),
        }
    }

    /// Refuses a record that is not of this source and namespace. The stores ask before they fence
    /// anyone: a misconfigured instance must not stop a healthy one.
    pub(crate) fn check(&self, found: Option<&Record>) -> Result<(), Error> {
        match found.cloned().and_then(Record::into_checkpoint) {
            Some(found) => verify(&found, &self.source, &self.namespace, &self.filter).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// The claim an instance holds on a stream, and all that its checkpoints have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub stream: String,
    pub namespace: String,
    pub source: String,
    pub filter: Filter,
    pub instance: String,
    /// One more than the claim before.
    pub epoch: u64,
}

impl Claim {
    /// The claim that follows on what the store holds.
    pub fn after(previous: Option<&Record>, stream: &str, context: &StoreContext) -> Self {
        Self {
            stream: stream.to_owned(),
            namespace: context.namespace.clone(),
            source: context.source.clone(),
            filter: context.filter.clone(),
            instance: context.instance.clone(),
            epoch: previous.map_or(0, |record| record.epoch) + 1,
        }
    }

    /// A checkpoint of this claim at `position`, as of now.
    pub fn checkpoint(&self, position: Position) -> Checkpoint {
        Checkpoint {
            stream: self.stream.clone(),
            namespace: self.namespace.clone(),
            source: self.source.clone(),
            filter: self.filter.clone(),
            instance: self.instance.clone(),
            epoch: self.epoch,
            position,
            updated_at_millis: record::now_millis(),
        }
    }
}

/// Connections that a store will need, made while other things are looked at. Nothing is read through
/// them yet, and nobody is fenced.
#[derive(Default)]
pub struct Connections {
    kafka: Option<kafka::Clients>,
}

impl Connections {
    /// Connects, and waits for that as long as it is worth: what fails is left to the store to say.
    pub async fn make(location: Location<'_>) -> Self {
        let topic = match &location.resume.backend {
            ResumeBackend::Kafka { topic } if !location.kafka.dry_run => topic,
            // MongoDB's client is shared with the source.
            _ => return Self::default(),
        };
        let kafka = match kafka::Clients::new(location.kafka, location.stream) {
            Ok(clients) => clients.settled(topic).await.ok(),
            Err(_) => None,
        };
        Self { kafka }
    }
}

/// Refuses where the store keeps a second process out and another one has it: a lock on a file, unlike the
/// claims on the other stores, is not taken over.
///
/// # Errors
/// [`Code::CheckpointFailed`], with who has it.
pub async fn refuse_in_use(location: Location<'_>) -> Result<(), Error> {
    match &location.resume.backend {
        ResumeBackend::File { path } => file::refuse_in_use(path).await,
        ResumeBackend::Kafka { .. } | ResumeBackend::MongoDb { .. } => Ok(()),
    }
}

/// Looks whether a run could write and read its checkpoints, without claiming the stream: for `check`.
pub async fn may_store(location: Location<'_>, mongo: &::mongodb::Client) -> Vec<Finding> {
    match &location.resume.backend {
        ResumeBackend::Kafka { topic } => {
            let topic = ("the checkpoint topic", topic.as_str());
            kafka::check(location.kafka, topic, location.stream).await
        }
        ResumeBackend::MongoDb { .. } => mongodb::check(location, mongo).await,
        // What may be written to a file shows when it is written.
        ResumeBackend::File { .. } => Vec::new(),
    }
}

/// Looks whether the schedules of `unit` could keep in `topic` how far they are, without claiming them: for `check`.
pub async fn may_keep_schedules(kafka: &Kafka, topic: &str, unit: &str) -> Vec<Finding> {
    let topic = ("the topic of how far schedules are,", topic);
    kafka::check(kafka, topic, unit).await
}

/// Reads a stream's checkpoint without claiming it.
///
/// # Errors
/// As [`Store::open`].
pub async fn read(
    location: Location<'_>,
    mongo: Option<&::mongodb::Client>,
) -> Result<Option<Checkpoint>, Error> {
    let record = match &location.resume.backend {
        ResumeBackend::Kafka { topic } => {
            kafka::read(location.kafka, topic, location.stream).await?
        }
        ResumeBackend::MongoDb { .. } => {
            let collection = mongodb::Collection::open(location, mongo).await?;
            collection.read(location.stream).await?
        }
        ResumeBackend::File { path } => file::read(path, location.stream).await?,
    };
    Ok(record.and_then(Record::into_checkpoint))
}

/// All checkpoints in the store, in no order: to find one of this source under another id.
///
/// # Errors
/// As [`Store::open`].
pub async fn list(
    location: Location<'_>,
    mongo: Option<&::mongodb::Client>,
) -> Result<Vec<Checkpoint>, Error> {
    let records = match &location.resume.backend {
        ResumeBackend::Kafka { topic } => kafka::list(location.kafka, topic).await?,
        ResumeBackend::MongoDb { .. } => {
            let collection = mongodb::Collection::open(location, mongo).await?;
            collection.list().await?
        }
        ResumeBackend::File { path } => file::list(path).await?,
    };
    Ok(records
        .into_iter()
        .filter_map(Record::into_checkpoint)
        .collect())
}
