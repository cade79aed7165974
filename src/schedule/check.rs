//! What `tailwater check` says of the schedules.

use super::definition::{Kind, Schedule};
use super::{documents, file, set};
use crate::checkpoint;
use crate::config::{Kafka, Schedules};
use crate::error::{Code, Error};
use crate::mongo::privileges::{self, Privileges};
use crate::preflight::Finding;
use crate::sink::topics;
use crate::status::schedules::State;
use bson::Document;
use jiff::Timestamp;
use mongodb::Client;
use std::collections::BTreeSet;

const NAME: &str = "schedules";

/// Looks at the schedules that are there, at the rights on their collection and on those of documents that are due, at
/// the topics of their jobs, and at the topic of how far they are. Nothing is made, written or fenced.
pub async fn check(client: &Client, kafka: &Kafka, config: &Schedules) -> Vec<Finding> {
    let documents = match read(client, config).await {
        Ok(documents) => documents,
        Err(error) => return vec![Finding::error(NAME, error.code, error.detail)],
    };
    let set = set::read(&documents, config, Timestamp::now().as_millisecond());
    let mut findings = states(&set, config);
    let active = || set.schedules.iter().filter(|schedule| schedule.is_active);
    findings.extend(rights(client, config, active().map(AsRef::as_ref)).await);
    let topics: BTreeSet<&String> = active().map(|schedule| &schedule.topic).collect();
    findings.extend(topics::check_jobs(kafka, topics.into_iter().cloned().collect()).await);
    findings.extend(checkpoint::may_keep_schedules(kafka, &config.progress, &config.unit).await);
    findings
}

async fn read(client: &Client, config: &Schedules) -> Result<Vec<Document>, Error> {
    match &config.at {
        Some(at) => documents::all(client, at).await,
        None => file::documents(config),
    }
}

/// Each schedule as an instance that begins now would take it.
fn states(set: &set::Set, config: &Schedules) -> Vec<Finding> {
    let origin = match &config.at {
        Some(at) => at.to_string(),
        None => "SCHEDULES_FILE".to_owned(),
    };
    let all = set.shown.iter().map(|(_, shown)| shown);
    let active = all.clone().filter(|shown| shown.state == State::Active);
    let sentence = format!(
        "{} of {} schedules in {origin} are active",
        active.count(),
        set.shown.len()
    );
    let mut findings = vec![Finding::ok(NAME, sentence)];
    for shown in all {
        if let State::Invalid(reason) = &shown.state {
            findings.push(Finding::warn(NAME, format!("{}: {reason}", shown.name)));
        }
    }
    findings
}

async fn rights(
    client: &Client,
    config: &Schedules,
    active: impl Iterator<Item = &Schedule>,
) -> Vec<Finding> {
    let Some(status) = privileges::ask(client).await else {
        let sentence =
            "the server does not say what this user may do with the collections of schedules";
        return vec![Finding::warn(NAME, sentence)];
    };
    let Some(privileges) = Privileges::of(&status).filter(|known| !known.are_unknown()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Some(at) = &config.at {
        let read = format!("grant read on database {}", at.database);
        if let Some(lacking) = privileges.told_lacking(at, &["changeStream"]) {
            let sentence = format!("{lacking}: schedules are read every second");
            findings.push(warn(sentence, &read));
        }
        if let Some(lacking) = privileges.told_lacking(at, &["update"]) {
            let sentence = format!("{lacking}: their status is not written");
            let write = format!("grant readWrite on database {}", at.database);
            findings.push(warn(sentence, &write));
        }
    }
    for schedule in active {
        if let Kind::Due(due) = &schedule.kind
            && let Some(lacking) = privileges.told_lacking(&due.at, &["find", "changeStream"])
        {
            let sentence = format!("{}: {lacking}", schedule.name);
            let read = format!("grant read on database {}", due.at.database);
            findings.push(Finding::error(NAME, Code::SourceRefused, sentence).remedy(read));
        }
    }
    findings
}

fn warn(sentence: String, remedy: &str) -> Finding {
    Finding::warn(NAME, sentence)
        .code(Code::SourceRefused)
        .remedy(remedy)
}
