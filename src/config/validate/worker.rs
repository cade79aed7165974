//! `WORKER_*`: what a worker takes from the environment. What is in its handlers' file is its own to say.

use super::listeners::collection;
use super::operations;
use crate::config::check::Check;
use crate::config::worker::AuthoritiesFile;
use crate::config::{HandlersFile, Worker, file, table};
use std::path::PathBuf;
use std::time::Duration;

/// More than a file of handlers or of authorities has, in bytes.
const LARGEST: u64 = 1 << 20;

pub(super) fn worker(check: &mut Check<'_>) -> Worker {
    let variable = &table::WORKER_TOPICS;
    let mut topics = check.list(variable);
    if topics.is_empty() {
        topics.extend(variable.default_value().map(str::to_owned));
    }
    for topic in &topics {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        if let Some(c) = topic.chars().find(|c| !legal(*c)) {
            let sentence = format!("Kafka allows no {c:?} in a topic's name");
            check.wrong(variable, sentence);
        }
    }
    let variable = &table::WORKER_GROUP;
    let group = check.text(variable).unwrap_or_default();
    let group = operations::name(check, variable, group);
    // A topic is named after it.
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !group.is_empty() && !group.chars().all(legal) {
        let sentence = format!(
            "is part of a topic's name, and Kafka allows only letters, digits, ., _ and - there; {}",
            variable.right()
        );
        check.wrong(variable, sentence);
    }
    Worker {
        topics,
        group,
        concurrency: check.number(&table::WORKER_CONCURRENCY).unwrap_or_default(),
        handlers: handlers(check),
        allows_private: check.flag(&table::WORKER_ALLOW_PRIVATE),
        tls_ca: authorities(check),
        failed_events: collection(check, &table::FAILED_EVENTS_COLLECTION, "failed events"),
        status: collection(
            check,
            &table::WORKER_STATUS_COLLECTION,
            "the status of jobs",
        ),
        status_kept: Duration::from_secs(
            24 * 60
                * 60
                * check
                    .number::<u64>(&table::WORKER_STATUS_DAYS)
                    .unwrap_or_default(),
        ),
    }
}

fn handlers(check: &mut Check<'_>) -> Option<HandlersFile> {
    let variable = &table::WORKER_HANDLERS;
    let path = PathBuf::from(check.given(variable)?);
    let read = file::read(&path, LARGEST).map_err(|refusal| refusal.to_string());
    let text =
        read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned()));
    match text {
        Ok(text) => Some(HandlersFile { path, text }),
        Err(problem) => {
            check.wrong(variable, format!("{problem}; {}", variable.right()));
            None
        }
    }
}

fn authorities(check: &mut Check<'_>) -> Option<AuthoritiesFile> {
    let variable = &table::WORKER_TLS_CA_FILE;
    let path = PathBuf::from(check.given(variable)?);
    match file::read(&path, LARGEST) {
        Ok(pem) => Some(AuthoritiesFile { path, pem }),
        Err(refusal) => {
            check.wrong(variable, format!("{refusal}; {}", variable.right()));
            None
        }
    }
}
