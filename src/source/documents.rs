//! Collections in which users keep what Tailwater goes by: their documents as they are, and what is written back.

use crate::change::namespace::Namespace;
use crate::listener::document;
use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria};
use mongodb::{Client, Collection};
use std::time::Duration;

/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// As bytes: the driver would take what looks like Extended JSON in them for other values, or for an error.
fn collection(client: &Client, at: &Namespace) -> Collection<RawDocumentBuf> {
    client.database(&at.database).collection(&at.collection)
}

/// Every document that a majority has: others may be rolled back. Of one that cannot be read there is only the
/// `_id`, and why.
///
/// # Errors
/// The driver's.
pub async fn all(client: &Client, at: &Namespace) -> mongodb::error::Result<Vec<Document>> {
    let collection = collection(client, at);
    let find = collection
        .find(Document::new())
        .read_concern(ReadConcern::majority());
    let found = find.await?.try_collect::<Vec<_>>().await?;
    Ok(found.iter().filter_map(|raw| read(raw)).collect())
}

/// The document with one of these ids, as the primary has it now: what is read is about to be changed.
///
/// # Errors
/// The driver's.
pub async fn one(
    client: &Client,
    at: &Namespace,
    ids: &[Bson],
) -> mongodb::error::Result<Option<Document>> {
    let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
    let found = collection(client, at)
        .find_one(doc! {"_id": {"$in": ids}})
        .selection_criteria(primary)
        .await?;
    Ok(found.and_then(|raw| read(&raw)))
}

fn read(raw: &RawDocument) -> Option<Document> {
    document::document_of(raw.as_bytes()).or_else(|| {
        let id = raw.get("_id").ok()??;
        document::without_fields(&Bson::try_from(id).ok()?, document::UNREADABLE)
    })
}

/// Why nothing was written.
#[derive(Debug)]
pub enum Unwritten {
    Refused(mongodb::error::Error),
    /// In words: there was no answer.
    Silent(String),
}

/// Carries out these updates, each by itself; the server's reply, which names those that it has refused.
///
/// # Errors
/// [`Unwritten`] where none was carried out, as far as is known.
pub async fn update(
    client: &Client,
    at: &Namespace,
    updates: Vec<Document>,
) -> Result<Document, Unwritten> {
    let command = doc! {
        "update": &at.collection,
        "updates": updates,
        "ordered": false,
        "maxTimeMS": PATIENCE.as_millis() as i64,
    };
    let database = client.database(&at.database);
    match tokio::time::timeout(PATIENCE, database.run_command(command)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(Unwritten::Refused(error)),
        Err(_elapsed) => Err(Unwritten::Silent(format!(
            "no answer in {} s",
            PATIENCE.as_secs()
        ))),
    }
}
