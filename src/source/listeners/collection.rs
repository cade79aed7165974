//! The collection of listeners, as its users have it.

use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::mongo::errors::{self, Phase};
use bson::Document;
use futures_util::TryStreamExt;
use mongodb::options::ReadConcern;
use mongodb::{Client, Collection};

/// The collection, of which only what a majority has is read: it may not be rolled back.
pub fn collection(client: &Client, at: &Namespace) -> Collection<Document> {
    client.database(&at.database).collection(&at.collection)
}

/// Every document that is there.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn all(client: &Client, at: &Namespace) -> Result<Vec<Document>, Error> {
    let collection = collection(client, at);
    let find = collection
        .find(Document::new())
        .read_concern(ReadConcern::majority());
    let found = async { find.await?.try_collect().await };
    found.await.map_err(|error| {
        let attempt = format!("reading the listeners takes `find` on {at} (LISTENERS_COLLECTION)");
        errors::error(&attempt, &error, Phase::Other)
    })
}
