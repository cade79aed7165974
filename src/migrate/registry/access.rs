//! Where the registry is, how it is logged in to, and whom is trusted to be it.

use super::Converters;
use crate::config::{Credentials, Registry, decoded_uri, table};
use crate::migrate::Verdict;
use std::borrow::Cow;

const URL: &str = "schema.registry.url";
const LOG_IN: &str = "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD";
const TOKEN: &str = "SCHEMA_REGISTRY_TOKEN";
const AUTHORITIES: &str = "SCHEMA_REGISTRY_CA_LOCATION";

pub(super) fn translate(converters: &mut Converters<'_, '_>) {
    address(converters);
    user(converters);
    token(converters);
    trusted(converters);
    shown(converters);
    for name in ["proxy.host", "proxy.port"] {
        converters.decide(
            name,
            "Tailwater speaks to the registry directly; give a SCHEMA_REGISTRY_URL that it can reach",
        );
    }
}

fn address(converters: &mut Converters<'_, '_>) {
    if let Some(urls) = converters.said(URL, "SCHEMA_REGISTRY_URL", None) {
        let (first, sentence) = match urls.split_once(',') {
            None => (urls, "SCHEMA_REGISTRY_URL"),
            Some((first, _)) => (
                first,
                "SCHEMA_REGISTRY_URL, which is the first of them; no other is tried",
            ),
        };
        let (url, user) = without_user(first.trim());
        converters.reading.set(&table::SCHEMA_REGISTRY_URL, url);
        if let Some(info) = user {
            log_in(converters, &info);
        }
        converters.taken(URL, sentence);
    }
    if converters.properties(URL).is_empty() {
        let half = converters.halves.last().copied().unwrap_or("value");
        converters.reading.decide(
            &format!("{half}.converter.{URL}"),
            "the converters name no registry; set SCHEMA_REGISTRY_URL",
        );
    }
}

/// A URL without the user and the password in it, and these.
fn without_user(url: &str) -> (Cow<'_, str>, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.into(), None);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        None => (url.into(), None),
        Some(at) => {
            let info = decoded_uri(&rest[..at]);
            (format!("{scheme}://{}", &rest[at + 1..]).into(), Some(info))
        }
    }
}

/// Sets both halves of a log-in; whether there are two.
fn log_in(converters: &mut Converters<'_, '_>, info: &str) -> bool {
    let Some((user, word)) = info.split_once(':') else {
        return false;
    };
    let reading = &mut converters.reading;
    reading.set(&table::SCHEMA_REGISTRY_USERNAME, user);
    reading.set(&table::SCHEMA_REGISTRY_PASSWORD, word);
    true
}

fn user(converters: &mut Converters<'_, '_>) {
    const SOURCE: &str = "basic.auth.credentials.source";
    const INFO: &str = "basic.auth.user.info";
    match converters.said(SOURCE, LOG_IN, None) {
        None => {}
        Some("USER_INFO" | "URL") => converters.taken(SOURCE, LOG_IN),
        Some(_) => converters.decide(
            SOURCE,
            &format!("the log-in is not taken from Kafka's client; set {LOG_IN}"),
        ),
    }
    if let Some(info) = converters.said(INFO, LOG_IN, None) {
        match log_in(converters, info) {
            true => converters.taken(INFO, LOG_IN),
            false => converters.decide(INFO, &format!("is no user:password; set {LOG_IN}")),
        }
    }
}

fn token(converters: &mut Converters<'_, '_>) {
    const SOURCE: &str = "bearer.auth.credentials.source";
    const GIVEN: &str = "bearer.auth.token";
    let source = converters.said(SOURCE, TOKEN, None);
    let given = converters.said(GIVEN, TOKEN, None);
    match (source, given) {
        (None, None) => {}
        (None | Some("STATIC_TOKEN"), Some(token)) => {
            let has_user = converters.reading.is_set(&table::SCHEMA_REGISTRY_USERNAME);
            if has_user {
                let sentence = format!("there is a user, too; set {TOKEN}, or {LOG_IN}");
                converters.decide(GIVEN, &sentence);
            } else {
                converters.reading.set(&table::SCHEMA_REGISTRY_TOKEN, token);
                converters.taken(GIVEN, TOKEN);
            }
            converters.taken(SOURCE, TOKEN);
        }
        (Some("STATIC_TOKEN"), None) => {
            converters.decide(SOURCE, &format!("the token is not here; set {TOKEN}"));
        }
        (Some(_), _) => {
            let sentence = format!(
                "no server is asked for tokens; set {TOKEN} to one that stays valid, or {LOG_IN}"
            );
            converters.decide(SOURCE, &sentence);
        }
    }
    for name in [
        "bearer.auth.logical.cluster",
        "bearer.auth.identity.pool.id",
    ] {
        let sentence = "Tailwater does not send the header that the client makes of it; log in to the registry without it";
        converters.decide(name, sentence);
    }
    converters.without("bearer.auth.", "belongs to bearer.auth.credentials.source");
}

/// Whom the converter trusts, and whom it trusts here.
fn trusted(converters: &mut Converters<'_, '_>) {
    const PLACE: &str = "ssl.truststore.location";
    const KIND: &str = "ssl.truststore.type";
    let kind = converters.said(KIND, AUTHORITIES, Some("JKS"));
    let is_pem = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"));
    match converters.said(PLACE, AUTHORITIES, None) {
        None => {}
        Some(path) if is_pem => {
            converters
                .reading
                .set(&table::SCHEMA_REGISTRY_CA_LOCATION, path);
            let sentence = format!("{AUTHORITIES}, beside the public authorities");
            converters.taken(PLACE, &sentence);
            converters.taken(KIND, AUTHORITIES);
        }
        Some(_) => {
            let sentence = format!(
                "Java's trust stores are not read; write its certificates into a PEM file (`keytool -list -rfc -keystore …` shows them), and set {AUTHORITIES}"
            );
            converters.decide(PLACE, &sentence);
        }
    }
    let given = format!("write them into a PEM file, and set {AUTHORITIES}");
    converters.decide("ssl.truststore.certificates", &given);
    converters.without("ssl.truststore.", "belongs to ssl.truststore.location");
}

/// What the converter shows of itself, and what else TLS is told.
fn shown(converters: &mut Converters<'_, '_>) {
    const NAMES: &str = "ssl.endpoint.identification.algorithm";
    for name in ["ssl.keystore.location", "ssl.keystore.key"] {
        let sentence = format!(
            "Tailwater shows the registry no certificate of its own; log in with {LOG_IN}, or {TOKEN}"
        );
        converters.decide(name, &sentence);
    }
    for prefix in ["ssl.keystore.", "ssl.key."] {
        converters.without(prefix, "belongs to the certificate of the client");
    }
    // Without a value, the converter does not look at the name.
    let properties = converters.properties(NAMES);
    let is_off = |it: &String| converters.reading.peek(it).is_none();
    match properties.iter().any(is_off) {
        false => converters.taken(NAMES, "as Tailwater does"),
        true => converters.note(
            NAMES,
            Verdict::NoCounterpart,
            "the registry's certificate must always be one for its host",
        ),
    }
    converters.without(
        "ssl.",
        "TLS is of version 1.2 or 1.3, with its usual ciphers",
    );
}

/// The way back.
pub(super) fn back(both: &mut dyn FnMut(&str, &str), registry: &Registry) -> Vec<String> {
    both(URL, &registry.url);
    match &registry.credentials {
        Credentials::None => {}
        Credentials::Basic { username, password } => {
            both("basic.auth.credentials.source", "USER_INFO");
            let info = format!("{username}:{}", password.expose());
            both("basic.auth.user.info", &info);
        }
        Credentials::Bearer(token) => {
            both("bearer.auth.credentials.source", "STATIC_TOKEN");
            both("bearer.auth.token", token.expose());
        }
    }
    let authorities = registry.ca_location.as_ref().map(|_| {
        format!(
            "{AUTHORITIES} is left out: the converter reads Java's trust stores, and not PEM; make one with `keytool -importcert`, \
             and name it as schema.registry.ssl.truststore.location of key.converter and value.converter, with its .password"
        )
    });
    authorities.into_iter().collect()
}
