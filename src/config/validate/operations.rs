//! What an operator sets: HTTP, logs, names.

use crate::config::check::Check;
use crate::config::placeholder::is_placeholder;
use crate::config::variable::Variable;
use crate::config::{Http, Log, LogFormat, Secret, table};
use std::net::{Ipv4Addr, SocketAddr};

/// `HTTP_ADDR`.
pub(in crate::config) fn http(check: &mut Check<'_>) -> Http {
    let variable = &table::HTTP_ADDR;
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 3001));
    let Some(text) = check.given(variable) else {
        return Http::Default(default);
    };
    if text.eq_ignore_ascii_case("off") {
        return Http::Off;
    }
    let port = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok());
    if let Some(port) = port {
        return Http::Asked(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    match text.parse() {
        Ok(address) => Http::Asked(address),
        Err(_) => {
            check.wrong(
                variable,
                "is no IP address with a port; give one such as 127.0.0.1:3001, 0.0.0.0:3001 \
                 (from outside, as in a container) or [::1]:3001, or off",
            );
            Http::Default(default)
        }
    }
}

/// `LOG_LEVEL`, `LOG_FORMAT` and `DEBUG`, which only ever adds.
pub(in crate::config) fn log(check: &mut Check<'_>) -> Log {
    use tracing::Level;
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let level = check
        .choose(&table::LOG_LEVEL, &levels)
        .unwrap_or(Level::INFO);
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: if check.flag(&table::DEBUG) {
            level.max(Level::DEBUG)
        } else {
            level
        },
        format: check
            .choose(&table::LOG_FORMAT, &formats)
            .unwrap_or(LogFormat::Text),
    }
}

/// `ADMIN_TOKEN`: it travels in a header, so it must be one line of visible characters.
pub(in crate::config) fn admin_token(check: &mut Check<'_>) -> Option<Secret> {
    let variable = &table::ADMIN_TOKEN;
    let token = check.given(variable)?;
    if token.bytes().any(|b| !b.is_ascii_graphic()) || token.len() < 16 {
        check.wrong(
            variable,
            "must fit into an HTTP header and be hard to guess; give at least 16 visible ASCII \
             characters without spaces",
        );
    } else if is_placeholder(token) {
        check.wrong(
            variable,
            "is a placeholder, which whoever reads the example knows; give a token of your own, such \
             as `openssl rand -hex 32` prints",
        );
    }
    Some(Secret::new(token))
}

/// A name that becomes a key in Kafka, a document's `_id` and a transactional id.
pub(super) fn name(check: &mut Check<'_>, variable: &Variable, text: &str) -> String {
    if check.refuse_uri(variable) {
        return String::new();
    }
    if text.len() > 200 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        check.wrong(variable, format!("is no such name; {}", variable.right()));
    }
    text.to_owned()
}
