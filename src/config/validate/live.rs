//! `LIVE_ADDR` and what goes with it.

use crate::config::check::Check;
use crate::config::live::{Jwks, Live, Tokens};
use crate::config::variable::Variable;
use crate::config::{Listeners, Secret, table};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// What has no effect without `LIVE_ADDR`.
const OTHERS: [&Variable; 14] = [
    &table::LIVE_ORIGINS,
    &table::LIVE_JWT_SECRET,
    &table::LIVE_JWT_SECRET_2,
    &table::LIVE_JWKS,
    &table::LIVE_JWT_ISSUER,
    &table::LIVE_JWT_AUDIENCE,
    &table::LIVE_WHERE,
    &table::LIVE_EXCLUDE_FIELDS,
    &table::LIVE_MAX_CLIENTS,
    &table::LIVE_MAX_CLIENTS_PER_ADDRESS,
    &table::LIVE_MAX_SUBSCRIPTIONS,
    &table::LIVE_CLOSE_AFTER_SECONDS,
    &table::LIVE_RECENT_BYTES,
    &table::LIVE_QUEUE_BYTES,
];

/// Reads `LIVE_ADDR` and what goes with it; none where it is off.
pub(super) fn live(check: &mut Check<'_>, listeners: Option<&Listeners>) -> Option<Live> {
    let addr = address(check);
    let tokens = tokens(check);
    let live = Live {
        addr: addr.unwrap_or(DEFAULT),
        knows_source: check.given(&table::MONGODB_URI).is_some(),
        origins: origins(check),
        tokens,
        exclude: check.list(&table::LIVE_EXCLUDE_FIELDS),
        max_clients: check.number(&table::LIVE_MAX_CLIENTS).unwrap_or_default(),
        max_per_address: check
            .number(&table::LIVE_MAX_CLIENTS_PER_ADDRESS)
            .unwrap_or_default(),
        max_subscriptions: check
            .number(&table::LIVE_MAX_SUBSCRIPTIONS)
            .unwrap_or_default(),
        close_after: check.seconds(&table::LIVE_CLOSE_AFTER_SECONDS),
        recent_bytes: check.bytes(&table::LIVE_RECENT_BYTES),
        queue_bytes: check.bytes(&table::LIVE_QUEUE_BYTES),
    };
    if addr.is_none() {
        for variable in OTHERS {
            if check.given(variable).is_some() {
                check.warn(variable, "has no effect without LIVE_ADDR");
            }
        }
        return None;
    }
    check_reach(check, &live, listeners);
    Some(live)
}

/// Who could reach it, and whether there is something to serve.
fn check_reach(check: &mut Check<'_>, live: &Live, listeners: Option<&Listeners>) {
    let variable = &table::LIVE_ADDR;
    let has_key = live.tokens.are_required();
    if !has_key && !live.addr.ip().to_canonical().is_loopback() {
        check.wrong(
            variable,
            "can be reached from other machines, and without a key for tokens everybody could read all changes; \
             set LIVE_JWT_SECRET or LIVE_JWKS, or give a loopback address such as 127.0.0.1:3002",
        );
    }
    for of_tokens in [
        &table::LIVE_JWT_ISSUER,
        &table::LIVE_JWT_AUDIENCE,
        &table::LIVE_WHERE,
    ] {
        if !has_key && check.given(of_tokens).is_some() {
            check.wrong(
                of_tokens,
                "is about tokens, and there is no key to verify one with; set LIVE_JWT_SECRET or LIVE_JWKS too",
            );
        }
    }
    if listeners.is_some_and(|listeners| !listeners.beside_topics) {
        check.wrong(
            variable,
            "serves the topics of the configuration, and with LISTENERS_COLLECTION alone these get no records; \
             set KAFKA_DB_CHANGES_TOPIC too",
        );
    }
}

const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3002);

/// None where it is off.
fn address(check: &mut Check<'_>) -> Option<SocketAddr> {
    let variable = &table::LIVE_ADDR;
    let text = check.text(variable).unwrap_or("off");
    if text.eq_ignore_ascii_case("off") {
        return None;
    }
    let port = text.strip_prefix("localhost:");
    if let Some(port) = port.and_then(|port| port.parse().ok()) {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let parsed = text.parse();
    if parsed.is_err() {
        check.wrong(
            variable,
            "is no IP address with a port; give one such as 127.0.0.1:3002 or 0.0.0.0:3002, or off",
        );
    }
    parsed.ok()
}

fn origins(check: &mut Check<'_>) -> Vec<String> {
    let variable = &table::LIVE_ORIGINS;
    let text = check.given(variable).unwrap_or_default();
    let mut origins = Vec::new();
    for origin in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*']));
        if origin != "*" && !is_origin {
            check.wrong(
                variable,
                format!("holds something that is no origin; {}", variable.right()),
            );
        }
        origins.push(origin.to_ascii_lowercase());
    }
    origins
}

/// Fewer bytes could be guessed: RFC 7518 asks for as many as the hash has.
const SHORTEST_SECRET: usize = 32;

fn tokens(check: &mut Check<'_>) -> Tokens {
    let mut secrets = Vec::new();
    for variable in [&table::LIVE_JWT_SECRET, &table::LIVE_JWT_SECRET_2] {
        let Some(secret) = check.given(variable) else {
            continue;
        };
        if secret.len() < SHORTEST_SECRET {
            check.wrong(
                variable,
                "is too short for HS256; give at least 32 bytes, such as `openssl rand -hex 32` prints",
            );
        }
        secrets.push(Secret::new(secret));
    }
    let jwks = jwks(check);
    Tokens {
        secrets,
        jwks,
        issuer: check.given(&table::LIVE_JWT_ISSUER).map(str::to_owned),
        audience: check.given(&table::LIVE_JWT_AUDIENCE).map(str::to_owned),
        filter: filter(check),
    }
}

fn jwks(check: &mut Check<'_>) -> Option<Jwks> {
    let variable = &table::LIVE_JWKS;
    let text = check.given(variable)?;
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some(Jwks::Url(text.to_owned()));
    }
    let path = Path::new(text);
    if !path.is_file() {
        check.wrong(
            variable,
            format!("there is no such file; {}", variable.right()),
        );
    }
    Some(Jwks::File(path.to_owned()))
}

fn filter(check: &mut Check<'_>) -> Option<serde_json::Value> {
    let variable = &table::LIVE_WHERE;
    let text = check.given(variable)?;
    match serde_json::from_str(text) {
        Ok(filter @ serde_json::Value::Object(_)) => Some(filter),
        _ => {
            check.wrong(variable, format!("is no JSON object; {}", variable.right()));
            None
        }
    }
}
