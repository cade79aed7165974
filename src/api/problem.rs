//! Answers to calls that are not carried out: problem documents (RFC 9457) with a sentence.

use crate::error::{Code, Error};
use crate::listener;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The type of such a body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The HTTP status.
    #[serde(with = "status")]
    #[schema(value_type = u16, example = 422)]
    pub status: StatusCode,
    /// What kind of problem it is, in words.
    #[schema(value_type = String, example = "Unprocessable Entity")]
    title: String,
    /// A stable name of the problem.
    #[schema(value_type = String, example = "invalid_listener")]
    pub code: &'static str,
    /// What is wrong, and what would be right.
    #[schema(example = "jobName: is missing; give the name of the job")]
    pub detail: String,
    /// Everything that is wrong, by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field; empty for the whole.
    #[schema(example = "jobName")]
    pub field: String,
    #[schema(example = "is missing; give the name of the job")]
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// A body or a query that cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// What is asked for does not fit how things are now.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// It may be possible later.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// A listener that is wrong, with everything that is.
    pub(super) fn invalid(problems: &[listener::Problem]) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let mut whole = Self::new(status, "invalid_listener", listener::told(problems));
        whole.errors = problems
            .iter()
            .map(|problem| FieldProblem {
                field: problem.field.to_owned(),
                detail: problem.sentence.clone(),
            })
            .collect();
        whole
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.code {
            Code::SourceUnavailable | Code::SinkUnavailable | Code::Exhausted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Code::SourceRefused | Code::SinkRefused | Code::CheckpointFailed => {
                StatusCode::BAD_GATEWAY
            }
            Code::Config | Code::TokenInvalid | Code::HistoryLost | Code::Fenced => {
                StatusCode::CONFLICT
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code.name(), error.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        let kind = HeaderValue::from_static(PROBLEM_JSON);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

mod status {
    use axum::http::StatusCode;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(
        status: &StatusCode,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(status.as_u16())
    }
}
