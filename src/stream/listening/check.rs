//! What `tailwater check` says of the listeners.

use super::{check_bootstrap, router};
use crate::change::namespace::Namespace;
use crate::config::StreamSpec;
use crate::error::{Code, Error};
use crate::listener::Set;
use crate::mongo::privileges::{self, Privileges};
use crate::preflight::Finding;
use crate::source::listeners::collection;
use crate::status::listeners::{State, Statuses};
use mongodb::Client;
use std::sync::Arc;

const NAME: &str = "mongodb.listeners";

/// What each right is for, beside reading.
const RIGHTS: [(&str, &str); 3] = [
    ("update", "their status is not written"),
    ("insert", "those of LISTENERS_BOOTSTRAP cannot be created"),
    (
        "createIndex",
        "the index that keeps them apart cannot be made",
    ),
];

/// Looks at the listeners that are there, and at the rights on their collection; nothing without
/// `LISTENERS_COLLECTION`.
pub async fn check(client: &Client, spec: &StreamSpec) -> Vec<Finding> {
    let Some(listeners) = &spec.source.listeners else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Err(error) = check_bootstrap(spec) {
        findings.push(Finding::error(NAME, error.code, error.detail));
    }
    match states(client, spec, &listeners.at).await {
        Ok(more) => findings.extend(more),
        Err(error) => {
            let remedy = format!("grant read on database {}", listeners.at.database);
            findings.push(Finding::error(NAME, error.code, error.detail).remedy(remedy));
            return findings;
        }
    }
    findings.extend(rights(client, &listeners.at).await);
    findings
}

/// Each listener as a stream that begins now would take it.
async fn states(client: &Client, spec: &StreamSpec, at: &Namespace) -> Result<Vec<Finding>, Error> {
    let documents = collection::all(client, at).await?;
    let statuses = Arc::<Statuses>::default();
    let _ = router(spec, Arc::clone(&statuses))?.with_set(Set::found(&at.to_string(), &documents));
    let all = statuses.all();
    let count = |is: fn(&State) -> bool| all.iter().filter(|shown| is(&shown.state)).count();
    let active = count(|state| *state == State::Active);
    let invalid = count(|state| matches!(state, State::Invalid(_)));
    let sentence = format!("{active} of {} listeners in {at} are active", all.len());
    let mut findings = match invalid {
        0 => vec![Finding::ok(NAME, sentence)],
        _ => vec![Finding::warn(
            NAME,
            format!("{sentence}, and {invalid} invalid"),
        )],
    };
    for shown in &all {
        if let Some(reason) = shown.state.reason() {
            findings.push(Finding::warn(NAME, format!("{}: {reason}", shown.name)));
        }
    }
    for (name, reason) in statuses.settings() {
        findings.push(Finding::warn(NAME, format!("settings {name}: {reason}")));
    }
    Ok(findings)
}

async fn rights(client: &Client, at: &Namespace) -> Vec<Finding> {
    let Some(status) = privileges::ask(client).await else {
        let sentence = format!("the server does not say whether this user may write to {at}");
        return vec![Finding::warn(NAME, sentence)];
    };
    let Some(privileges) = Privileges::of(&status).filter(|known| !known.are_unknown()) else {
        return Vec::new();
    };
    let warn = |(action, consequence): &(&'static str, &str)| {
        let lacking = privileges.told_lacking(at, &[*action])?;
        let remedy = format!("grant readWrite on database {}", at.database);
        let finding = Finding::warn(NAME, format!("{lacking}: {consequence}"));
        Some(finding.code(Code::SourceRefused).remedy(remedy))
    };
    RIGHTS.iter().filter_map(warn).collect()
}
