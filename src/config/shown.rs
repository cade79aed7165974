//! What may be shown of a value, and how: on one line, without secrets.

use super::uri;
use super::variable::{Form, Variable};
use crate::log::Escaped;
use std::path::Path;

/// Stands for what is not shown.
pub(super) const HIDDEN: &str = "***";

/// A value as it may be shown beside its variable.
pub(super) fn shown(variable: &Variable, value: &str) -> String {
    match variable.form {
        Form::Secret => HIDDEN.to_owned(),
        Form::Uri => uri::redact(value),
        Form::Path(_) => path(value),
        Form::NewPath(_) => new_path(value),
        _ => quote(value),
    }
}

/// The path of something that is there; anything else could be a secret that was put where a path belongs.
pub(super) fn path(text: &str) -> String {
    match Path::new(text).exists() {
        true => quote(text),
        false => HIDDEN.to_owned(),
    }
}

/// The same for a file that is made where it is missing: its folder has to be there.
fn new_path(text: &str) -> String {
    let folder = Path::new(text).parent();
    let is_there = folder.is_some_and(|folder| {
        // The working directory, or a folder below the root.
        folder.as_os_str().is_empty() || (folder.parent().is_some() && folder.is_dir())
    });
    match is_there {
        true => quote(text),
        false => path(text),
    }
}

/// A value, or a part of one, as it may be shown in a sentence: on one line, not too long, without
/// credentials pasted into the wrong place, and of a resume token only the beginning, since the rest
/// holds a document's key.
pub(super) fn quote(text: &str) -> String {
    let scrubbed = uri::scrub(text);
    let is_token = scrubbed
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("token:"));
    let limit = if is_token { 14 } else { 200 };
    let cut = scrubbed.char_indices().nth(limit).map(|(at, _)| at);
    let mut shown = Escaped(&scrubbed[..cut.unwrap_or(scrubbed.len())]).to_string();
    if cut.is_some() {
        shown.push('…');
    }
    shown
}
