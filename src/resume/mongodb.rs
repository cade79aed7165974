//! Checkpoints in a MongoDB collection: one document per stream, majority writes, each conditional on
//! the claim that writes it.

use super::{Claim, CommitError, Filter, Record, StoreContext};
use crate::config::{Config, ResumeBackend, Scope};
use crate::error::{Code, Error};
use crate::position::{Position, ResumeToken, Seq};
use ::mongodb::Client;
use ::mongodb::error::{Error as MongoError, ErrorKind, WriteFailure};
use ::mongodb::options::{
    Acknowledgment, CollectionOptions, IndexOptions, ReadConcern, ReadPreference, ReturnDocument,
    SelectionCriteria, WriteConcern,
};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use std::time::Duration;
use tracing::warn;

/// Where checkpoints of a deployment-wide stream live: they must be in none of the watched databases
/// by accident.
const DEPLOYMENT_DATABASE: &str = "tailwater";

/// Our index; one that somebody else made on the same field is left alone.
const EXPIRY_INDEX: &str = "tailwater_unused";

/// The collection of checkpoints.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    inner: ::mongodb::Collection<Document>,
    ttl: Option<Duration>,
}

impl Collection {
    pub(super) async fn open(config: &Config, client: Option<&Client>) -> Result<Self, Error> {
        let ResumeBackend::MongoDb {
            database,
            collection,
            ttl,
        } = &config.resume.backend
        else {
            return Err(Error::new(
                Code::Internal,
                "the resume store is not mongodb",
            ));
        };
        let client = match client {
            Some(client) => client.clone(),
            None => Client::with_uri_str(config.mongo.uri.expose())
                .await
                .map_err(|error| failure("connecting for the checkpoints", error))?,
        };
        let database = match (database, &config.mongo.scope) {
            (Some(named), _) => named,
            (None, Scope::Database(watched)) => watched,
            (None, Scope::Deployment { .. }) => DEPLOYMENT_DATABASE,
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

    fn failure(&self, attempt: &str, error: MongoError) -> Error {
        failure(&format!("{attempt} {}", self.place()), error)
    }

    pub(super) async fn read(&self, stream: &str) -> Result<Option<Record>, Error> {
        let found = self.inner.find_one(doc! { "_id": stream }).await;
        found
            .map_err(|error| self.failure("reading the checkpoint from", error))?
            .map(|document| self.decode(&document))
            .transpose()
    }

    pub(super) async fn list(&self) -> Result<Vec<Record>, Error> {
        let failed = |error| self.failure("reading the checkpoints from", error);
        let documents: Vec<Document> = self
            .inner
            .find(doc! {})
            .await
            .map_err(failed)?
            .try_collect()
            .await
            .map_err(failed)?;
        documents
            .iter()
            .map(|document| self.decode(document))
            .collect()
    }

    fn decode(&self, document: &Document) -> Result<Record, Error> {
        decode(document).ok_or_else(|| {
            Error::new(
                Code::CheckpointFailed,
                format!(
                    "the checkpoint {} in {} cannot be read: a field is missing or of another type; \
                     restore it, or remove it to make this a first start",
                    document.get_str("_id").unwrap_or("?"),
                    self.place()
                ),
            )
        })
    }

    /// Makes the index that removes checkpoints of streams no longer used agree with what is
    /// configured. Failing to is only warned of: it is about tidiness.
    pub(super) async fn ensure_expiry(&self) {
        if let Err(error) = self.try_ensure_expiry().await {
            warn!(
                collection = %self.inner.namespace(), error = %error,
                "the clean-up of unused checkpoints (RESUME_TTL_DAYS) could not be set up"
            );
        }
    }

    async fn try_ensure_expiry(&self) -> Result<(), MongoError> {
        let present = self.expiry_in_force().await?;
        match (self.ttl, present) {
            (None, None) => Ok(()),
            (None, Some(_)) => self.inner.drop_index(EXPIRY_INDEX).await,
            (Some(wanted), Some(present)) if wanted.as_secs() == present => Ok(()),
            (Some(wanted), present) => {
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
        }
    }

    /// The seconds after which our index removes a checkpoint; `None` without our index.
    async fn expiry_in_force(&self) -> Result<Option<u64>, MongoError> {
        let indexes: Vec<_> = match self.inner.list_indexes().await {
            Ok(cursor) => cursor.try_collect().await?,
            Err(error) if code_of(&error) == Some(NAMESPACE_NOT_FOUND) => return Ok(None),
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
        let failed = |error| collection.failure("claiming the stream in", error);
        let mut former = match Self::raise_epoch(&collection, stream, context).await {
            // Two first claims at one moment: the one that was late finds the document now.
            Err(error) if code_of(&error) == Some(DUPLICATE_KEY) => {
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

    pub(super) async fn write(&self, record: &Record) -> Result<(), CommitError> {
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
            .update_one(ours, doc! { "$set": fields.clone() })
            .await
            .map_err(|error| self.commit_error(error))?;
        if updated.matched_count == 1 {
            return Ok(());
        }
        self.not_ours(fields).await
    }

    /// The write found no document of our claim: says why.
    async fn not_ours(&self, mut fields: Document) -> Result<(), CommitError> {
        let stream = &self.claim.stream;
        match self.collection.read(stream).await.map_err(healing)? {
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
                    .map_err(|error| self.commit_error(error))
            }
        }
    }

    fn commit_error(&self, error: MongoError) -> CommitError {
        if code_of(&error) == Some(DUPLICATE_KEY) {
            return CommitError::Transient(self.collection.failure("writing to", error));
        }
        healing(self.collection.failure("writing the checkpoint to", error))
    }
}

fn healing(error: Error) -> CommitError {
    match error.code {
        Code::SourceUnavailable => CommitError::Transient(error),
        _ => CommitError::Failed(error),
    }
}

fn encode(record: &Record) -> Result<Document, Error> {
    let invalid = || Error::new(Code::Internal, "the resume token is not valid BSON");
    let mut fields = doc! {
        "token": Bson::Null,
        "seq": Bson::Null,
        "lastProcessedAt": Bson::Null,
        "updatedAt": DateTime::from_millis(record.updated_at_millis),
        "instance": &record.instance,
        "namespace": &record.namespace,
        "source": &record.source,
        "filter": filter(&record.filter),
    };
    if let Some(position) = &record.position {
        let token = Document::try_from(position.token.as_raw()).map_err(|_| invalid())?;
        fields.insert("token", token);
        fields.insert("seq", as_i64(position.seq.0));
        if let Some(millis) = position.time_millis {
            fields.insert("lastProcessedAt", DateTime::from_millis(millis));
        }
    }
    Ok(fields)
}

/// `None` when a field that must be there is missing or of another type.
fn decode(document: &Document) -> Option<Record> {
    let text = |name: &str| document.get_str(name).map(str::to_owned).ok();
    // Only what a stream cannot go on without has to be there: people write such documents too.
    let optional = |name: &str| text(name).unwrap_or_default();
    let position = match document.get("token") {
        None | Some(Bson::Null) => None,
        Some(token) => {
            let token = RawDocumentBuf::try_from(token.as_document()?).ok()?;
            let seq = whole_number(document.get("seq")?)?;
            Some(Position {
                token: ResumeToken::from_bytes(token.as_bytes())?,
                seq: Seq(seq),
                time_millis: document
                    .get_datetime("lastProcessedAt")
                    .ok()
                    .map(|time| time.timestamp_millis()),
            })
        }
    };
    let filter = document.get_document("filter").ok();
    let filter_text = |name: &str| {
        filter
            .and_then(|filter| filter.get_str(name).ok())
            .unwrap_or_default()
            .to_owned()
    };
    Some(Record {
        stream: text("_id")?,
        namespace: optional("namespace"),
        source: optional("source"),
        filter: Filter {
            fingerprint: filter_text("fingerprint"),
            summary: filter_text("summary"),
        },
        instance: optional("instance"),
        epoch: document.get("epoch").map_or(Some(0), whole_number)?,
        position,
        updated_at_millis: document
            .get_datetime("updatedAt")
            .map_or(0, |time| time.timestamp_millis()),
    })
}

/// A number that is whole and not negative, in whichever type a shell or a driver has stored it.
fn whole_number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => {
            Some(*number as u64)
        }
        _ => None,
    }
}

fn filter(filter: &Filter) -> Document {
    doc! { "fingerprint": &filter.fingerprint, "summary": &filter.summary }
}

fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const NAMESPACE_NOT_FOUND: i32 = 26;
const DUPLICATE_KEY: i32 = 11_000;

/// Codes of a server that is restarting, electing, or too slow: MongoDB's list of retryable errors,
/// the time-outs, and a majority that did not answer in time.
const HEALING: [i32; 17] = [
    6, 7, 50, 64, 79, 89, 91, 100, 134, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
];

fn code_of(error: &MongoError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// The error with our code. The server's own words are kept: they hold no document of ours but the
/// checkpoint's id.
fn failure(attempt: &str, error: MongoError) -> Error {
    let code = match (error.kind.as_ref(), code_of(&error)) {
        (ErrorKind::Authentication { .. }, _) | (_, Some(AUTHENTICATION_FAILED)) => {
            Code::SourceRefused
        }
        (ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }, _) => Code::Config,
        (_, Some(code)) if HEALING.contains(&code) => Code::SourceUnavailable,
        (_, Some(_)) => Code::CheckpointFailed,
        (
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. },
            _,
        ) => Code::SourceUnavailable,
        _ => Code::CheckpointFailed,
    };
    let advice = match code_of(&error) {
        Some(UNAUTHORIZED) => {
            "; grant readWrite on it, name another with RESUME_DATABASE, or keep checkpoints in \
             Kafka (RESUME_STORE=kafka)"
        }
        _ => "",
    };
    Error::new(code, format!("{attempt}: {error}{advice}")).because(error)
}
