//! What is wrong with a stream, what to do about it, and where the runbook says more.

use crate::error::Code;
use crate::status::health::Health;
use crate::status::waiting::Wait;
use crate::status::{Board, State};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Less than this, and somebody has to see to the oplog now.
const AT_RISK: Duration = Duration::from_secs(3600);
/// More than this, and somebody waits for changes.
const LATE: Duration = Duration::from_secs(60);

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Trouble {
    /// bad: it does not do its work; warning: it limps, or will; note: somebody may want to know.
    #[schema(value_type = String, example = "bad")]
    pub severity: &'static str,
    /// What is wrong, in a sentence.
    #[schema(
        example = "waiting for topic shop.orders since 2026-01-31T12:00:00Z: it does not exist"
    )]
    pub what: String,
    /// What to do, in a sentence.
    #[schema(value_type = String, example = "create the topic, or allow the user to write to it; the stream resumes without a restart")]
    pub remedy: &'static str,
    /// Where the runbook says more.
    #[schema(value_type = String, example = "docs/operations.md#tailwaterwaiting")]
    pub runbook: &'static str,
}

const BAD: &str = "bad";
const WARNING: &str = "warning";
const NOTE: &str = "note";

/// Everything that is wrong with a stream, the worst first.
pub(super) fn of(board: &Board) -> Vec<Trouble> {
    let mut all = Vec::new();
    let state = board.state();
    let mut add = |severity, what: String, (remedy, runbook): (&'static str, &'static str)| {
        all.push(Trouble {
            severity,
            what,
            remedy,
            runbook,
        });
    };
    match (board.health(), state) {
        (Health::Healthy, _) => {}
        (Health::Unhealthy(what), State::Failed) => add(BAD, what.to_string(), of_failure(&what)),
        (Health::Unhealthy(what), _) => add(BAD, what.to_string(), of_health(board)),
        (Health::Degraded(what), _) => add(WARNING, what.to_string(), of_health(board)),
    }
    if let Some(headroom) = board.headroom().filter(|headroom| *headroom < AT_RISK) {
        let minutes = headroom.as_secs() / 60;
        let what = format!("the oplog holds the checkpoint for {minutes} minutes more");
        add(BAD, what, HISTORY_AT_RISK);
    }
    let lag = board.lag();
    if state.is_running() && lag > LATE {
        add(
            WARNING,
            format!("changes reach Kafka {} s late", lag.as_secs()),
            LAGGING,
        );
    }
    for (count, what, remedy) in [
        (
            board.gaps.get(),
            "times history was lost, and the stream resumed behind the gap",
            HISTORY_LOST,
        ),
        (
            board.dead_lettered.get(),
            "events went to the dead-letter topic since the start",
            DEAD_LETTERS,
        ),
        (
            board.skipped.get(),
            "events were skipped since the start, and are in no topic",
            SKIPPING,
        ),
    ] {
        if count > 0 {
            add(NOTE, format!("{count} {what}"), remedy);
        }
    }
    all.sort_by_key(|trouble| {
        [BAD, WARNING, NOTE]
            .iter()
            .position(|is| *is == trouble.severity)
    });
    all
}

type Remedy = (&'static str, &'static str);

const HISTORY_AT_RISK: Remedy = (
    "make the oplog larger now, on every member: db.adminCommand({replSetResizeOplog: 1, size: <MB>, minRetentionHours: 24})",
    "docs/operations.md#tailwaterhistoryatrisk",
);
const HISTORY_LOST: Remedy = (
    "inform the consumers and give them what they missed; then size the oplog",
    "docs/operations.md#tailwaterhistorylost",
);
const LAGGING: Remedy = (
    "find out which side is slow: Kafka where the bytes in flight are near their limit, otherwise MongoDB",
    "docs/operations.md#tailwaterlagging",
);
const DEAD_LETTERS: Remedy = (
    "remove the cause that each names, then replay them",
    "docs/operations.md#tailwaterdeadletters",
);
const SKIPPING: Remedy = (
    "set ON_RECORD_ERROR=dlq to keep such events",
    "docs/operations.md#tailwaterskipping",
);
const NOT_READY: Remedy = (
    "`tailwater check` with the same environment says what is wrong; the stream resumes by itself when the server is back",
    "docs/operations.md#tailwaternotready",
);
const CHECKPOINT: Remedy = (
    "look at the store: does the topic or collection exist, and may the user write to it; is the disk full?",
    "docs/operations.md#tailwatercheckpointfailing",
);

/// What to do about the health of a stream that has not failed.
fn of_health(board: &Board) -> Remedy {
    let waits = board.waiting();
    match board.state() {
        State::Paused => (
            "resume it, before the oplog no longer reaches back to the checkpoint",
            "docs/operations.md#tailwaterpaused",
        ),
        State::Draining | State::Stopped => {
            ("wait until it has ended", "docs/operations.md#states")
        }
        _ if board.mongo_refuses.get() => (
            "give the user its privileges back; `tailwater check` says which",
            "docs/errors.md#source_refused-3",
        ),
        _ => match waits
            .iter()
            .find(|wait| wait.is_noticed())
            .or(waits.first())
        {
            Some(wait) => of_wait(wait),
            None if board.checkpoint_failing.get() => CHECKPOINT,
            None => NOT_READY,
        },
    }
}

fn of_wait(wait: &Wait) -> Remedy {
    const WAITING: &str = "docs/operations.md#tailwaterwaiting";
    match wait.what.name() {
        "topic" => (
            "create the topic, or allow the user to write to it; the stream resumes without a restart",
            WAITING,
        ),
        "mongodb" => (
            "look at MongoDB: is there a primary, and does it respond?",
            WAITING,
        ),
        "owner" => (
            "look at the instances: none of them takes the stream",
            "docs/coordination.md#when-nobody-has-a-stream",
        ),
        "coordination" => (
            "can this instance reach what COORDINATION is kept in, MongoDB or Kafka, and may it write there?",
            WAITING,
        ),
        "checkpoint" => CHECKPOINT,
        "acknowledgements" | "budget" | "queue" => (
            "look at the brokers: in-sync replicas, disks, quotas, partitions without a leader",
            "docs/operations.md#tailwaterstalled",
        ),
        _ => ("look at the brokers and at the quota", WAITING),
    }
}

/// What to do about a stream that cannot run: its reason begins with the code.
fn of_failure(what: &str) -> Remedy {
    let name = what.split(':').next().unwrap_or_default();
    let code = Code::ALL.into_iter().find(|code| code.name() == name);
    match code.unwrap_or(Code::Internal) {
        Code::Internal => ("resume it, and report it", "docs/errors.md#internal-1"),
        Code::Config => (
            "correct the variables, and start it again",
            "docs/errors.md#config-2",
        ),
        Code::SourceRefused => (
            "correct MongoDB's credentials, privileges or topology, then resume it",
            "docs/errors.md#source_refused-3",
        ),
        Code::SourceMalformed => ("report it", "docs/errors.md#source_malformed-13"),
        Code::SinkRefused => (
            "correct Kafka's credentials, authorization or topics, then resume it",
            "docs/errors.md#sink_refused-4",
        ),
        Code::TokenInvalid => (
            "the checkpoint is of another source or damaged: correct MONGODB_URI, or move the checkpoint",
            "docs/errors.md#token_invalid-5",
        ),
        Code::HistoryLost => (
            "choose ON_HISTORY_LOST, then size the oplog",
            "docs/errors.md#history_lost-6",
        ),
        Code::Fenced => (
            "another instance has the stream: stop one of the two",
            "docs/errors.md#fenced-7",
        ),
        Code::RecordRefused => (
            "remove the cause, or set ON_RECORD_ERROR; then resume it",
            "docs/errors.md#record_refused-8",
        ),
        Code::DrainTimedOut => ("resume it", "docs/errors.md#drain_timed_out-9"),
        Code::CheckpointFailed => (
            "make the store writable, then resume it",
            "docs/errors.md#checkpoint_failed-10",
        ),
        Code::SourceUnavailable | Code::SinkUnavailable => (
            "it is tried again by itself; see to the server",
            "docs/errors.md#source_unavailable-11-sink_unavailable-12",
        ),
        Code::Exhausted => (
            "raise the limits of this process",
            "docs/errors.md#exhausted-14",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::status::waiting::Awaited;
    use std::sync::Arc;

    fn anchors(page: &str) -> Vec<String> {
        let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let heads = text.lines().filter_map(|line| {
            let head = line.trim_start_matches('#');
            (head.len() < line.len()).then(|| head.trim())
        });
        let anchor = |head: &str| {
            let head = head.to_lowercase().replace(' ', "-");
            head.chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
                .collect()
        };
        heads.map(anchor).collect()
    }

    #[track_caller]
    fn is_there((remedy, runbook): Remedy) {
        let (page, anchor) = runbook.split_once('#').unwrap();
        assert!(
            anchors(page).iter().any(|there| there == anchor),
            "{runbook}"
        );
        assert!(!remedy.is_empty() && !remedy.ends_with('.'), "{remedy}");
    }

    #[test]
    fn every_remedy_leads_to_a_place_in_the_runbook() {
        for code in Code::ALL {
            is_there(of_failure(&format!("{code}: why")));
        }
        let board = crate::status::board();
        for awaited in [
            Awaited::Topic(Arc::from("a")),
            Awaited::Budget,
            Awaited::Queue,
            Awaited::Acknowledgements,
            Awaited::Transaction,
            Awaited::Producer,
            Awaited::Kafka,
            Awaited::Checkpoint,
            Awaited::MongoDb,
            Awaited::Coordination,
            Awaited::Owner,
        ] {
            let _wait = board.waits.begin(awaited);
            let waits = board.waits.all();
            is_there(of_wait(&waits[0]));
        }
        for remedy in [
            HISTORY_AT_RISK,
            HISTORY_LOST,
            LAGGING,
            DEAD_LETTERS,
            SKIPPING,
            NOT_READY,
            CHECKPOINT,
        ] {
            is_there(remedy);
        }
        for state in State::ALL {
            board.enter(state);
            is_there(of_health(&board));
        }
    }

    #[test]
    fn a_stream_that_cannot_run_says_what_to_do() {
        let board = crate::status::board();
        board.fail(&Error::new(Code::HistoryLost, "the oplog is too short"));
        board.dead_lettered.add(2);
        let all = of(&board);
        assert_eq!(all[0].severity, BAD);
        assert_eq!(all[0].runbook, "docs/errors.md#history_lost-6");
        assert!(all[0].what.contains("the oplog is too short"), "{all:?}");
        assert_eq!(all[1].severity, NOTE, "{all:?}");
    }
}
