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
    if userinfo.is_some_and(|userinfo| userinfo.contains('?')) {
        // Either the password holds a `?` or an option an `@`: nothing tells which.
        return format!("{scheme}://***");
    }
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
            None if userinfo.contains('/') => shown.push_str("***@"),
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
    // `user:password` with the host forgotten looks like a host with an odd port, and what follows
    // may then still be the password.
    if !addresses.split(',').all(is_address) {
        shown.push_str("***");
        return shown;
    }
    shown.push_str(addresses);
    if let Some(path) = path {
        shown.push('/');
        shown.push_str(path);
    }
    let mut mark = '?';
    for option in options.into_iter().flat_map(|options| options.split('&')) {
        shown.push(mark);
        mark = '&';
        let name = option.split('=').next().unwrap_or_default();
        if is_secret_option(name) {
            // An unescaped `&` in the secret would make the rest of it an option of its own.
            shown.push_str(name);
            shown.push_str("=***");
            break;
        }
        shown.push_str(option);
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

fn is_secret_option(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "mechanismproperties", "secret", "token"]
        .iter()
        .any(|word| name.contains(word))
}

/// Hides what could be credentials inside any text, such as a connection string pasted into the
/// wrong variable.
pub(super) fn scrub(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else {
        return text.to_owned();
    };
    let start = before.find("://").map(|at| at + "://".len());
    // Without a scheme, JSON may well hold a colon and then an `@`.
    if start.is_none() && text.starts_with(['[', '{']) {
        return text.to_owned();
    }
    let (scheme, userinfo) = before.split_at(start.unwrap_or_default());
    match userinfo.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:***@{after}"),
        None => text.to_owned(),
    }
}

/// Reads the database of the path.
///
/// # Errors
/// What is wrong, without a word of the credentials, and what would be right.
pub(super) fn database(uri: &str) -> Result<Option<String>, String> {
    structure(uri)?;
    let parsed = mongodb::options::ConnectionString::parse(uri).map_err(|error| {
        let reason = match &*error.kind {
            mongodb::error::ErrorKind::InvalidArgument { message, .. } => message.clone(),
            other => other.to_string(),
        };
        // The driver quotes the option it dislikes, which may be the rest of a secret one.
        let secret_option = uri
            .split_once('?')
            .is_some_and(|(_, options)| options.split(['&', '=']).any(is_secret_option));
        if secret_option {
            "one of the options is wrong, or is there twice; check their names and values (a & in \
             a secret is written %26)"
                .to_owned()
        } else {
            let password = uri
                .rsplit_once('@')
                .and_then(|(before, _)| Some(before.split_once("://")?.1.split_once(':')?.1))
                .filter(|password| !password.is_empty());
            let reason = match password {
                Some(password) => reason.replace(password, "***"),
                None => reason,
            };
            format!("{reason}; give mongodb://host:port/database")
        }
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
    // An `@` among the options may as well be the end of a password with a `?`.
    if !escaped || options.contains('@') {
        return Err(
            "the user name, password or an option holds a character that has a meaning in a URI; \
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
