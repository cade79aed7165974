//! Who may call, decided before a request reaches its route.
//!
//! A server on a loopback address is for this machine. A page in a browser on this machine reaches it too:
//! by its address, which `Origin` and `Sec-Fetch-Site` tell, or under a name of its own that leads to a
//! loopback address by now (DNS rebinding), which `Host` tells. A page can set none of the three. Neither
//! can it know the token, so who brings that is let through.

mod tally;

use super::Context;
use crate::api::HasToken;
use crate::config::Secret;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tally::Tally;

/// Says whether a page of this or of another site asks; only browsers send it.
const FETCH_SITE: &str = "sec-fetch-site";

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Addressed to a name that is not this machine's.
    Host,
    /// A page in a browser asks.
    Page,
    /// A changing call, from who knows where, and there is no token to tell.
    Unguarded,
    /// A changing call without the token.
    Token,
}

impl Refusal {
    const ALL: [Self; 4] = [Self::Host, Self::Page, Self::Unguarded, Self::Token];

    fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Page | Self::Unguarded => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Host => {
                "this server is for its own machine: Host must be localhost or a loopback address, or \
                 Authorization must be Bearer <ADMIN_TOKEN>"
            }
            Self::Page => {
                "not for a page in a browser (Origin, Sec-Fetch-Site), unless Authorization is Bearer \
                 <ADMIN_TOKEN>"
            }
            Self::Unguarded => "set ADMIN_TOKEN: this server can be reached from other machines",
            Self::Token => "send Authorization: Bearer <ADMIN_TOKEN>",
        }
    }
}

/// Decides who may call, and counts who may not.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Secret>,
    /// Whether only this machine can reach the server.
    is_loopback: bool,
    tally: Arc<Tally>,
}

impl Guard {
    /// Of a server that listens on `address`.
    pub(super) fn new(token: Option<Secret>, address: IpAddr) -> Self {
        Self {
            token,
            is_loopback: address.to_canonical().is_loopback(),
            tally: Arc::default(),
        }
    }

    /// Tells of refused calls that were only counted so far.
    pub(super) fn say_the_rest(&self) {
        self.tally.say_the_rest();
    }

    /// Why this call must not be answered, whatever it asks for.
    fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Refusal> {
        if !self.is_loopback || self.has_token(headers) {
            return None;
        }
        if !is_addressed_here(uri, headers) {
            return Some(Refusal::Host);
        }
        // `none` is a person who typed the address or follows a bookmark.
        let site = headers.get(FETCH_SITE);
        let is_page = headers.contains_key(header::ORIGIN)
            || site.is_some_and(|site| site != "none" && site != "same-origin");
        // The modules of this server's own page are asked for with its origin.
        let is_own = method == Method::GET && is_of_own_page(headers);
        (is_page && !is_own).then_some(Refusal::Page)
    }

    /// Why this call must not change anything.
    fn refusal_to_change(&self, headers: &HeaderMap) -> Option<Refusal> {
        match (&self.token, self.is_loopback) {
            (None, true) => None,
            (None, false) => Some(Refusal::Unguarded),
            (Some(_), _) => (!self.has_token(headers)).then_some(Refusal::Token),
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match (given, &self.token) {
            // In constant time: how long it takes does not tell how much of a guess was right.
            (Some(given), Some(token)) => given.as_bytes().ct_eq(token.expose().as_bytes()).into(),
            _ => false,
        }
    }

    fn refuse(&self, refusal: Refusal, request: &Request) -> Response {
        self.tally.add(refusal, request.uri().path());
        refused(refusal.status(), refusal.why())
    }
}

/// Whether a page that this server has served asks: a browser says so, and names the origin that it is addressed by.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    let named = origin.and_then(|origin| origin.strip_prefix("http://"));
    headers
        .get(FETCH_SITE)
        .is_some_and(|site| site == "same-origin")
        && named.is_some()
        && named == host
}

/// Whether the call is addressed to a name that can only be this machine's, on whatever port: one may be
/// forwarded. A request without a name (HTTP/1.0) is from no browser.
fn is_addressed_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::HOST);
    named
        .iter()
        .all(|host| host.to_str().is_ok_and(is_of_this_machine))
        && uri
            .authority()
            .is_none_or(|host| is_of_this_machine(host.as_str()))
}

fn is_of_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    match ip.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host
            .strip_suffix('.')
            .unwrap_or(host)
            .eq_ignore_ascii_case("localhost"),
    }
}

/// Lets a call through, or answers in its place.
pub(super) async fn any(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Response {
    match context
        .guard
        .refusal(request.method(), request.uri(), request.headers())
    {
        Some(refusal) => context.guard.refuse(refusal, &request),
        None => next.run(request).await,
    }
}

/// Lets a changing call through, or answers in its place.
pub(super) async fn changing(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Response {
    match context.guard.refusal_to_change(request.headers()) {
        Some(refusal) => context.guard.refuse(refusal, &request),
        None => {
            if context.guard.has_token(request.headers()) {
                request.extensions_mut().insert(HasToken);
            }
            next.run(request).await
        }
    }
}

/// The answer to a call that is not carried out.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "status": "error", "message": why }))).into_response()
}

#[cfg(test)]
mod tests;
