//! Live changes: the server for browsers and services, and who may see what.

use super::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `LIVE_ADDR` and what goes with it.
#[derive(Debug, Clone)]
pub struct Live {
    /// `LIVE_ADDR`.
    pub addr: SocketAddr,
    /// Whether the configuration says which databases the streams watch.
    pub knows_source: bool,
    /// `LIVE_ORIGINS`: the pages that may ask, `*` for all.
    pub origins: Vec<String>,
    pub tokens: Tokens,
    /// `LIVE_EXCLUDE_FIELDS`: paths, also as `database.collection:path`.
    pub exclude: Vec<String>,
    /// `LIVE_MAX_CLIENTS`.
    pub max_clients: usize,
    /// `LIVE_MAX_CLIENTS_PER_ADDRESS`.
    pub max_per_address: usize,
    /// `LIVE_MAX_SUBSCRIPTIONS`: of one WebSocket.
    pub max_subscriptions: usize,
    /// `LIVE_CLOSE_AFTER_SECONDS`: after which a connection is closed, so that its client connects anew.
    pub close_after: Duration,
    /// `LIVE_RECENT_BYTES`: how much of what was read last is kept for those who come back.
    pub recent_bytes: usize,
    /// `LIVE_QUEUE_BYTES`: how much may wait for all clients together.
    pub queue_bytes: usize,
}

/// How tokens are verified, and what they are narrowed by.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// `LIVE_JWT_SECRET` and `LIVE_JWT_SECRET_2`, for HS256.
    pub secrets: Vec<Secret>,
    /// `LIVE_JWKS`, for RS256 and ES256.
    pub jwks: Option<Jwks>,
    /// `LIVE_JWT_ISSUER`.
    pub issuer: Option<String>,
    /// `LIVE_JWT_AUDIENCE`.
    pub audience: Option<String>,
    /// `LIVE_WHERE`: a filter that every token gets, with its claims filled in.
    pub filter: Option<serde_json::Value>,
}

impl Tokens {
    /// Whether there is a key that a token can be verified with.
    pub fn are_required(&self) -> bool {
        !self.secrets.is_empty() || self.jwks.is_some()
    }
}

/// Where the keys for RS256 and ES256 are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    File(PathBuf),
    Url(String),
}
