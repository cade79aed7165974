//! What a query asks for.

use super::problem::Problem;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// What is asked in the query of a call; what cannot be read is refused with a sentence.
#[derive(Debug)]
pub(super) struct InQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Problem::malformed(error.body_text())),
        }
    }
}

/// How many are given where no number is asked for.
pub(super) fn hundred() -> usize {
    100
}

/// Whether so many may be asked for.
pub(super) fn allow(limit: usize, most: usize) -> Result<(), Problem> {
    match (1..=most).contains(&limit) {
        true => Ok(()),
        false => Err(Problem::malformed(format!(
            "limit={limit} is not between 1 and {most}"
        ))),
    }
}
