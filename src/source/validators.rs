//! What collections demand of their documents.

use crate::encode::serialization::{self, Place};
use crate::mongo::describe::describe;
use bson::{Document, doc};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use mongodb::Client;

/// Reads validators, each when it is asked for.
#[derive(Debug)]
pub struct Validators {
    client: Client,
}

impl Validators {
    pub fn of(client: &Client) -> Self {
        Self {
            client: client.clone(),
        }
    }

    async fn read(&self, place: &Place) -> mongodb::error::Result<Option<Document>> {
        let list = doc! {"listCollections": 1, "filter": {"name": &place.collection}, "cursor": {}};
        let listed: Option<Document> = self
            .client
            .database(&place.database)
            .run_cursor_command(list)
            .await?
            .try_next()
            .await?;
        let options = listed
            .as_ref()
            .and_then(|it| it.get_document("options").ok());
        let validator = options.and_then(|options| options.get_document("validator").ok());
        let schema = validator.and_then(|validator| validator.get_document("$jsonSchema").ok());
        Ok(schema.cloned())
    }
}

impl serialization::Validators for Validators {
    /// Without one that can be read, the schema comes from documents alone.
    fn of<'a>(&'a self, place: &'a Place) -> BoxFuture<'a, Option<Document>> {
        Box::pin(async move {
            if place.collection.is_empty() {
                return None;
            }
            let read = self.read(place).await;
            read.unwrap_or_else(|error| {
                tracing::warn!(
                    database = place.database,
                    collection = place.collection,
                    error = %describe(&error),
                    "the validator cannot be read; the schema comes from the documents alone"
                );
                None
            })
        })
    }
}
