//! `/api/listener-changes`: what of the listeners has changed when.

use super::Place;
use super::read::Written;
use crate::api::problem::Problem;
use crate::api::query::{InQuery, allow, hundred};
use crate::api::time::of_millis;
use crate::api::{Answer, Context, body};
use crate::status::listener_changes::{Field, ListenerChange};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How many are told at most.
const MOST: usize = 1000;

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WhichChanges {
    /// Only those of this listener: the text of its `_id`.
    listener: Option<String>,
    /// How many to give: at most 1000.
    #[serde(default = "hundred")]
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// The last changes, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerChangeList<'a> {
    changes: Vec<Changed<'a>>,
}

/// One change of one listener.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListenerChange)]
pub struct Changed<'a> {
    /// The listener's `_id` as text.
    #[schema(example = "507f1f77bcf86cd799439011")]
    listener: &'a str,
    /// What a person calls it.
    #[schema(example = "batches -> process")]
    title: &'a str,
    /// created, changed, enabled, disabled or deleted.
    #[schema(value_type = String, example = "disabled")]
    change: &'static str,
    /// When it was written, by the server's clock.
    at: Option<String>,
    fields: Vec<ChangedField<'a>>,
    /// Whether the values were too large to be kept: then only the fields' names are told.
    without_values: bool,
}

/// A field, and its values in relaxed Extended JSON. `before` is missing where it was not there, `after` where it is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedField<'a> {
    #[schema(example = "isActive")]
    field: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    before: Option<Written<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    after: Option<Written<'a>>,
}

impl<'a> Changed<'a> {
    fn of(change: &'a ListenerChange) -> Self {
        let field = |field: &'a Field| ChangedField {
            field: &field.name,
            before: field.before.as_ref().map(Written),
            after: field.after.as_ref().map(Written),
        };
        Self {
            listener: &change.listener,
            title: &change.title,
            change: change.kind.name(),
            at: of_millis(change.at_millis),
            fields: change.fields.iter().map(field).collect(),
            without_values: change.is_without_values,
        }
    }
}

/// List what of the listeners has changed
///
/// By whomever it was changed: what the streams that run on this instance have seen since it was started, up to 200
/// changes of each stream. Fields that say nothing of what a listener does, as `metadata`, are not told.
#[utoipa::path(
    get, path = "/api/listener-changes", tag = "listeners", operation_id = "listListenerChanges",
    params(WhichChanges),
    responses(
        (status = 200, body = ListenerChangeList),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "LISTENERS_COLLECTION is not set"),
    ),
)]
pub(in crate::api) async fn list(
    State(context): State<Arc<Context>>,
    InQuery(which): InQuery<WhichChanges>,
) -> Answer {
    allow(which.limit, MOST)?;
    Place::of(&context)?;
    let is_meant = |change: &ListenerChange| {
        let wanted = which.listener.as_deref();
        wanted.is_none_or(|wanted| change.listener == wanted)
    };
    let mut all: Vec<ListenerChange> = Vec::new();
    for handle in context.streams.all() {
        for change in handle.board.listeners.changes.all() {
            // Each of several streams sees the same.
            if is_meant(&change) && !all.contains(&change) {
                all.push(change);
            }
        }
    }
    // Of those in the same millisecond, the later ones came later.
    all.reverse();
    all.sort_by_key(|change| std::cmp::Reverse(change.at_millis));
    let changes = all.iter().take(which.limit).map(Changed::of).collect();
    Ok(body::answer(&ListenerChangeList { changes }))
}
