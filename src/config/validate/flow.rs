//! Batches, memory, failures, checkpoints.

use super::schedules;
use crate::config::check::Check;
use crate::config::file::{self, Refusal};
use crate::config::patterns::database_problem;
use crate::config::variable::{Variable, size};
use crate::config::{
    Batching, DEPLOYMENT_DATABASE, Delivery, JsonMode, OnHistoryLost, OnMissingTopic,
    OnRecordError, Pipeline, Resume, ResumeBackend, Scope, table,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `budget` is `MAX_IN_FLIGHT_BYTES`.
pub(super) fn pipeline(check: &mut Check<'_>, source_batch: usize, budget: usize) -> Pipeline {
    let on_record_error = [
        ("stop", OnRecordError::Stop),
        ("dlq", OnRecordError::DeadLetter),
        ("skip", OnRecordError::Skip),
    ];
    let on_missing_topic = [
        ("wait", OnMissingTopic::Wait),
        ("record_error", OnMissingTopic::RecordError),
    ];
    let pipeline = Pipeline {
        json_mode: json_mode(check),
        batching: Batching {
            events: check.number(&table::BATCH_SIZE).unwrap_or(1),
            bytes: check.bytes(&table::BATCH_BYTES),
            timeout: check.millis(&table::BATCH_TIMEOUT_MS),
        },
        commit_interval: check.millis(&table::COMMIT_INTERVAL_MS),
        on_record_error: check
            .choose(&table::ON_RECORD_ERROR, &on_record_error)
            .unwrap_or(OnRecordError::Stop),
        on_missing_topic: check
            .choose(&table::ON_MISSING_TOPIC, &on_missing_topic)
            .unwrap_or(OnMissingTopic::Wait),
        on_history_lost: on_history_lost(check),
    };
    for (variable, bytes) in [
        (&table::BATCH_BYTES, pipeline.batching.bytes),
        (&table::SOURCE_BATCH_BYTES, source_batch),
    ] {
        if bytes > budget {
            check.wrong(
                variable,
                format!(
                    "is more than MAX_IN_FLIGHT_BYTES ({}) allows in memory; lower it or raise \
                     MAX_IN_FLIGHT_BYTES",
                    size(budget as u64)
                ),
            );
        }
    }
    pipeline
}

pub(super) fn json_mode(check: &mut Check<'_>) -> JsonMode {
    let modes = [
        ("simple", JsonMode::Simple),
        ("relaxed", JsonMode::Relaxed),
        ("canonical", JsonMode::Canonical),
    ];
    let mode = check.choose(&table::JSON_MODE, &modes);
    mode.unwrap_or(JsonMode::Simple)
}

fn on_history_lost(check: &mut Check<'_>) -> OnHistoryLost {
    let policies = [
        ("stop", OnHistoryLost::Stop),
        ("earliest", OnHistoryLost::Earliest),
        ("latest", OnHistoryLost::Latest),
        ("snapshot", OnHistoryLost::Snapshot),
    ];
    check
        .choose(&table::ON_HISTORY_LOST, &policies)
        .unwrap_or(OnHistoryLost::Stop)
}

#[derive(Clone, Copy, PartialEq)]
enum Store {
    Kafka,
    MongoDb,
    File,
}

/// `is_several` says whether several streams store their checkpoints.
pub(super) fn resume(
    check: &mut Check<'_>,
    scope: &Scope,
    delivery: Delivery,
    is_several: bool,
) -> Resume {
    let stores = [
        ("kafka", Store::Kafka),
        ("mongodb", Store::MongoDb),
        ("file", Store::File),
    ];
    let store = check
        .choose(&table::RESUME_STORE, &stores)
        .unwrap_or(Store::Kafka);
    warn_of_other_stores(check, store);
    if is_several && store == Store::File {
        check.wrong(
            &table::RESUME_STORE,
            "a file holds the checkpoint of one stream, and STREAMS has several; set it to kafka or mongodb",
        );
    }
    if delivery == Delivery::ExactlyOnce && store != Store::Kafka {
        check.wrong(
            &table::DELIVERY,
            "the checkpoint must be in the same Kafka transaction as the records; set \
             RESUME_STORE=kafka, or DELIVERY=at_least_once",
        );
    }
    let backend = match store {
        Store::Kafka => ResumeBackend::Kafka {
            topic: text(check, &table::RESUME_TOPIC),
        },
        Store::MongoDb => mongodb(check, scope),
        Store::File => ResumeBackend::File { path: file(check) },
    };
    Resume { backend }
}

fn mongodb(check: &mut Check<'_>, scope: &Scope) -> ResumeBackend {
    let variable = &table::RESUME_DATABASE;
    let database = match (check.given(variable), scope) {
        (Some(name), _) => {
            // `admin` may hold checkpoints, though it cannot be watched.
            if let Some(problem) = database_problem(name).filter(|_| name != "admin") {
                check.wrong(variable, format!("{problem}; {}", variable.right()));
            }
            name.to_owned()
        }
        (None, Scope::Database(watched)) => watched.clone(),
        (None, Scope::Deployment { .. }) => DEPLOYMENT_DATABASE.to_owned(),
    };
    let collection = text(check, &table::RESUME_COLLECTION);
    if collection.contains(['$', '\0']) || collection.starts_with("system.") {
        check.wrong(
            &table::RESUME_COLLECTION,
            format!(
                "MongoDB allows no collection of this name; {}",
                table::RESUME_COLLECTION.right()
            ),
        );
    }
    let days = check.number::<u64>(&table::RESUME_TTL_DAYS);
    ResumeBackend::MongoDb {
        database,
        collection,
        ttl: days.map(|days| Duration::from_secs(days * 86_400)),
    }
}

/// Far more than a checkpoint has, in bytes.
const CHECKPOINT_LIMIT: u64 = 1 << 20;

/// How long the name of a file may be on the usual file systems, in bytes.
const NAME_LIMIT: usize = 255;

fn file(check: &mut Check<'_>) -> PathBuf {
    let variable = &table::RESUME_FILE;
    let path = PathBuf::from(text(check, variable));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match file::probe(&path, CHECKPOINT_LIMIT) {
        _ if text(check, variable).contains(char::is_control) => check.wrong(
            variable,
            format!("holds control characters; {}", variable.right()),
        ),
        Ok(()) => {}
        Err(Refusal::Missing) if path.file_name().is_some_and(|name| name.len() > NAME_LIMIT) => {
            check.wrong(
                variable,
                format!("is longer than a file's name may be; {}", variable.right()),
            );
        }
        Err(Refusal::Missing) if folder.is_dir() => {}
        Err(Refusal::Missing) => check.wrong(
            variable,
            format!("its folder does not exist; {}", variable.right()),
        ),
        Err(refusal @ Refusal::TooLarge(_)) => check.wrong(
            variable,
            format!(
                "{refusal} and so no checkpoint; name another file, or move this one away, which makes the next \
                 start a first start"
            ),
        ),
        // Who may not read it now may when it is opened: that tells more.
        Err(Refusal::Unreadable(_)) => {}
        Err(refusal) => check.wrong(variable, format!("{refusal}; {}", variable.right())),
    }
    path
}

fn warn_of_other_stores(check: &mut Check<'_>, store: Store) {
    for (variable, of) in [
        (&table::RESUME_TOPIC, Store::Kafka),
        (&table::RESUME_DATABASE, Store::MongoDb),
        (&table::RESUME_COLLECTION, Store::MongoDb),
        (&table::RESUME_TTL_DAYS, Store::MongoDb),
        (&table::RESUME_FILE, Store::File),
    ] {
        let is_of_schedules =
            variable.name == table::RESUME_TOPIC.name && schedules::are_given(check);
        if of != store && check.given(variable).is_some() && !is_of_schedules {
            let name = match of {
                Store::Kafka => "kafka",
                Store::MongoDb => "mongodb",
                Store::File => "file",
            };
            check.warn(
                variable,
                format!("has no effect without RESUME_STORE={name}"),
            );
        }
    }
}

fn text(check: &Check<'_>, variable: &Variable) -> String {
    check.text(variable).unwrap_or_default().to_owned()
}
