//! Checkpoints in a MongoDB collection: one document per stream, majority writes, each conditional on
//! the claim that writes it.

mod document;
mod failure;
mod rights;

use super::form::Form;
use super::{Claim, CommitError, LAST_LOOK, Location, Record, StoreContext};
use crate::change::extra::Extra;
use crate::config::{Mongo, ResumeBackend};
use crate::error::{Code, Error};
use crate::mongo::codes::{DUPLICATE_KEY, NAMESPACE_NOT_FOUND, server_code};
use crate::mongo::describe::describe;
use crate::mongo::hosts;
use ::mongodb::Client;
use ::mongodb::error::Error as MongoError;
use ::mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, IndexOptions, ReadConcern, ReadPreference,
    ReturnDocument, SelectionCriteria, WriteConcern,
};
use bson::{Bson, DateTime, Document, doc};
use document::{as_i64, decode, encode, filter, update, version};
use failure::{failure, of_commit};
use futures_util::TryStreamExt;
pub(super) use rights::check;
use std::time::Duration;
use tracing::warn;

/// Our index; one that somebody else made on the same field is left alone.
const EXPIRY_INDEX: &str = "tailwater_unused";

/// The collection of checkpoints.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    inner: ::mongodb::Collection<Document>,
    ttl: Option<Duration>,
}

impl Collection {
    pub(super) async fn open(
        location: Location<'_>,
        client: Option<&Client>,
    ) -> Result<Self, Error> {
        let ResumeBackend::MongoDb {
            database,
            collection,
            ttl,
        } = &location.resume.backend
        else {
            return Err(Error::new(
                Code::Internal,
                "the resume store is not mongodb",
            ));
        };
        let client = match client {
            Some(client) => client.clone(),
            None => connect(location.mongo)
                .await
                .map_err(|error| failure("connecting for the checkpoints", &error))?,
        };
        // Whatever the URI says: a checkpoint is read from where it was written, and stays written.
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).build())
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        Ok(Self {
            inner: client
                .database(database)
                .collection_with_options(collection, options),
            ttl: *ttl,
        })
    }

    fn place(&self) -> String {
        let namespace = self.inner.namespace();
        format!("MongoDB collection {namespace}")
    }

    fn failure(&self, attempt: &str, error: &MongoError) -> Error {
        failure(&format!("{attempt} {}", self.place()), error)
    }

    fn commit_error(&self, attempt: &str, error: &MongoError) -> CommitError {
        of_commit(&format!("{attempt} {}", self.place()), error)
    }

    pub(super) async fn read(&self, stream: &str) -> Result<Option<Record>, Error> {
        let found = self.inner.find_one(doc! { "_id": stream }).await;
        found
            .map_err(|error| self.failure("reading the checkpoint from", &error))?
            .map(|document| self.decode(&document))
            .transpose()
    }

    pub(super) async fn list(&self) -> Result<Vec<Record>, Error> {
        let failed = |error| self.failure("reading the checkpoints from", &error);
        let documents: Vec<Document> = self
            .inner
            .find(doc! {})
            .await
            .map_err(failed)?
            .try_collect()
            .await
            .map_err(failed)?;
        let decoded = documents.iter().map(|document| self.decode(document));
        Ok(decoded
            .filter_map(|record| match record {
                Ok(record) => Some(record),
                // That of another stream, which may be of a newer release, stops nobody.
                Err(refusal) => {
                    warn!(error = %refusal, "left out a checkpoint");
                    None
                }
            })
            .collect())
    }

    fn decode(&self, document: &Document) -> Result<Record, Error> {
        let stream = document.get_str("_id").unwrap_or("?");
        let what = format!("the checkpoint {stream} in {}", self.place());
        let damaged = || {
            Error::new(
                Code::CheckpointFailed,
                format!(
                    "{what} cannot be read: a field is missing or of another type; restore it, or remove it \
                     to make this a first start"
                ),
            )
        };
        let version = version(document).ok_or_else(damaged)?;
        decode(document, Form::from_version(version, &what)?).ok_or_else(damaged)
    }

    /// Makes the index that removes checkpoints of streams no longer used agree with what is
    /// configured. Failing to is only warned of: it is about tidiness.
    pub(super) async fn ensure_expiry(&self) {
        if let Err(error) = self.try_ensure_expiry().await {
            warn!(
                collection = %self.inner.namespace(), error = describe(&error),
                "the clean-up of unused checkpoints (RESUME_TTL_DAYS) could not be set up"
            );
        }
    }

    async fn try_ensure_expiry(&self) -> Result<(), MongoError> {
        let Some(wanted) = self.ttl else {
            // There is none, mostly, and then this takes no right: what it answers is of no interest.
            let _ = self.inner.drop_index(EXPIRY_INDEX).await;
            return Ok(());
        };
        let present = self.expiry_in_force().await?;
        if present == Some(wanted.as_secs()) {
            return Ok(());
        }
        if present.is_some() {
            self.inner.drop_index(EXPIRY_INDEX).await?;
        }
        let index = ::mongodb::IndexModel::builder()
            .keys(doc! { "updatedAt": 1 })
            .options(
                IndexOptions::builder()
                    .name(EXPIRY_INDEX.to_owned())
                    .expire_after(wanted)
                    .build(),
            )
            .build();
        self.inner.create_index(index).await.map(|_| ())
    }

    /// The seconds after which our index removes a checkpoint; `None` without our index.
    async fn expiry_in_force(&self) -> Result<Option<u64>, MongoError> {
        let indexes: Vec<_> = match self.inner.list_indexes().await {
            Ok(cursor) => cursor.try_collect().await?,
            Err(error) if server_code(&error) == Some(NAMESPACE_NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(indexes
            .into_iter()
            .filter_map(|index| index.options)
            .find(|options| options.name.as_deref() == Some(EXPIRY_INDEX))
            .map(|options| options.expire_after.unwrap_or_default().as_secs()))
    }
}

/// One stream's document, claimed.
#[derive(Debug)]
pub(super) struct Store {
    collection: Collection,
    claim: Claim,
    /// What is extra in the document, where that is known.
    stored: Option<Extra>,
}

impl Store {
    /// Raises the document's epoch, which fences every writer of a lower one, and returns what it
    /// held: one atomic step, also for a document that was not there.
    pub(super) async fn claim(
        collection: Collection,
        stream: &str,
        context: &StoreContext,
    ) -> Result<(Self, Claim, Option<Record>), Error> {
        context.check(collection.read(stream).await?.as_ref())?;
        let failed = |error| collection.failure("claiming the stream in", &error);
        let mut former = match Self::raise_epoch(&collection, stream, context).await {
            // Two first claims at one moment: the one that was late finds the document now.
            Err(error) if server_code(&error) == Some(DUPLICATE_KEY) => {
                Self::raise_epoch(&collection, stream, context).await
            }
            other => other,
        }
        .map_err(failed)?;
        if former.is_none() && !Self::is_first(&collection, stream, context).await? {
            former = Self::raise_epoch(&collection, stream, context)
                .await
                .map_err(failed)?;
        }
        let previous = former
            .map(|document| collection.decode(&document))
            .transpose()?;
        let claim = Claim::after(previous.as_ref(), stream, context);
        let store = Self {
            collection,
            claim: claim.clone(),
            stored: None,
        };
        Ok((store, claim, previous))
    }

    /// Whether the document that our claim has made is still as we made it. "There was none" is what
    /// both of two first claims at one moment may be told, and only one of them made it.
    async fn is_first(
        collection: &Collection,
        stream: &str,
        context: &StoreContext,
    ) -> Result<bool, Error> {
        match collection.read(stream).await? {
            Some(found) if found.instance != context.instance => Err(CommitError::Fenced {
                by: Some(found.instance),
            }
            .into()),
            Some(found) => Ok(found.epoch == 1),
            None => Ok(false),
        }
    }

    async fn raise_epoch(
        collection: &Collection,
        stream: &str,
        context: &StoreContext,
    ) -> Result<Option<Document>, MongoError> {
        // What the position was made under stays; only a document that is new gets ours.
        let update = doc! {
            "$inc": { "epoch": 1_i64 },
            "$set": { "instance": &context.instance, "updatedAt": DateTime::now() },
            "$setOnInsert": {
                "token": Bson::Null,
                "namespace": &context.namespace,
                "source": &context.source,
                "filter": filter(&context.filter),
            },
        };
        collection
            .inner
            .find_one_and_update(doc! { "_id": stream }, update)
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .await
    }

    /// Whether the checkpoint is known to be gone.
    pub(super) async fn is_gone(&self) -> bool {
        let found = self.collection.read(&self.claim.stream);
        let found = tokio::time::timeout(LAST_LOOK, found).await;
        matches!(found, Ok(Ok(None)))
    }

    pub(super) fn place(&self) -> String {
        self.collection.place()
    }

    pub(super) async fn write(&mut self, record: &Record) -> Result<(), CommitError> {
        let extra = record.position.as_ref().map(|position| &position.extra);
        let is_stored = extra
            .zip(self.stored.take())
            .is_some_and(|(new, stored)| new.is(&stored));
        let fields = encode(record).map_err(CommitError::Failed)?;
        let seq = fields.get("seq").cloned().unwrap_or(Bson::Null);
        let mut ours = doc! {
            "_id": &self.claim.stream,
            "epoch": as_i64(self.claim.epoch),
            // After a document was removed and made anew, epochs begin anew too.
            "instance": &self.claim.instance,
        };
        if record.position.is_some() {
            ours.insert(
                "$or",
                [doc! { "seq": Bson::Null }, doc! { "seq": { "$lte": seq } }],
            );
        }
        let updated = self
            .collection
            .inner
            .update_one(ours, update(fields.clone(), is_stored))
            .await
            .map_err(|error| self.commit_error(&error))?;
        if updated.matched_count != 1 {
            self.not_ours(fields).await?;
        }
        self.stored = extra.cloned();
        Ok(())
    }

    /// The write found no document of our claim: says why.
    async fn not_ours(&self, mut fields: Document) -> Result<(), CommitError> {
        let stream = &self.claim.stream;
        let found = self.collection.inner.find_one(doc! { "_id": stream }).await;
        let found = found.map_err(|error| self.commit_error(&error))?;
        let found = found.map(|document| self.collection.decode(&document));
        match found.transpose().map_err(CommitError::Failed)? {
            Some(found) if found.is_of(&self.claim) => Err(CommitError::Failed(Error::new(
                Code::CheckpointFailed,
                format!(
                    "a checkpoint never moves back: {} holds a higher number for stream {stream}",
                    self.collection.place()
                ),
            ))),
            Some(found) => Err(CommitError::Fenced {
                by: Some(found.instance),
            }),
            None => {
                warn!(
                    stream = %stream, collection = %self.collection.inner.namespace(),
                    "the checkpoint was removed by somebody; it is written anew"
                );
                fields.insert("_id", stream);
                fields.insert("epoch", as_i64(self.claim.epoch));
                // Should another instance claim at this moment, one of the two inserts is refused:
                // the next write tells who leads.
                self.collection
                    .inner
                    .insert_one(fields)
                    .await
                    .map(|_| ())
                    .map_err(|error| self.commit_error(&error))
            }
        }
    }

    fn commit_error(&self, error: &MongoError) -> CommitError {
        self.collection
            .commit_error("writing the checkpoint to", error)
    }
}

/// A client of the store's own, where the source's is not at hand.
async fn connect(mongo: &Mongo) -> Result<Client, MongoError> {
    let mut options = ClientOptions::parse(mongo.uri.expose()).await?;
    options.sdam_event_handler = Some(hosts::listener());
    Client::with_options(options)
}
