//! What happens when the oplog no longer holds the position to resume at: `ON_HISTORY_LOST`.
//!
//! A gap is told where it is: the first record behind it is one that names it (an event with the
//! `operationType` `gap`, so it goes to `KAFKA_TOPIC_DDL`, or to the log where that is not set). The
//! position behind the gap is committed only with that record's acknowledgement.

use super::context::StreamContext;
use super::copying;
use super::listening;
use super::start::Opened;
use crate::change::position::{Position, ResumeToken, Seq};
use crate::config::OnHistoryLost;
use crate::error::{Code, Error};
use crate::log::event_id;
use crate::retry::Retry;
use crate::snapshot::progress::Reason;
use crate::source::cursor::Start;
use crate::source::opener::Ahead;
use crate::source::{self, oplog, start};
use crate::status::waiting::Awaited;
use bson::{DateTime, RawDocumentBuf, doc};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// The `operationType` of the event that tells of a gap.
pub const OPERATION: &str = "gap";

/// After so long without a loss the next one is nothing that has to do with the last.
const CALM: Duration = Duration::from_secs(300);

/// Getting past lost history, over as many attempts as that takes: while the oplog is being truncated, its
/// beginning may be gone again before a cursor has found it.
#[derive(Debug, Default)]
pub struct GapRecovery {
    /// The last position before a gap that is not told yet.
    lost: Option<Position>,
    attempt: u32,
    since: Option<Instant>,
}

impl GapRecovery {
    /// The record that tells of the gap is acknowledged: what is lost from now on is another gap.
    pub fn told(&mut self) {
        self.lost = None;
    }

    fn begin(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= CALM) {
            self.attempt = 0;
        }
        self.attempt += 1;
        self.since = Some(Instant::now());
    }

    /// How long to wait before this attempt: not at all before the first.
    fn pause(&self, retry: Retry) -> Duration {
        let retry = Retry { most: 0, ..retry };
        let before = self.attempt.checked_sub(2);
        before.map_or(Duration::ZERO, |before| {
            let delay = retry.delays().nth(before.min(16) as usize);
            delay.unwrap_or_default()
        })
    }
}

/// Opens the stream behind the gap, as `ON_HISTORY_LOST` says; none when asked to stop.
///
/// `position` is the last one behind which all is delivered, `error` what the server said of it. A gap that
/// was not told yet becomes longer.
///
/// # Errors
/// [`Code::HistoryLost`] under `stop`, with how much time is missing; otherwise what keeps the stream from
/// being opened at all.
pub async fn resume_behind(
    context: &StreamContext,
    recovery: &mut GapRecovery,
    position: &Position,
    error: Error,
) -> Result<Option<Opened>, Error> {
    let policy = context.spec.pipeline.on_history_lost;
    if policy == OnHistoryLost::Stop {
        return Err(refusal(context, position, &error).await);
    }
    let opener = &context.opener;
    let is_new = recovery.lost.is_none();
    let lost = recovery
        .lost
        .get_or_insert_with(|| position.clone())
        .clone();
    let mut delays = opener.delays();
    let waits = &context.board().waits;
    let mut is_lost_again = true;
    loop {
        if is_lost_again {
            recovery.begin();
            tokio::select! {
                () = context.stop().cancelled() => return Ok(None),
                () = waits.on(Awaited::MongoDb, tokio::time::sleep(recovery.pause(opener.retry))) => {}
            }
        }
        is_lost_again = false;
        let start = match policy {
            OnHistoryLost::Earliest => {
                let purpose = "finding where the oplog begins";
                let beginning = start::beginning(&context.opener.client, purpose, recovery.attempt);
                match waits.on(Awaited::MongoDb, beginning).await {
                    Ok(time) => Start::At(time),
                    Err(error) => {
                        if !opener.pause(error, &mut delays).await? {
                            return Ok(None);
                        }
                        continue;
                    }
                }
            }
            OnHistoryLost::Latest | OnHistoryLost::Snapshot | OnHistoryLost::Stop => Start::Now,
        };
        let opened = match opener.open(&start, &mut delays).await {
            Ok(Some(source::opener::Opened {
                cursor: Some(cursor),
                token,
                at,
            })) => opener
                .look_ahead(cursor, &start)
                .await
                .map(|ahead| match ahead {
                    Ahead::Ready(cursor) => (Some(cursor), token, at),
                    Ahead::TokenNotFound | Ahead::Unknown => (None, token, at),
                }),
            Ok(Some(_) | None) => return Ok(None),
            Err(error) => Err(error),
        };
        let (cursor, token, at) = match opened {
            Ok(opened) => opened,
            Err(error) if error.code == Code::HistoryLost => {
                tracing::warn!(
                    event_id = event_id::OPLOG_TRUNCATED,
                    attempt = recovery.attempt,
                    "the oplog was truncated past the point where the stream should resume; trying again further ahead"
                );
                is_lost_again = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        let token = token.ok_or_else(|| {
            let detail =
                "the server gives neither a post-batch resume token nor an operationTime to begin at";
            Error::new(Code::SourceRefused, detail)
        })?;
        let now = Timestamp::now().as_millisecond();
        // A cluster time counts whole seconds: the end of that second.
        let to = match start {
            Start::At(time) => time.millis() + 999,
            Start::Now | Start::After(_) => now,
        };
        let missing = missing(&lost, Some(to));
        let told = format!("history lost: {missing}; the stream continues behind the gap");
        if is_new {
            tracing::error!(
                event_id = event_id::HISTORY_LOST,
                policy = name(policy),
                cause = error.detail,
                "{told}"
            );
            context.board().gaps.add(1);
        } else {
            tracing::warn!(policy = name(policy), "the gap is longer: {missing}");
        }
        context.board().source_error.set(told);
        let gap = event(context, &token, &lost, to, policy)?;
        let position = Position {
            time_millis: Some(to),
            cluster_time: match start {
                Start::At(time) => Some(time),
                Start::Now | Start::After(_) => at,
            },
            seq: Seq::renewed(Some(lost.seq)),
            token,
            extra: {
                let extra = match &context.spec.source.listeners {
                    None => lost.extra.clone(),
                    // Their changes within the gap are lost, too.
                    Some(listeners) => listening::read(opener, listeners, &lost.extra).await?,
                };
                match policy {
                    OnHistoryLost::Snapshot => copying::begun(&extra, Reason::HistoryLost),
                    OnHistoryLost::Earliest | OnHistoryLost::Latest | OnHistoryLost::Stop => extra,
                }
            },
        };
        return Ok(Some(Opened {
            cursor,
            position,
            gap: Some(gap),
        }));
    }
}

/// The end under `stop`: how much is missing, and how to continue.
async fn refusal(context: &StreamContext, lost: &Position, error: &Error) -> Error {
    let oldest = oplog::oldest(&context.opener.client).await.ok().flatten();
    let missing = missing(lost, oldest.map(|oldest| oldest.time.millis() + 999));
    let detail = format!(
        "{}; {missing}. To continue with a gap, set ON_HISTORY_LOST=earliest (from what the oplog still holds), \
         latest (from now) or snapshot (from now, with a snapshot of what is there)",
        error.detail
    );
    Error::new(Code::HistoryLost, detail)
}

fn name(policy: OnHistoryLost) -> &'static str {
    match policy {
        OnHistoryLost::Stop => "stop",
        OnHistoryLost::Earliest => "earliest",
        OnHistoryLost::Latest => "latest",
        OnHistoryLost::Snapshot => "snapshot",
    }
}

/// How much is missing, in words: from the lost position's time to `to` (milliseconds).
fn missing(lost: &Position, to: Option<i64>) -> String {
    let time = |millis: i64| Timestamp::from_millisecond(millis).ok();
    match (lost.time_millis.and_then(time), to.and_then(time)) {
        (Some(from), Some(to)) if to > from => {
            let length = SignedDuration::from_secs(to.duration_since(from).as_secs().max(1));
            format!("changes of {length:#} are missing, from {from:.3} to {to:.3}")
        }
        (Some(from), _) => format!("changes since {from:.3} are missing"),
        (None, Some(to)) => format!("changes of an unknown time before {to:.3} are missing"),
        (None, None) => "changes of an unknown time are missing".into(),
    }
}

/// The event that tells of the gap: of the shape of a server's own, so that it takes the same way.
fn event(
    context: &StreamContext,
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
        "ns": { "db": context.spec.source.scope.name() },
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
    use crate::change::extra::Extra;

    fn lost(time_millis: Option<i64>) -> Position {
        Position {
            token: ResumeToken::from_data("82"),
            seq: Seq(1),
            time_millis,
            cluster_time: None,
            extra: Extra::default(),
        }
    }

    #[test]
    fn what_is_missing_is_said_as_a_length_of_time_where_both_ends_are_known() {
        let said = missing(&lost(Some(1_704_110_400_000)), Some(1_704_118_380_000));
        assert!(said.contains("2h 13m"), "{said}");
        assert!(said.contains("2024-01-01T12:00:00.000Z"), "{said}");
        let said = missing(&lost(Some(1_704_110_400_000)), None);
        assert_eq!(said, "changes since 2024-01-01T12:00:00.000Z are missing");
        assert!(missing(&lost(None), None).contains("unknown"));
    }
}
