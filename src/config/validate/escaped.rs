//! Lists whose entries may hold what separates them, behind a backslash.

use crate::config::check::Check;
use crate::config::variable::Variable;

/// Where `separator` stands without a backslash before it.
fn places(text: &str, separator: char) -> Vec<usize> {
    let mut places = Vec::new();
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == separator => places.push(at),
            _ => {}
        }
    }
    places
}

/// What stands between the commas, with its backslashes; no empty entries.
pub(super) fn entries<'a>(check: &mut Check<'a>, variable: &Variable) -> Vec<&'a str> {
    let Some(text) = check.given(variable) else {
        return Vec::new();
    };
    if check.refuse_uri(variable) {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for at in places(text, ',') {
        parts.push(text[from..at].trim());
        from = at + 1;
    }
    parts.push(text[from..].trim());
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        check.wrong(variable, format!("names nothing; {}", variable.right()));
    }
    parts
}

/// What is before the first separator, and what is behind it.
pub(super) fn split_first(text: &str, separator: char) -> Option<(&str, &str)> {
    let at = *places(text, separator).first()?;
    Some((text[..at].trim(), text[at + 1..].trim()))
}

/// What is before the last separator, and what is behind it.
pub(super) fn split_last(text: &str, separator: char) -> Option<(&str, &str)> {
    let at = *places(text, separator).last()?;
    Some((text[..at].trim(), text[at + 1..].trim()))
}

/// The text without the backslashes that stand before separators.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut is_escaped = false;
    for c in text.chars() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            c => {
                plain.push(c);
                is_escaped = false;
            }
        }
    }
    plain
}
