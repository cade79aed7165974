//! Who may ask: pages by their origin, clients by their token, and all of them only so often.

use super::grant::Grant;
use super::token::Verifier;
use crate::config::Live;
use crate::status::live::Counts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A call that is not carried out: the status, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub sentence: String,
}

impl Refusal {
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { status, sentence }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = axum::Json(json!({ "status": "error", "message": self.sentence }));
        let mut response = (self.status, body).into_response();
        if [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ]
        .contains(&self.status)
        {
            let seconds = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// Decides who may ask.
#[derive(Debug)]
pub struct Access {
    origins: Vec<String>,
    /// None where no key is configured: everybody on this machine may see everything.
    pub verifier: Option<Verifier>,
    most: usize,
    most_per_address: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    counts: Arc<Counts>,
}

impl Access {
    pub fn new(live: &Live, verifier: Option<Verifier>, counts: Arc<Counts>) -> Self {
        Self {
            origins: live.origins.clone(),
            verifier,
            most: live.max_clients,
            most_per_address: live.max_per_address,
            addresses: Mutex::default(),
            counts,
        }
    }

    /// Whether a page, if it is one, may ask; the origin that is named in the answer.
    ///
    /// # Errors
    /// 403 for a page of another origin, or where a name leads to this machine that is not its own.
    pub fn origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        // Of two, who knows which one is meant.
        let hosts = headers.get_all(header::HOST).iter();
        let hosts: Vec<_> = hosts
            .map(|host| host.to_str().unwrap_or_default())
            .collect();
        let is_local = hosts.iter().all(|host| is_of_this_machine(host));
        let host = match hosts[..] {
            [only] => Some(only),
            _ => None,
        };
        if self.verifier.is_none() && !is_local {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this server is for its own machine: Host must be localhost or a loopback address, or LIVE_JWT_SECRET or \
                 LIVE_JWKS must be set",
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(None);
        };
        let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let is_same = host.is_some_and(|host| {
            let own = text
                .strip_prefix("https://")
                .or_else(|| text.strip_prefix("http://"));
            own.is_some_and(|own| own.eq_ignore_ascii_case(host))
        });
        let is_listed = self
            .origins
            .iter()
            .any(|listed| listed == "*" || *listed == text);
        match is_same || is_listed {
            true => Ok(Some(origin.clone())),
            false => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "pages of this origin may not ask for live changes; LIVE_ORIGINS lists those that may",
            )),
        }
    }

    /// What whoever brings this token may see.
    ///
    /// # Errors
    /// 401 for no valid token, 403 for one that allows nothing.
    pub async fn grant(&self, token: Option<&str>) -> Result<Arc<Grant>, Refusal> {
        match &self.verifier {
            None => Ok(Arc::new(Grant::everything())),
            Some(verifier) => verifier.grant(token).await.map(Arc::new),
        }
    }

    /// Lets a client in, until what this gives is dropped.
    ///
    /// # Errors
    /// 503 where there are too many, 429 where too many have this address.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, Refusal> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.counts.clients.get() >= self.most {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{} clients are connected, as many as LIVE_MAX_CLIENTS allows; try again later",
                    self.most
                ),
            ));
        }
        let of_address = addresses.entry(address).or_default();
        if *of_address >= self.most_per_address {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "{} clients with this address are connected, as many as LIVE_MAX_CLIENTS_PER_ADDRESS allows; try again \
                     later",
                    self.most_per_address
                ),
            ));
        }
        *of_address += 1;
        self.counts.clients.up();
        let access = Arc::clone(self);
        Ok(Admitted { access, address })
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes note of a refusal.
    pub fn refuse(&self, refusal: Refusal) -> Response {
        self.counts.refused.add(1);
        refusal.into_response()
    }
}

/// A client that was let in.
#[derive(Debug)]
pub struct Admitted {
    access: Arc<Access>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut addresses = self
            .access
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
        self.access.counts.clients.down();
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    match ip.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
