//! `ENVELOPE_RENAME`, `ENVELOPE_FIELDS`, `EXTRA_HEADERS`.

use super::escaped::{entries, plain, split_first};
use crate::config::check::Check;
use crate::config::format::Format;
use crate::config::pairs::Pairs;
use crate::config::shown::quote;
use crate::config::{Envelope, table};

/// What headers of others begin with: those of this format, of CloudEvents, and of Debezium.
const TAKEN: [&str; 3] = ["tw-", "ce_", "__debezium."];

/// How the envelope differs from the usual one; none where it does not.
pub(super) fn envelope(check: &mut Check<'_>, format: &Format) -> Option<Envelope> {
    let envelope = Envelope {
        names: names(check),
        fields: fields(check),
    };
    let has_transactions = check.flag(&table::TRANSACTION_METADATA);
    let twice = |name: &str| {
        let is_there = |field: &&&str| **field != "transaction" || has_transactions;
        let known = Envelope::FIELDS.iter().filter(is_there);
        let of_envelope = known.filter(|field| envelope.name_of(field) == name);
        let more = envelope.fields.iter().filter(|(field, _)| field == name);
        of_envelope.count() + more.count() > 1
    };
    if let Some((_, name)) = envelope.names.iter().find(|(_, name)| twice(name)) {
        let sentence = format!(
            "{}: two fields of the envelope would have this name; give each one of its own",
            quote(name)
        );
        check.wrong(&table::ENVELOPE_RENAME, sentence);
    }
    if let Some((name, _)) = envelope.fields.iter().find(|(name, _)| twice(name)) {
        let sentence = format!(
            "{}: the envelope has a field of this name; give another",
            quote(name)
        );
        check.wrong(&table::ENVELOPE_FIELDS, sentence);
    }
    let has_envelope = matches!(format, Format::Tailwater | Format::CloudEvents(_));
    (has_envelope && envelope != Envelope::default()).then_some(envelope)
}

fn names(check: &mut Check<'_>) -> Vec<(&'static str, String)> {
    let variable = &table::ENVELOPE_RENAME;
    let mut names: Vec<(&str, String)> = Vec::new();
    for entry in entries(check, variable) {
        let Some((field, name)) = split_first(entry, '=') else {
            let sentence = format!(
                "{}: says no new name; {}",
                quote(&plain(entry)),
                variable.right()
            );
            check.wrong(variable, sentence);
            continue;
        };
        let (field, name) = (plain(field), plain(name));
        let Some(known) = Envelope::FIELDS.iter().find(|known| **known == field) else {
            let sentence = format!(
                "{}: the envelope has no such field; its fields are {}",
                quote(&field),
                Envelope::FIELDS.join(", ")
            );
            check.wrong(variable, sentence);
            continue;
        };
        if name.is_empty() || names.iter().any(|(other, _)| other == known) {
            let sentence = format!("{}: give it one new name", quote(&field));
            check.wrong(variable, sentence);
            continue;
        }
        names.push((known, name));
    }
    names
}

fn fields(check: &mut Check<'_>) -> Vec<(String, String)> {
    let variable = &table::ENVELOPE_FIELDS;
    let Some(text) = check.given(variable) else {
        return Vec::new();
    };
    if check.refuse_uri(variable) {
        return Vec::new();
    }
    // The parser's message quotes the value.
    match serde_json::from_str::<Pairs>(text) {
        Ok(Pairs(fields)) if !fields.is_empty() => fields
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect(),
        _ => {
            let sentence = format!(
                "is no JSON object with fields; {}, in a .env file in single quotes",
                variable.right()
            );
            check.wrong(variable, sentence);
            Vec::new()
        }
    }
}

/// Headers that each record of the configuration's topics has.
pub(super) fn headers(check: &mut Check<'_>) -> Vec<(String, String)> {
    let variable = &table::EXTRA_HEADERS;
    let mut headers: Vec<(String, String)> = Vec::new();
    for entry in entries(check, variable) {
        let Some((name, value)) = split_first(entry, '=') else {
            let sentence = format!(
                "{}: has no value; {}",
                quote(&plain(entry)),
                variable.right()
            );
            check.wrong(variable, sentence);
            continue;
        };
        let (name, value) = (plain(name), plain(value));
        let lower = name.to_ascii_lowercase();
        let problem = if name.is_empty() || name.contains(char::is_control) {
            Some("is no name of a header")
        } else if TAKEN.iter().any(|taken| lower.starts_with(taken)) || lower == "content-type" {
            Some("such headers are those of the format; give another name")
        } else if headers.iter().any(|(known, _)| *known == name) {
            Some("is given twice")
        } else {
            None
        };
        match problem {
            Some(problem) => check.wrong(variable, format!("{}: {problem}", quote(&name))),
            None => headers.push((name, value)),
        }
    }
    headers
}
