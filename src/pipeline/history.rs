//! What happens when the oplog no longer holds the position to go on from: `ON_HISTORY_LOST`.
//!
//! A gap is told where it is: the first record behind it is one that names it (an event with the
//! `operationType` `gap`, so it goes to `KAFKA_TOPIC_DDL`, or to the log where that is not set). The
//! position behind the gap is committed only with that record's acknowledgement.

use super::incarnation::Rooms;
use super::opening::{self, Opened};
use crate::config::OnHistoryLost;
use crate::error::{Code, Error};
use crate::position::{Position, ResumeToken, Seq};
use crate::source::cursor::Start;
use crate::source::start;
use crate::status::waiting::Awaited;
use bson::{DateTime, RawDocumentBuf, doc};
use jiff::{SignedDuration, Timestamp};

/// The `operationType` of the event that tells of a gap.
pub const OPERATION: &str = "gap";

/// Opens the stream behind the gap, as `ON_HISTORY_LOST` says; none when asked to stop.
///
/// `lost` is the last position behind which all is delivered, `error` what the server said of it.
///
/// # Errors
/// [`Code::HistoryLost`] under `stop`, with how much time is missing; else what keeps the stream from
/// being opened at all.
pub async fn go_on(rooms: &Rooms, lost: &Position, error: Error) -> Result<Option<Opened>, Error> {
    let policy = rooms.config.pipeline.on_history_lost;
    let mut delays = rooms.retry().delays();
    loop {
        let oldest = start::oldest(&rooms.client, "finding where the oplog begins");
        let oldest = rooms.board.waits.on(Awaited::MongoDb, oldest).await;
        let start = match (policy, oldest) {
            (OnHistoryLost::Stop, oldest) => {
                // A cluster time counts whole seconds: the end of that second.
                let missing = missing(lost, oldest.ok().map(|time| time.millis() + 999));
                let detail = format!(
                    "{}; {missing}. Choose by name how to go on: ON_HISTORY_LOST=earliest (from what the oplog still holds) or latest (from now)",
                    error.detail
                );
                return Err(Error::new(Code::HistoryLost, detail));
            }
            (OnHistoryLost::Latest, _) => Start::Now,
            (OnHistoryLost::Earliest, Ok(time)) => Start::At(time),
            (OnHistoryLost::Earliest, Err(error)) => {
                if !opening::pause(rooms, &error, &mut delays).await? {
                    return Ok(None);
                }
                continue;
            }
        };
        let Some((cursor, token)) = opening::cursor(rooms, &start, &mut delays).await? else {
            return Ok(None);
        };
        let token = token.ok_or_else(|| {
            let detail =
                "the server gives no post-batch resume token; MongoDB 4.2 or later is needed";
            Error::new(Code::SourceRefused, detail)
        })?;
        let now = Timestamp::now().as_millisecond();
        let to = match start {
            Start::At(time) => time.millis() + 999,
            Start::Now | Start::After(_) => now,
        };
        let missing = missing(lost, Some(to));
        let told = format!("history lost: {missing}; going on behind the gap");
        tracing::error!(policy = name(policy), cause = error.detail, "{told}");
        rooms.board.source_error.set(told);
        rooms.board.gaps.add(1);
        let gap = event(rooms, &token, lost, to, policy)?;
        let position = Position {
            time_millis: Some(to),
            cluster_time: None,
            seq: Seq::renewed(Some(lost.seq)),
            token,
        };
        return Ok(Some(Opened {
            cursor,
            position,
            gap: Some(gap),
        }));
    }
}

fn name(policy: OnHistoryLost) -> &'static str {
    match policy {
        OnHistoryLost::Stop => "stop",
        OnHistoryLost::Earliest => "earliest",
        OnHistoryLost::Latest => "latest",
    }
}

/// How much is missing, in words: from the lost position's time to `to` (milliseconds).
fn missing(lost: &Position, to: Option<i64>) -> String {
    let time = |millis: i64| Timestamp::from_millisecond(millis).ok();
    match (lost.time_millis.and_then(time), to.and_then(time)) {
        (Some(from), Some(to)) if to > from => {
            let length = SignedDuration::from_secs(to.duration_since(from).as_secs().max(1));
            format!("changes of {length:#} are missing, from {from} to {to}")
        }
        (Some(from), _) => format!("changes since {from} are missing"),
        (None, Some(to)) => format!("changes of an unknown time before {to} are missing"),
        (None, None) => "changes of an unknown time are missing".into(),
    }
}

/// The event that tells of the gap: of the shape of a server's own, so that it takes the same way.
fn event(
    rooms: &Rooms,
    token: &ResumeToken,
    lost: &Position,
    to: i64,
    policy: OnHistoryLost,
) -> Result<RawDocumentBuf, Error> {
    let failed =
        |error| Error::new(Code::Internal, "the gap cannot be written down").because(error);
    let token = bson::Document::try_from(token.as_raw()).map_err(failed)?;
    let from = lost.time_millis.map(DateTime::from_millis);
    let event = doc! {
        "_id": token,
        "operationType": OPERATION,
        "wallTime": DateTime::now(),
        "ns": { "db": rooms.config.mongo.scope.name() },
        "operationDescription": {
            "reason": Code::HistoryLost.name(),
            "policy": name(policy),
            "from": from,
            "to": DateTime::from_millis(to),
            "lastSeq": i64::try_from(lost.seq.0).unwrap_or(i64::MAX),
        },
    };
    let raw = RawDocumentBuf::try_from(&event);
    raw.map_err(|error| Error::new(Code::Internal, "the gap cannot be written down").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(time_millis: Option<i64>) -> Position {
        Position {
            token: ResumeToken::from_data("82"),
            seq: Seq(1),
            time_millis,
            cluster_time: None,
        }
    }

    #[test]
    fn what_is_missing_is_said_as_a_length_of_time_where_both_ends_are_known() {
        let said = missing(&lost(Some(1_704_110_400_000)), Some(1_704_118_380_000));
        assert!(said.contains("2h 13m"), "{said}");
        assert!(said.contains("2024-01-01T12:00:00Z"), "{said}");
        let said = missing(&lost(Some(1_704_110_400_000)), None);
        assert_eq!(said, "changes since 2024-01-01T12:00:00Z are missing");
        assert!(missing(&lost(None), None).contains("unknown"));
    }
}
