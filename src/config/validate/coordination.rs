//! `COORDINATION` and what goes with it.

use super::topics;
use crate::config::check::Check;
use crate::config::coordination::{ConsumerGroup, Coordination, LeaseTimes, Leases};
use crate::config::patterns::{covers, database_problem, is_literal};
use crate::config::{ResumeBackend, Scope, StreamSpec, table};

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    None,
    Kafka,
    MongoDb,
}

/// How instances share `streams`; of these it takes the leases' database away.
pub(super) fn coordination(check: &mut Check<'_>, streams: &mut [StreamSpec]) -> Coordination {
    let modes = [
        ("none", Mode::None),
        ("kafka", Mode::Kafka),
        ("mongodb", Mode::MongoDb),
    ];
    let variable = &table::COORDINATION;
    let mode = check.choose(variable, &modes).unwrap_or(Mode::None);
    if mode != Mode::None {
        check_store(check, streams);
    }
    warn_of_others(check, mode);
    let before = check.problems.len();
    let times = LeaseTimes {
        heartbeat: check.millis(&table::LEASE_HEARTBEAT_MS),
        timeout: check.millis(&table::LEASE_TIMEOUT_MS),
        poll: check.millis(&table::LEASE_POLL_MS),
    };
    let group = group(check, streams);
    // What is wrong by itself has its default, which is not what was meant.
    if mode == Mode::MongoDb && check.problems.len() == before {
        check.problems.extend(times.check());
    }
    match mode {
        Mode::None => Coordination::None,
        Mode::Kafka => Coordination::Kafka(group),
        Mode::MongoDb => {
            let database = lease_database(check, streams);
            Coordination::MongoDb(Leases { database, times })
        }
    }
}

/// A checkpoint store must fence an instance that believes to own a stream still.
fn check_store(check: &mut Check<'_>, streams: &[StreamSpec]) {
    let is_file = |stream: &StreamSpec| matches!(stream.resume.backend, ResumeBackend::File { .. });
    if streams.iter().any(is_file) {
        check.wrong(
            &table::COORDINATION,
            "several instances need checkpoints that all of them reach and that fence the one that has lost \
             its stream, which a file cannot; set RESUME_STORE to kafka or mongodb, or COORDINATION to none",
        );
    }
}

fn warn_of_others(check: &mut Check<'_>, mode: Mode) {
    for (variable, of, name) in [
        (&table::COORDINATION_TOPIC, Mode::Kafka, "kafka"),
        (&table::KAFKA_SESSION_TIMEOUT_MS, Mode::Kafka, "kafka"),
        (&table::LEASE_DATABASE, Mode::MongoDb, "mongodb"),
        (&table::LEASE_HEARTBEAT_MS, Mode::MongoDb, "mongodb"),
        (&table::LEASE_TIMEOUT_MS, Mode::MongoDb, "mongodb"),
        (&table::LEASE_POLL_MS, Mode::MongoDb, "mongodb"),
    ] {
        if of != mode && check.given(variable).is_some() {
            check.warn(
                variable,
                format!("has no effect without COORDINATION={name}"),
            );
        }
    }
}

fn group(check: &mut Check<'_>, streams: &[StreamSpec]) -> ConsumerGroup {
    let variable = &table::COORDINATION_TOPIC;
    let topic = check.text(variable).unwrap_or_default().to_owned();
    let with_hash = format!("{topic}.0123456789abcdef");
    if topic.contains('{') {
        check.wrong(variable, format!("is no topic name; {}", variable.right()));
    } else if let Some(problem) = topics::problem(&topic).or_else(|| topics::problem(&with_hash)) {
        check.wrong(variable, format!("{problem}; {}", variable.right()));
    }
    let is_taken = |stream: &StreamSpec| {
        let of = &stream.sink.topics;
        let changes = [&of.insert, &of.update, &of.replace, &of.delete];
        let others = [of.ddl.as_ref(), of.dead_letter.as_ref()];
        let is_of_checkpoints = matches!(
            &stream.resume.backend,
            ResumeBackend::Kafka { topic: checkpoints } if *checkpoints == topic
        );
        is_of_checkpoints || changes.contains(&&topic) || others.contains(&Some(&topic))
    };
    if streams.iter().any(is_taken) {
        check.wrong(
            variable,
            "is used for records or checkpoints too; give each a topic of its own",
        );
    }
    ConsumerGroup {
        topic,
        session: check.millis(&table::KAFKA_SESSION_TIMEOUT_MS),
    }
}

fn lease_database(check: &mut Check<'_>, streams: &mut [StreamSpec]) -> String {
    let variable = &table::LEASE_DATABASE;
    let database = check.text(variable).unwrap_or_default().to_owned();
    if let Some(problem) = database_problem(&database) {
        check.wrong(variable, format!("{problem}; {}", variable.right()));
    }
    for stream in streams.iter() {
        check_apart(check, &database, stream);
    }
    for stream in streams {
        stream.source.lease_database = Some(database.clone());
    }
    database
}

/// Nothing of the leases' database is carried: so nothing else may be in it.
fn check_apart(check: &mut Check<'_>, database: &str, stream: &StreamSpec) {
    let variable = &table::LEASE_DATABASE;
    let name = stream.name();
    let is_named = match &stream.source.scope {
        Scope::Database(watched) => watched == database,
        Scope::Deployment { databases } => databases
            .iter()
            .any(|pattern| is_literal(pattern) && pattern == database),
    };
    let is_matched = match &stream.source.scope {
        Scope::Database(_) => false,
        Scope::Deployment { databases } => {
            databases.iter().any(|pattern| covers(pattern, database))
        }
    };
    if is_named {
        check.wrong(
            variable,
            format!(
                "{name} watches the database {database}, and nothing of the database with the leases is \
                 carried; name one that holds nothing else"
            ),
        );
    } else if is_matched && check.given(variable).is_some() {
        check.warn(
            variable,
            format!("{name} leaves the database {database} out, since it holds the leases"),
        );
    }
    let is_theirs = |collection: &str| ["leases", "instances"].contains(&collection);
    if let ResumeBackend::MongoDb {
        database: of_checkpoints,
        collection,
        ..
    } = &stream.resume.backend
        && of_checkpoints == database
        && is_theirs(collection)
    {
        check.wrong(
            &table::RESUME_COLLECTION,
            format!("{database}.{collection} holds what COORDINATION=mongodb needs; name another"),
        );
    }
}
