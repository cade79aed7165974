//! What is wrong with a stream, what to do about it, and where the runbook says more.

mod table;

use crate::status::health::Health;
use crate::status::{Board, State};
use serde::Serialize;
use std::time::Duration;
use table::{
    DEAD_LETTERS, HISTORY_AT_RISK, HISTORY_LOST, LAGGING, SKIPPING, of_failure, of_health,
};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};

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
