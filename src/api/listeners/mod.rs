//! `/api/listeners`: the documents of the listeners' collection.

pub(super) mod changing;
mod events;
pub(super) mod history;
pub(super) mod read;
pub(super) mod trial;
pub(super) mod write;

use super::problem::Problem;
use super::{Context, id};
use crate::change::namespace::Namespace;
use crate::config::Listeners;
use crate::source::listeners::collection;
use axum::http::StatusCode;
use bson::Document;
use mongodb::Client;
use utoipa::openapi::{Object, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A listener, or the settings of a database, in the OpenAPI document.
pub enum Listener {}

/// Some fields of a listener, as a merge patch (RFC 7396).
pub enum ListenerPatch {}

// Their fields are those of `listener::fields`, which the document is completed with.
impl PartialSchema for Listener {
    fn schema() -> RefOr<Schema> {
        Object::new().into()
    }
}

impl ToSchema for Listener {}

impl PartialSchema for ListenerPatch {
    fn schema() -> RefOr<Schema> {
        Object::new().into()
    }
}

impl ToSchema for ListenerPatch {}

/// The collection that the calls are about.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) listeners: Listeners,
}

impl Place {
    pub(super) fn of(context: &Context) -> Result<Self, Problem> {
        let handles = context.streams.all();
        let of = |stream: &crate::config::StreamSpec| stream.source.listeners.clone();
        let Some(listeners) = handles.iter().find_map(|handle| of(&handle.spec)) else {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no_listeners",
                "LISTENERS_COLLECTION is not set; name the collection of the listeners, such as airank.listeners",
            ));
        };
        let client = context.client()?;
        Ok(Self { client, listeners })
    }

    pub(super) fn at(&self) -> &Namespace {
        &self.listeners.at
    }

    pub(super) async fn all(&self) -> Result<Vec<Document>, Problem> {
        Ok(collection::all(&self.client, self.at()).await?)
    }

    /// The document with this id, as text.
    pub(super) async fn one(&self, id: &str) -> Result<Document, Problem> {
        let found = collection::one(&self.client, self.at(), &id::of_listener(id)).await?;
        found.filter(|found| id::is_of(found, id)).ok_or_else(|| {
            Problem::not_found(format!(
                "no listener has the _id {id}; GET /api/listeners lists them"
            ))
        })
    }
}
