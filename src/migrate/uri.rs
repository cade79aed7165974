//! What is taken from a connector's URI, and what of its properties is put into it.
//!
//! What is no URI stays as it is: the configuration that it comes to says what is wrong with it.

use crate::config::split_uri as split;

/// The URI with its path as the database to authenticate against, since a path is the database to watch here.
pub(super) fn without_path(uri: &str) -> String {
    let Ok(parts) = split(uri) else {
        return uri.to_owned();
    };
    let Some(path) = parts.path.filter(|path| !path.is_empty()) else {
        return uri.to_owned();
    };
    let before = &uri[..uri.len() - parts.options.map_or(0, |options| options.len() + 1)];
    let without = &before[..before.len() - path.len()];
    let uri = match parts.options.filter(|options| !options.is_empty()) {
        Some(options) => format!("{without}?{options}"),
        None => without.to_owned(),
    };
    match parts.userinfo {
        Some(_) => with_options(&uri, &[format!("authSource={path}")]),
        None => uri,
    }
}

/// Adds options that the URI does not have.
pub(super) fn with_options(uri: &str, options: &[String]) -> String {
    let Ok(parts) = split(uri) else {
        return uri.to_owned();
    };
    let given: Vec<_> = parts
        .options
        .iter()
        .flat_map(|all| all.split('&'))
        .collect();
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let is_new = |option: &&String| {
        let is_given = |given: &&str| name(given).eq_ignore_ascii_case(&name(option));
        !given.iter().any(is_given)
    };
    let mut uri = uri.to_owned();
    let mut separator = match (parts.options, parts.path) {
        (Some(""), _) => "",
        (Some(_), _) => "&",
        (None, Some(_)) => "?",
        (None, None) => "/?",
    };
    for option in options.iter().filter(is_new) {
        uri = format!("{uri}{separator}{option}");
        separator = "&";
    }
    uri
}

/// The URI with a user and a password, where it has none.
pub(super) fn with_credentials(uri: &str, user: &str, password: &str) -> String {
    match split(uri) {
        Ok(parts) if parts.userinfo.is_none() => {
            let rest = &uri[parts.scheme.len() + "://".len()..];
            let (user, password) = (encoded(user), encoded(password));
            format!("{}://{user}:{password}@{rest}", parts.scheme)
        }
        _ => uri.to_owned(),
    }
}

/// The hosts of a URI as the Java driver tells them: sorted, without credentials.
pub(super) fn hosts(uri: &str) -> Option<String> {
    let parts = split(uri).ok()?;
    let mut hosts: Vec<_> = parts.addresses.split(',').collect();
    hosts.sort_unstable();
    Some(format!("{}://{}", parts.scheme, hosts.join(",")))
}

/// As a URI holds it.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{hosts, with_credentials, with_options, without_path};

    #[test]
    fn a_path_becomes_the_database_to_authenticate_against() {
        for (uri, without) in [
            ("mongodb://h", "mongodb://h"),
            ("mongodb://h/", "mongodb://h/"),
            ("mongodb://h/d", "mongodb://h/"),
            ("mongodb://u:p@h/d?w=1", "mongodb://u:p@h/?w=1&authSource=d"),
            (
                "mongodb://u:p@h/d?authSource=a",
                "mongodb://u:p@h/?authSource=a",
            ),
        ] {
            assert_eq!(without_path(uri), without);
        }
    }

    #[test]
    fn hosts_are_told_without_credentials_in_their_order() {
        assert_eq!(
            hosts("mongodb://u:p@b:2,a:1/d?x=y").unwrap(),
            "mongodb://a:1,b:2"
        );
        assert_eq!(hosts("mongodb+srv://u@h?x").unwrap(), "mongodb+srv://h");
    }

    #[test]
    fn what_is_there_is_not_given_twice() {
        let options = ["authSource=admin".to_owned(), "tls=true".to_owned()];
        for (uri, with) in [
            ("mongodb://h", "mongodb://h/?authSource=admin&tls=true"),
            ("mongodb://h/d", "mongodb://h/d?authSource=admin&tls=true"),
            (
                "mongodb://h/?authsource=x",
                "mongodb://h/?authsource=x&tls=true",
            ),
        ] {
            assert_eq!(with_options(uri, &options), with);
        }
        let with = |uri| with_credentials(uri, "u@x", "p:1");
        assert_eq!(with("mongodb://h/d"), "mongodb://u%40x:p%3A1@h/d");
        assert_eq!(with("mongodb://a:b@h/d"), "mongodb://a:b@h/d");
    }
}
