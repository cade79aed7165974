//! Errors that no handler of ours has answered: an unknown path, another method, a body or a query that does
//! not fit. They are JSON with a sentence, as all other answers.

use super::BODY_LIMIT;
use super::guard::refused;
use axum::body::to_bytes;
use axum::http::{StatusCode, header};
use axum::response::Response;

/// Puts a sentence into an error without one.
pub(super) async fn in_words(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !is_error || kind.is_some_and(|kind| kind == "application/json") {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let mut worded = refused(
        status,
        match (status, said.trim()) {
            (StatusCode::NOT_FOUND, "") => {
                "nothing is served under this path; /health, /status and /metrics are"
            }
            (StatusCode::METHOD_NOT_ALLOWED, "") => {
                "this path takes another method: see the header Allow"
            }
            (status, "") => status.canonical_reason().unwrap_or("an error"),
            (_, said) => said,
        },
    );
    // Which methods are allowed is said there.
    if let Some(allowed) = parts.headers.get(header::ALLOW) {
        worded.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    worded
}
