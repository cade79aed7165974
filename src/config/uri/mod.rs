//! The MongoDB connection string: what may be shown of it, what is wrong with it, and what of it reaches
//! the driver.

mod options;
#[cfg(test)]
mod tests;

use super::file;
use super::patterns::database_problem;
use super::shown::HIDDEN;
use crate::log::Escaped;
use mongodb::error::ErrorKind;
use mongodb::options::ConnectionString;
use std::path::Path;

/// More than a file of certificates has, in bytes.
pub(super) const PEM_LIMIT: u64 = 16 << 20;

/// A connection string that was read.
#[derive(Debug)]
pub(super) struct Uri {
    /// As the driver takes it: without the options that would do nothing.
    pub text: String,
    /// The database of the path.
    pub database: Option<String>,
    /// What was left out, in sentences.
    pub left_out: Vec<String>,
}

/// Its parts, where the borders between them are beyond doubt.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub scheme: &'a str,
    pub userinfo: Option<&'a str>,
    pub addresses: &'a str,
    pub path: Option<&'a str>,
    pub options: Option<&'a str>,
}

/// Reads a connection string.
///
/// # Errors
/// All that is wrong and what would be right: nothing of the string but hosts and the database.
pub(super) fn read(uri: &str) -> Result<Uri, Vec<String>> {
    let parts = split(uri).map_err(|sentence| vec![sentence.to_owned()])?;
    let options::Options {
        kept,
        left_out,
        mut problems,
    } = options::sort(parts.options.unwrap_or_default());
    problems.extend(kept.iter().filter_map(|option| file_problem(option)));
    let text = parts.with_options(&kept);
    // Each option was taken alone, so that what the driver says now is about how they go together, about the
    // hosts or about the database.
    match ConnectionString::parse(&text) {
        Ok(parsed) if problems.is_empty() => Ok(Uri {
            text,
            database: parsed.default_database,
            left_out,
        }),
        Ok(_) => Err(problems),
        Err(error) => {
            let reason = match &*error.kind {
                ErrorKind::InvalidArgument { message, .. } => message.clone(),
                other => other.to_string(),
            };
            problems.push(format!(
                "{}; give mongodb://host:port/database",
                Escaped(reason)
            ));
            Err(problems)
        }
    }
}

/// The string with its hosts and its database alone: user, password and options may all be secrets. What does
/// not look like a connection string, or like one with a character that is not escaped, is hidden as a whole.
pub(super) fn redact(uri: &str) -> String {
    let Ok(parts) = split(uri) else {
        return match SCHEMES.iter().find(|scheme| uri.starts_with(*scheme)) {
            Some(scheme) => format!("{scheme}{HIDDEN}"),
            None => HIDDEN.to_owned(),
        };
    };
    let mut shown = format!("{}://", parts.scheme);
    if parts.userinfo.is_some() {
        shown.push_str(HIDDEN);
        shown.push('@');
    }
    shown.push_str(parts.addresses);
    if let Some(path) = parts.path {
        shown.push('/');
        shown.push_str(match database_problem(path) {
            Some(_) if !is_own(path) => HIDDEN,
            _ => path,
        });
    }
    if parts.options.is_some_and(|options| !options.is_empty()) {
        shown.push('?');
        shown.push_str(HIDDEN);
    }
    shown
}

const SCHEMES: [&str; 2] = ["mongodb://", "mongodb+srv://"];

/// MongoDB's own databases: not to be watched, but well known.
fn is_own(database: &str) -> bool {
    matches!(database, "admin" | "local" | "config")
}

/// Hides what could be credentials inside any text, such as a connection string pasted into the
/// wrong variable, or a key.
pub(super) fn scrub(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return HIDDEN.to_owned();
    }
    if let Some((scheme, _)) = text.split_once("://") {
        // Whatever comes behind it may be a secret, or be cut at a wrong place.
        return match text.contains('@') || scheme.starts_with("mongodb") {
            true => format!("{scheme}://{HIDDEN}"),
            false => text.to_owned(),
        };
    }
    match text.rsplit_once('@') {
        // JSON may well hold a colon and then an `@`.
        Some((userinfo, place)) if userinfo.contains(':') && !text.starts_with(['[', '{']) => {
            format!("{HIDDEN}@{place}")
        }
        _ => text.to_owned(),
    }
}

impl Parts<'_> {
    fn with_options(&self, kept: &[String]) -> String {
        let mut text = format!("{}://", self.scheme);
        if let Some(userinfo) = self.userinfo {
            text.push_str(userinfo);
            text.push('@');
        }
        text.push_str(self.addresses);
        if let Some(path) = self.path {
            text.push('/');
            text.push_str(path);
        }
        if !kept.is_empty() {
            // Older servers of the specification ask for the slash.
            if self.path.is_none() {
                text.push('/');
            }
            text.push('?');
            text.push_str(&kept.join("&"));
        }
        text
    }
}

/// Finds the borders between the parts. A character that should have been escaped shifts them, and then a
/// part of the password could be taken for a host or an option.
///
/// # Errors
/// What is wrong and what would be right, without anything of the string.
pub fn split(uri: &str) -> Result<Parts<'_>, &'static str> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("is no connection string; give mongodb://host:port/database");
    };
    if scheme != "mongodb" && scheme != "mongodb+srv" {
        return Err("begins with another scheme; give mongodb:// or mongodb+srv://");
    }
    if uri.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("holds a space or an end of line; give it on one line, with spaces as %20");
    }
    let (place, options) = match rest.split_once('?') {
        Some((place, options)) => (place, Some(options)),
        None => (rest, None),
    };
    let (userinfo, place) = match place.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, place),
    };
    let is_escaped = userinfo.is_none_or(|userinfo| {
        !userinfo.contains(['/', '@', '[', ']', '#'])
            && userinfo.matches(':').count() <= 1
            && is_percent_encoded(userinfo)
    });
    // An `@` among the options may as well be the end of a password with a `?`.
    if !is_escaped || options.is_some_and(|options| options.contains('@')) {
        return Err(
            "the user name, password or an option holds a character that has a meaning in a URI; \
             write : as %3A, / as %2F, ? as %3F, # as %23, @ as %40, % as %25",
        );
    }
    let (addresses, path) = match place.split_once('/') {
        Some((addresses, path)) => (addresses, Some(path)),
        None => (place, None),
    };
    if addresses.is_empty() {
        return Err("names no host; give mongodb://host:port/database");
    }
    if !addresses.split(',').all(is_address) {
        return Err(
            "a host cannot be read, or its port is no number; give mongodb://host:27017/database, \
             and a user and password before an @",
        );
    }
    Ok(Parts {
        scheme,
        userinfo,
        addresses,
        path,
        options,
    })
}

/// Whether each `%` begins a pair of hexadecimal digits.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// A host's name or address with or without a port, or a socket.
fn is_address(address: &str) -> bool {
    if address.ends_with(".sock") {
        return is_percent_encoded(address);
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(ip, port)| {
            ip.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(is_name) && port.is_none_or(is_port)
}

/// What is wrong with the file that an option names. The path is not told: it could be a secret.
fn file_problem(option: &str) -> Option<String> {
    let (name, value) = option.split_once('=')?;
    if !matches!(name, "tlsCAFile" | "tlsCertificateKeyFile") {
        return None;
    }
    let refusal = file::probe(Path::new(&decoded(value)), PEM_LIMIT).err()?;
    Some(format!(
        "the file of its option {name} {refusal}; give the path of a PEM file"
    ))
}

/// The text without its percent-encoding.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
