//! Which streams a call is about: `?stream=` with a name or an id, otherwise all.

use super::Context;
use super::guard::refused;
use crate::stream::streams::Handle;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

/// The streams that are meant.
pub(super) struct Which(Vec<Arc<Handle>>);

#[derive(Deserialize)]
struct Asked {
    stream: Option<String>,
}

impl Which {
    pub(super) fn all(&self) -> &[Arc<Handle>] {
        &self.0
    }

    /// The one that is meant, where it is one.
    pub(super) fn only(&self) -> Option<&Handle> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl FromRequestParts<Arc<Context>> for Which {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        context: &Arc<Context>,
    ) -> Result<Self, Response> {
        let asked = Query::<Asked>::try_from_uri(&parts.uri);
        let Some(name) = asked.ok().and_then(|Query(asked)| asked.stream) else {
            return Ok(Self(context.streams.all()));
        };
        match context.streams.get(&name) {
            Some(handle) => Ok(Self(vec![handle])),
            None => {
                let names = context.streams.all();
                let names: Vec<_> = names.iter().map(|handle| handle.spec.name()).collect();
                let why = format!(
                    "no stream of that name runs here; there is {}",
                    names.join(", ")
                );
                Err(refused(StatusCode::NOT_FOUND, &why))
            }
        }
    }
}
