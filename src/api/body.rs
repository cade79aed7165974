//! What is sent, and what is answered: JSON, with Extended JSON for the types that it lacks.

use super::problem::Problem;
use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bson::{Bson, Document};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a body may have, in bytes: more than a listener's document may, and a few documents to try it with.
pub(super) const LIMIT: usize = 1 << 20;

/// A body as a document, its fields in their order.
pub(super) fn document(body: &Bytes) -> Result<Document, Problem> {
    match serde_json::from_slice(body) {
        Ok(Bson::Document(document)) => Ok(document),
        Ok(_) => Err(Problem::malformed("the body is no JSON object; send one")),
        Err(error) => Err(Problem::malformed(format!(
            "the body is no JSON, or no Extended JSON: {error}"
        ))),
    }
}

/// A body as what a call takes.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    // A list would be taken for the fields in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::malformed("the body is no JSON object; send one"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::malformed(format!("the body is not as it should be: {error}")))
}

/// An answer in JSON, with the order of its fields kept.
pub(super) fn answer(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let kind = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (kind, bytes).into_response()
        }
        Err(error) => {
            let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(
                status,
                "internal",
                format!("the answer cannot be written: {error}"),
            )
            .into_response()
        }
    }
}
