//! Listeners: where they are, and what does not go together with them.

use super::schedules;
use crate::change::namespace::Namespace;
use crate::config::check::Check;
use crate::config::file;
use crate::config::patterns::database_problem;
use crate::config::variable::Variable;
use crate::config::{Bootstrap, Listeners, Source, StartAt, table};
use std::path::PathBuf;

/// The variables that ask for records to the configuration's own topics.
const TOPICS: [&Variable; 7] = [
    &table::KAFKA_DB_CHANGES_TOPIC,
    &table::KAFKA_TOPIC_INSERT,
    &table::KAFKA_TOPIC_UPDATE,
    &table::KAFKA_TOPIC_REPLACE,
    &table::KAFKA_TOPIC_DELETE,
    &table::KAFKA_TOPIC_DDL,
    &table::KAFKA_TOPIC_PREFIX,
];

/// Reads `LISTENERS_COLLECTION` and what goes with it; none where it is not set, or wrong.
pub(super) fn listeners(check: &mut Check<'_>, source: &Source) -> Option<Listeners> {
    let variable = &table::LISTENERS_COLLECTION;
    if check.given(variable).is_none() {
        let with_schedules = schedules::are_given(check);
        for (variable, has_effect) in [
            (&table::LISTENERS_TOPICS, with_schedules),
            (&table::LISTENERS_BOOTSTRAP, false),
        ] {
            if check.given(variable).is_some() && !has_effect {
                check.warn(variable, "has no effect without LISTENERS_COLLECTION");
            }
        }
        return None;
    }
    let at = collection(check, variable, "listeners")?;
    let topics = allowed_topics(check);
    let beside_topics = TOPICS
        .iter()
        .any(|variable| check.given(variable).is_some());
    if !beside_topics {
        for variable in [&table::WATCH_COLLECTIONS, &table::WATCH_OPERATIONS] {
            if check.given(variable).is_some() {
                check.warn(
                    variable,
                    "has no effect: with LISTENERS_COLLECTION and no KAFKA_TOPIC_*, only listeners get \
                     records, and each names its collection and operations",
                );
            }
        }
    }
    let known = ["$match", "$redact"];
    for stage in &source.user_pipeline {
        let name = stage.keys().next().map_or("", String::as_str);
        if !known.contains(&name) {
            check.wrong(
                &table::CHANGE_STREAM_PIPELINE,
                format!(
                    "{name} would change the listeners' own events, which come by the same stream; beside \
                     LISTENERS_COLLECTION only $match and $redact are allowed"
                ),
            );
        }
    }
    if let StartAt::Time(seconds) = source.start_at
        && i64::from(seconds) > jiff::Timestamp::now().as_second()
    {
        check.wrong(
            &table::START_AT,
            "is in the future, and changes of listeners until then would be missed; give a time in the past, \
             or now",
        );
    }
    Some(Listeners {
        at,
        topics,
        bootstrap: text_file(check, &table::LISTENERS_BOOTSTRAP),
        reserved: Vec::from_iter(check.text(&table::COORDINATION_TOPIC).map(str::to_owned)),
        beside_topics,
    })
}

/// The collection that a variable names, in which documents of users are kept; none where it names no database.
pub(super) fn collection(
    check: &mut Check<'_>,
    variable: &Variable,
    what: &str,
) -> Option<Namespace> {
    let text = check.given(variable)?;
    let Some((database, collection)) = text.split_once('.') else {
        check.wrong(variable, format!("names no database; {}", variable.right()));
        return None;
    };
    if let Some(problem) = database_problem(database) {
        check.wrong(variable, format!("{problem}; {}", variable.right()));
    }
    if collection.is_empty() || collection.starts_with("system.") || collection.contains('$') {
        check.wrong(
            variable,
            format!(
                "names no collection that {what} can be kept in; give one such as {}",
                variable.example
            ),
        );
    }
    Some(Namespace {
        database: database.to_owned(),
        collection: collection.to_owned(),
    })
}

/// The patterns of topics that jobs may go to.
pub(super) fn allowed_topics(check: &mut Check<'_>) -> Vec<String> {
    let mut topics = check.list(&table::LISTENERS_TOPICS);
    if topics.is_empty() {
        topics.extend(table::LISTENERS_TOPICS.default_value().map(str::to_owned));
    }
    for topic in &topics {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        if let Some(c) = topic.chars().find(|c| !legal(*c)) {
            check.wrong(
                &table::LISTENERS_TOPICS,
                format!("Kafka allows no {c:?} in a topic's name"),
            );
        }
    }
    topics
}

/// More than a file of listeners or schedules has, in bytes.
const LARGEST: u64 = 8 << 20;

/// The file that a variable names, as it is now.
pub(super) fn text_file(check: &mut Check<'_>, variable: &Variable) -> Option<Bootstrap> {
    let path = PathBuf::from(check.given(variable)?);
    let read = file::read(&path, LARGEST).map_err(|refusal| refusal.to_string());
    let text =
        read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned()));
    match text {
        Ok(text) => Some(Bootstrap { path, text }),
        Err(problem) => {
            check.wrong(variable, format!("{problem}; {}", variable.right()));
            None
        }
    }
}
