//! What to do about what, and the section of the runbook that says more.

use crate::error::Code;
use crate::status::waiting::Wait;
use crate::status::{Board, State};

/// What to do, in a sentence, and where the runbook says more.
pub(super) type Remedy = (&'static str, &'static str);

pub(super) const HISTORY_AT_RISK: Remedy = (
    "make the oplog larger now, on every member: db.adminCommand({replSetResizeOplog: 1, size: <MB>, minRetentionHours: 24})",
    "docs/operations.md#tailwaterhistoryatrisk",
);
pub(super) const HISTORY_LOST: Remedy = (
    "inform the consumers and give them what they missed; then size the oplog",
    "docs/operations.md#tailwaterhistorylost",
);
pub(super) const LAGGING: Remedy = (
    "find out which side is slow: Kafka where the bytes in flight are near their limit, otherwise MongoDB",
    "docs/operations.md#tailwaterlagging",
);
pub(super) const DEAD_LETTERS: Remedy = (
    "remove the cause that each names, then replay them",
    "docs/operations.md#tailwaterdeadletters",
);
pub(super) const SKIPPING: Remedy = (
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
pub(super) fn of_health(board: &Board) -> Remedy {
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
        "registry" => (
            "look at the schema registry: does it respond, and may this user read and register schemas?",
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
pub(super) fn of_failure(what: &str) -> Remedy {
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
            Awaited::Registry,
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
}
