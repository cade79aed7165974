//! Reading listeners.

use super::{Listener, Place};
use crate::api::problem::Problem;
use crate::api::query::{InQuery, allow};
use crate::api::{Answer, Context, body, etag};
use crate::change::extended_json::Extended;
use crate::listener::document::id_text;
use crate::listener::entry;
use crate::listener::handler::masked;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bson::{Bson, Document};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How many are on a page where no number is asked for, and at most.
const PAGE: usize = 100;
const MOST: usize = 1000;

/// Which listeners.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Which {
    /// Only those of this collection.
    collection: Option<String>,
    /// Only those of this database.
    database: Option<String>,
    /// Only those with this job.
    job: Option<String>,
    /// Only those in this state: active, disabled or invalid.
    state: Option<String>,
    /// How many to leave out at the beginning.
    #[param(default = 0)]
    offset: usize,
    /// How many to give: at most 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            collection: None,
            database: None,
            job: None,
            state: None,
            offset: 0,
            limit: PAGE,
        }
    }
}

impl Which {
    fn means(&self, document: &Document) -> bool {
        let is = |wanted: &Option<String>, field: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| document.get_str(field).is_ok_and(|value| value == wanted))
        };
        is(&self.collection, "collection")
            && is(&self.database, "database")
            && is(&self.job, "jobName")
    }
}

/// A page of listeners, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerPage<'a> {
    /// The collection that they are in.
    #[schema(example = "airank.listeners")]
    at: String,
    /// How many there are in all that were asked for.
    total: usize,
    listeners: Vec<Row<'a>>,
}

/// One listener, and how it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ListenerRow)]
pub struct Row<'a> {
    /// Its `_id` as text, as in paths and in the header tw-listener.
    #[schema(example = "507f1f77bcf86cd799439011")]
    id: String,
    /// For If-Match.
    etag: String,
    /// What a person calls it.
    #[schema(example = "batches -> process")]
    title: String,
    /// listener, or database for the settings of one.
    #[schema(value_type = String, example = "listener")]
    kind: &'static str,
    /// What its document says: active, disabled or invalid. How it does in each stream is in `document.status.streams`.
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// Why it is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The document as relaxed Extended JSON.
    #[schema(value_type = Listener)]
    document: Written<'a>,
}

/// A document, written as relaxed Extended JSON.
#[derive(Debug)]
pub(in crate::api) struct Written<'a>(pub(in crate::api) &'a Bson);

impl Serialize for Written<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Extended::relaxed(self.0).serialize(serializer)
    }
}

/// List the listeners
///
/// With their documents, `status` among them.
#[utoipa::path(
    get, path = "/api/listeners", tag = "listeners", operation_id = "listListeners",
    params(Which),
    responses(
        (status = 200, body = ListenerPage),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "LISTENERS_COLLECTION is not set"),
    ),
)]
pub(in crate::api) async fn list(
    State(context): State<Arc<Context>>,
    InQuery(which): InQuery<Which>,
) -> Answer {
    allow(which.limit, MOST)?;
    let place = Place::of(&context)?;
    let mut all = place.all().await?;
    all.sort_by_cached_key(|document| document.get("_id").map(id_text));
    let mut found = Vec::new();
    for document in all.into_iter().filter(|document| which.means(document)) {
        let state = entry::state(&document);
        if which
            .state
            .as_deref()
            .is_none_or(|wanted| wanted == state.name())
        {
            let tag = etag::of(&document);
            found.push((state, tag, Bson::Document(masked(&document))));
        }
    }
    let total = found.len();
    let page = found.iter().skip(which.offset).take(which.limit);
    let rows = page.filter_map(|(state, tag, written)| {
        let document = written.as_document()?;
        Some(Row {
            id: entry::name(document),
            etag: tag.clone(),
            title: entry::title(document),
            kind: match entry::is_of_database(document) {
                true => "database",
                false => "listener",
            },
            state: state.name(),
            reason: state.reason().map(str::to_owned),
            document: Written(written),
        })
    });
    Ok(body::answer(&ListenerPage {
        at: place.at().to_string(),
        total,
        listeners: rows.collect(),
    }))
}

/// Show a listener
///
/// Its document as relaxed Extended JSON, with its entity tag in the header ETag, which stays the same as long as only
/// `status` and `lockInfo` change.
#[utoipa::path(
    get, path = "/api/listeners/{id}", tag = "listeners", operation_id = "getListener",
    params(
        ("id" = String, Path, description = "The text of its _id"),
        ("If-None-Match" = Option<String>, Header, description = "An entity tag that is known"),
    ),
    responses(
        (status = 200, body = Listener, headers(("ETag" = String, description = "Its entity tag"))),
        (status = 304, description = "It has that entity tag still"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(in crate::api) async fn show(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let document = Place::of(&context)?.one(&id).await?;
    let tag = etag::of(&document);
    if etag::is_known(&headers, &tag) {
        let mut known = StatusCode::NOT_MODIFIED.into_response();
        put_tag(&mut known, &tag);
        return Ok(known);
    }
    Ok(shown(&document))
}

/// The answer that is one document.
pub(in crate::api) fn shown(document: &Document) -> Response {
    let tag = etag::of(document);
    let mut response = body::answer(&Extended::relaxed(&Bson::Document(masked(document))));
    put_tag(&mut response, &tag);
    response
}

fn put_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}
