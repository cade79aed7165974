//! What is written into a schedule's document, and nothing else of it.

use super::Parts;
use super::documents;
use crate::status::schedules::{Phase, Schedules as Board, Shown, Told};
use bson::{Bson, DateTime, Document, doc};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it is looked whether something is to be told.
const LOOK: Duration = Duration::from_secs(1);

/// How often times and counts are told; a state is told within a second.
const SELDOM: Duration = Duration::from_secs(10);

/// The field `status` of a document.
fn of(shown: &Shown, instance: &str) -> Document {
    let time =
        |millis: Option<i64>| millis.map_or(Bson::Null, |at| DateTime::from_millis(at).into());
    doc! {
        "state": shown.state.name(),
        "reason": shown.state.reason(),
        "since": time(Some(shown.since)),
        "lastScheduledFor": time(shown.last),
        "nextAt": time(shown.next),
        "produced": i64::try_from(shown.produced).unwrap_or(i64::MAX),
        "instanceId": instance,
    }
}

/// Tells the documents how their schedules are, while this instance runs them.
pub async fn tell(parts: Parts, board: Arc<Board>) {
    let Some(at) = parts.config.at.clone() else {
        return;
    };
    let mut told = Told::default();
    let mut is_failing = false;
    loop {
        tokio::time::sleep(LOOK).await;
        if board.phase() != Phase::Running {
            continue;
        }
        let changed = board.untold(&mut told, SELDOM);
        for some in changed.chunks(documents::AT_ONCE) {
            let updates: Vec<_> = some
                .iter()
                .map(|(_, shown)| (shown.id.clone(), of(shown, &parts.instance)))
                .collect();
            match documents::tell(&parts.client, &at, &updates).await {
                Ok(()) => {
                    is_failing = false;
                    let now = Instant::now();
                    told.extend(
                        some.iter()
                            .map(|(key, shown)| (key.clone(), (shown.clone(), now))),
                    );
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(collection = %at, error, "the status of schedules cannot be written; they are run all the same");
                    }
                    tokio::time::sleep(SELDOM).await;
                    break;
                }
            }
        }
    }
}
