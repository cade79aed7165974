//! Errors that no handler of ours has answered: an unknown path, another method, a body or a query that does
//! not fit. They are JSON with a sentence, as all other answers.

use super::BODY_LIMIT;
use super::guard::refused;
use crate::api::{self, PROBLEM_JSON, Problem};
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Puts a sentence into an error without one, in the form of the calls that were meant.
pub(super) async fn in_words(request: Request, next: Next) -> Response {
    let is_of_api = api::is_of_api(request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_told = match is_of_api {
        true => has_kind(response.headers(), PROBLEM_JSON),
        false => has_kind(response.headers(), "application/json"),
    };
    if !is_error || is_told {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let said = sentence(status, &String::from_utf8_lossy(&said));
    let mut worded = match is_of_api {
        true => Problem::new(status, code(status), said).into_response(),
        false => refused(status, &said),
    };
    // Which methods are allowed is said there.
    if let Some(allowed) = parts.headers.get(header::ALLOW) {
        worded.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    worded
}

fn has_kind(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == wanted)
}

fn sentence(status: StatusCode, said: &str) -> String {
    let said = said.trim();
    // A refusal of the guard.
    let told = serde_json::from_str::<Value>(said).ok();
    if let Some(message) = told.as_ref().and_then(|told| told["message"].as_str()) {
        return message.to_owned();
    }
    match (status, said) {
        (StatusCode::NOT_FOUND, "") => {
            "nothing is served under this path; /health, /status, /metrics and /api/openapi.json are"
        }
        (StatusCode::METHOD_NOT_ALLOWED, "") => {
            "this path takes another method: see the header Allow"
        }
        (status, "") => status.canonical_reason().unwrap_or("an error"),
        (_, said) => said,
    }
    .to_owned()
}

/// The stable name of an error that no call has answered.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "refused",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        status if status.is_client_error() => "malformed",
        _ => "internal",
    }
}
