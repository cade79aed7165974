//! Topic names: legal, told apart by Kafka, and not used for two things.

use super::format;
use crate::config::check::Check;
use crate::config::patterns::is_literal;
use crate::config::variable::Variable;
use crate::config::{Resume, ResumeBackend, Scope, Source, Topics, table};
use std::collections::BTreeMap;

/// Kafka's limit on a topic's name.
const MAX_LEN: usize = 249;
const PLACEHOLDERS: [&str; 3] = ["{database}", "{collection}", "{operation}"];

pub(super) fn check(check: &mut Check<'_>, source: &Source, topics: &Topics, resume: &Resume) {
    let is_given = check.given(&table::KAFKA_DB_CHANGES_TOPIC).is_some();
    let unified = is_given || format::topic(check).is_some();
    let all = match is_given {
        true => &table::KAFKA_DB_CHANGES_TOPIC,
        false => &table::KAFKA_TOPIC_PREFIX,
    };
    let replace = match check.given(&table::KAFKA_TOPIC_REPLACE) {
        Some(_) => &table::KAFKA_TOPIC_REPLACE,
        None => &table::KAFKA_TOPIC_UPDATE,
    };
    let of = |variable| if unified { all } else { variable };
    let mut uses: Vec<(&Variable, Option<&str>, &str)> = vec![
        (
            of(&table::KAFKA_TOPIC_INSERT),
            Some("insert"),
            &topics.insert,
        ),
        (
            of(&table::KAFKA_TOPIC_UPDATE),
            Some("update"),
            &topics.update,
        ),
        (of(replace), Some("replace"), &topics.replace),
        (
            of(&table::KAFKA_TOPIC_DELETE),
            Some("delete"),
            &topics.delete,
        ),
    ];
    uses.extend(
        topics
            .ddl
            .as_deref()
            .map(|t| (&table::KAFKA_TOPIC_DDL, None, t)),
    );
    uses.extend(
        topics
            .rows
            .as_deref()
            .map(|t| (&table::SNAPSHOT_TOPIC, Some("read"), t)),
    );
    uses.extend(
        topics
            .dead_letter
            .as_deref()
            .map(|t| (&table::KAFKA_DLQ_TOPIC, None, t)),
    );
    uses.extend(
        topics
            .bounds
            .as_deref()
            .map(|t| (&table::DEBEZIUM_TRANSACTION_TOPIC, None, t)),
    );
    if let ResumeBackend::Kafka { topic } = &resume.backend {
        if topic.contains('{') {
            check.wrong(
                &table::RESUME_TOPIC,
                format!("is no topic name; {}", table::RESUME_TOPIC.right()),
            );
        } else {
            uses.push((&table::RESUME_TOPIC, None, topic));
        }
    }

    // One variable may stand for several operations; it is told of its faults once.
    let mut verdicts: BTreeMap<&str, bool> = BTreeMap::new();
    let mut names: BTreeMap<String, (String, &Variable)> = BTreeMap::new();
    let mut clashes: Vec<String> = Vec::new();
    for (variable, operation, template) in uses {
        let legal = *verdicts
            .entry(variable.name)
            .or_insert_with(|| match problem(template) {
                Some(problem) => {
                    check.wrong(variable, format!("{problem}; {}", variable.right()));
                    false
                }
                None => true,
            });
        let expansions = if legal {
            expansions(template, operation, source)
        } else {
            Vec::new()
        };
        for name in expansions {
            // Kafka's metrics write `.` as `_`, so that it refuses the second of such a pair.
            let key = name.replace('.', "_");
            let (other, theirs) = names.entry(key).or_insert((name.clone(), variable));
            if *other != name && !clashes.contains(&name) {
                let sentence = format!(
                    "gives {name} beside {other} of {}, which Kafka cannot tell apart (. and _); \
                     name one differently",
                    theirs.name
                );
                clashes.push(name.clone());
                check.wrong(variable, sentence);
            }
        }
    }
    check_distinct(check, topics, resume);
    check_bounds(check, topics);
}

/// Dead letters, schema changes and checkpoints each need a topic of their own.
fn check_distinct(check: &mut Check<'_>, topics: &Topics, resume: &Resume) {
    let changes = [
        &topics.insert,
        &topics.update,
        &topics.replace,
        &topics.delete,
    ];
    if let ResumeBackend::Kafka { topic } = &resume.backend {
        let others = [
            topics.ddl.as_ref(),
            topics.rows.as_ref(),
            topics.dead_letter.as_ref(),
            topics.bounds.as_ref(),
        ];
        if changes.contains(&topic) || others.contains(&Some(topic)) {
            check.wrong(
                &table::RESUME_TOPIC,
                "is also a topic of records, which compaction would eat; name another topic",
            );
        }
    }
    if let Some(dead) = &topics.dead_letter
        && (changes.contains(&dead)
            || topics.ddl.as_ref() == Some(dead)
            || topics.rows.as_ref() == Some(dead))
    {
        check.wrong(
            &table::KAFKA_DLQ_TOPIC,
            "is also a topic of changes, whose consumers expect no dead letters; name another topic",
        );
    }
}

/// What says where transactions begin and end is no change.
fn check_bounds(check: &mut Check<'_>, topics: &Topics) {
    let mut others = topics.of_records().chain(&topics.dead_letter);
    if let Some(bounds) = &topics.bounds
        && others.any(|other| other == bounds)
    {
        check.wrong(
            &table::DEBEZIUM_TRANSACTION_TOPIC,
            "is also a topic of changes, whose consumers do not expect records of transactions; name another topic",
        );
    }
}

/// What is wrong with the text of a template, if anything.
pub(super) fn problem(template: &str) -> Option<String> {
    let mut literal = template.to_owned();
    for placeholder in PLACEHOLDERS {
        literal = literal.replace(placeholder, "");
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '{' | '}');
    if let Some(illegal) = literal.chars().find(|c| !legal(*c)) {
        return Some(format!("Kafka allows no {illegal:?} in a topic's name"));
    }
    if let Some(at) = literal.find(['{', '}']) {
        let shown: String = literal[at..].chars().take(20).collect();
        return Some(format!("{shown} is no placeholder"));
    }
    if literal.len() > MAX_LEN {
        return Some(format!(
            "has {} characters, and Kafka allows {MAX_LEN}",
            literal.len()
        ));
    }
    if matches!(template, "." | "..") {
        return Some("Kafka allows no such name".to_owned());
    }
    if matches!(template, "__consumer_offsets" | "__transaction_state") {
        return Some("is Kafka's own topic".to_owned());
    }
    None
}

/// The names a template can be seen to give, with what is not known left as its placeholder.
fn expansions(template: &str, operation: Option<&str>, source: &Source) -> Vec<String> {
    let mut name = template.to_owned();
    if let Some(operation) = operation {
        name = name.replace("{operation}", operation);
    }
    let Scope::Database(database) = &source.scope else {
        return vec![name];
    };
    name = name.replace("{database}", &legal_part(database));
    if !name.contains("{collection}") {
        return vec![name];
    }
    let known: Vec<_> = source
        .watch
        .iter()
        .filter(|watched| is_literal(watched))
        .collect();
    if known.is_empty() {
        return vec![name];
    }
    known
        .iter()
        .map(|known| name.replace("{collection}", &legal_part(known)))
        .collect()
}

/// The name of a database or collection as a part of a topic's name.
fn legal_part(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        })
        .collect()
}
