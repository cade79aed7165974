//! What an operator sets: HTTP, logs, names.

use crate::config::check::{Check, parse_flag};
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

/// Levels of other programs' loggers, which are often set for all programs of a machine at once, and the
/// nearest of ours.
const FOREIGN_LEVELS: [(&str, tracing::Level); 11] = [
    ("silent", tracing::Level::ERROR),
    ("off", tracing::Level::ERROR),
    ("fatal", tracing::Level::ERROR),
    ("critical", tracing::Level::ERROR),
    ("warning", tracing::Level::WARN),
    ("notice", tracing::Level::INFO),
    ("log", tracing::Level::INFO),
    ("http", tracing::Level::INFO),
    ("verbose", tracing::Level::DEBUG),
    ("silly", tracing::Level::TRACE),
    ("all", tracing::Level::TRACE),
];

/// `LOG_LEVEL`.
fn level(check: &mut Check<'_>) -> tracing::Level {
    use tracing::Level;
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let variable = &table::LOG_LEVEL;
    let foreign = check.given(variable).and_then(|given| {
        let mut known = FOREIGN_LEVELS.iter();
        known.find(|(word, _)| word.eq_ignore_ascii_case(given))
    });
    match foreign {
        Some((word, level)) => {
            let taken = level.as_str().to_ascii_lowercase();
            let sentence = format!("{word} is taken for {taken}; {}", variable.right());
            check.warn(variable, sentence);
            *level
        }
        None => check.choose(variable, &levels).unwrap_or(Level::INFO),
    }
}

/// `DEBUG`. Other programs read it as well, as a list of what should be shown (`app:*`): that is no reason not
/// to start.
fn debug(check: &mut Check<'_>) -> bool {
    let variable = &table::DEBUG;
    match check.given(variable).map(parse_flag) {
        None => false,
        Some(Ok(is_set)) => is_set,
        Some(Err(_)) => {
            let sentence = "is neither true nor false, and so ignored: it seems to be another program's; \
                            LOG_LEVEL=debug shows more";
            check.warn(variable, sentence);
            false
        }
    }
}

/// `LOG_LEVEL`, `LOG_FORMAT` and `DEBUG`, which only ever adds.
pub(in crate::config) fn log(check: &mut Check<'_>) -> Log {
    let level = level(check);
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: match debug(check) {
            true => level.max(tracing::Level::DEBUG),
            false => level,
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
