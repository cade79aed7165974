//! The MongoDB connection string: what may be shown of it, and what is wrong with it.

/// The string with everything hidden that is or could be a secret: the password, and options that
/// carry one. What does not look like a connection string is hidden as a whole.
pub(super) fn redact(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return if uri.contains(['@', ':']) {
            "***".to_owned()
        } else {
            uri.to_owned()
        };
    };
    // A password with an unescaped `?` or `/` shifts every border, so the last `@` is taken.
    let (userinfo, place) = match rest.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, rest),
    };
    let (hosts, options) = match place.split_once('?') {
        Some((hosts, options)) => (hosts, Some(options)),
        None => (place, None),
    };
    let mut shown = format!("{scheme}://");
    if let Some(userinfo) = userinfo {
        match userinfo.split_once(':') {
            Some((user, _)) => {
                shown.push_str(user);
                shown.push_str(":***@");
            }
            None if userinfo.contains(['/', '?']) => shown.push_str("***@"),
            None => {
                shown.push_str(userinfo);
                shown.push('@');
            }
        }
    }
    let (addresses, path) = match hosts.split_once('/') {
        Some((addresses, path)) => (addresses, Some(path)),
        None => (hosts, None),
    };
    // `user:password` with the host forgotten looks like a host with an odd port.
    if addresses.split(',').all(is_address) {
        shown.push_str(addresses);
    } else {
        shown.push_str("***");
    }
    if let Some(path) = path {
        shown.push('/');
        shown.push_str(path);
    }
    if let Some(options) = options {
        let options: Vec<_> = options.split('&').map(redact_option).collect();
        shown.push('?');
        shown.push_str(&options.join("&"));
    }
    shown
}

fn is_address(address: &str) -> bool {
    if address.starts_with('[') || address.ends_with(".sock") {
        return true;
    }
    address
        .split_once(':')
        .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

fn redact_option(option: &str) -> String {
    let name = option.split('=').next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let secret = ["password", "mechanismproperties", "secret", "token"]
        .iter()
        .any(|word| lower.contains(word));
    if secret {
        format!("{name}=***")
    } else {
        option.to_owned()
    }
}

/// Hides the credentials of any connection string inside a text, such as one pasted into the
/// wrong variable.
pub(super) fn scrub(text: &str) -> String {
    if text.contains("://") && text.contains('@') {
        redact(text)
    } else {
        text.to_owned()
    }
}

/// Reads the database of the path.
///
/// # Errors
/// What is wrong, without a word of the credentials, and what would be right.
pub(super) fn database(uri: &str) -> Result<Option<String>, String> {
    structure(uri)?;
    let parsed = mongodb::options::ConnectionString::parse(uri).map_err(|error| {
        let mut reason = match &*error.kind {
            mongodb::error::ErrorKind::InvalidArgument { message, .. } => message.clone(),
            other => other.to_string(),
        };
        for secret in secrets(uri) {
            reason = reason.replace(&secret, "***");
        }
        format!("{reason}; give mongodb://host:port/database")
    })?;
    Ok(parsed.default_database)
}

/// Checks the borders between the parts, so that the driver's own message about one part can hold
/// nothing of another.
fn structure(uri: &str) -> Result<(), String> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("is no connection string; give mongodb://host:port/database".into());
    };
    if scheme != "mongodb" && scheme != "mongodb+srv" {
        return Err("begins with another scheme; give mongodb:// or mongodb+srv://".into());
    }
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (userinfo, place) = match place.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, place),
    };
    let escaped = userinfo.is_none_or(|userinfo| {
        !userinfo.contains(['/', '@', '[', ']', '#', ' ']) && userinfo.matches(':').count() <= 1
    });
    if !escaped || (userinfo.is_none() && options.contains('@')) {
        return Err(
            "the user name or password holds a character that has a meaning in a URI; \
             write : as %3A, / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
                .into(),
        );
    }
    let addresses = place.split('/').next().unwrap_or_default();
    if addresses.is_empty() {
        return Err("names no host; give mongodb://host:port/database".into());
    }
    if !addresses.split(',').all(is_address) {
        return Err(
            "a port is no number; give mongodb://host:27017/database, and a user and password \
             before an @"
                .into(),
        );
    }
    let unsupported = options.split('&').any(|option| {
        option
            .split('=')
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("socketTimeoutMS"))
    });
    if unsupported {
        return Err(
            "socketTimeoutMS is not supported: each read has a deadline of its own; take the \
             option out"
                .into(),
        );
    }
    Ok(())
}

/// What must not appear in a message about this string.
fn secrets(uri: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    if let Some((userinfo, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = userinfo.split_once(':')
        && !password.is_empty()
    {
        secrets.push(password.to_owned());
    }
    if let Some((_, options)) = rest.split_once('?') {
        for option in options.split('&') {
            if redact_option(option) != option
                && let Some((_, value)) = option.split_once('=')
                && !value.is_empty()
            {
                secrets.push(value.to_owned());
            }
        }
    }
    secrets
}
