//! Listeners that are created where they are missing.

use super::collection::{collection, failed};
use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::listener::entry;
use crate::mongo::errors::{Stage, is_duplicate};
use bson::{Bson, DateTime, Document, doc};
use mongodb::Client;

/// What has become of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is there now, under this id.
    New(Bson),
    /// It was there, under this id, and stays as it is.
    Kept(Bson),
}

/// Creates a listener, or a database's settings, unless there is one of the same identity or `_id`.
///
/// # Errors
/// What the server answers.
pub async fn create(
    client: &Client,
    at: &Namespace,
    document: &Document,
) -> Result<Created, Error> {
    let collection = collection(client, at);
    let failed = |error: mongodb::error::Error| {
        failed(
            "creating a listener",
            "find and insert",
            at,
            Stage::Starting,
            &error,
        )
    };
    let id = entry::id_of(document);
    let same = doc! {"$or": [{"_id": &id}, entry::identity(document)]};
    let found = collection
        .find_one(same)
        .projection(doc! {"_id": 1})
        .await
        .map_err(failed)?;
    if let Some(found) = found.and_then(|mut found| found.remove("_id")) {
        return Ok(Created::Kept(found));
    }
    let mut whole = doc! {"_id": &id};
    whole.extend(document.clone());
    let now = DateTime::now();
    whole.insert("createdAt", now);
    whole.insert("updatedAt", now);
    match collection.insert_one(whole).await {
        Ok(_) => Ok(Created::New(id)),
        // Another instance was faster.
        Err(error) if is_duplicate(&error) => Ok(Created::Kept(id)),
        Err(error) => Err(failed(error)),
    }
}
