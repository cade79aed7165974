//! The only wiring of the stages: source, route, encode, batch, sink, watermark, commit.
//!
//! An [`incarnation`] runs from a committed position until something ends it; [`supervise`] decides by
//! what ended it whether another one follows.

pub mod budget;
pub mod encoder;
pub mod incarnation;
pub mod outlet;
pub mod pump;
pub mod tracker;

use crate::commit::Ledger;
use crate::config::OnHistoryLost;
use crate::error::{Code, Error};
use crate::position::Position;
use crate::sink::producer::Faults;
use crate::source::cursor::{Cursor, Start};
use crate::source::errors::{self, Moment, SourceFault};
use crate::source::reader::Fault;
use crate::status::State;
use incarnation::{Outcome, Rooms};
use pump::{End, Knowledge};

/// Runs incarnations from `start` until the process is asked to stop or cannot go on. Gives the ledger
/// back after a graceful stop.
///
/// # Errors
/// What ended it, by its code.
pub async fn supervise(
    rooms: &Rooms,
    cursor: Cursor,
    start: Position,
    ledger: Ledger,
) -> Result<Ledger, Error> {
    let mut knowledge = Knowledge::default();
    let mut next = Some((cursor, start, ledger));
    let mut delays = rooms.retry().delays();
    while let Some((cursor, start, ledger)) = next.take() {
        let began = start.seq;
        let outcome = rooms.run(cursor, start, ledger, &knowledge).await?;
        let Outcome {
            end,
            position,
            ledger,
            faults,
            drained,
        } = outcome;
        if position.seq > began {
            delays = rooms.retry().delays();
        }
        match end {
            End::Stopped if drained => return Ok(ledger),
            End::Stopped => {
                return Err(Error::new(
                    Code::DrainTimedOut,
                    "kafka did not acknowledge the last records within SHUTDOWN_TIMEOUT_MS; nothing is lost: \
                     they are read again at the next start",
                ));
            }
            End::Failed(error) => return Err(error),
            End::Source(fault) => return Err(lost(rooms, fault, &position)),
            End::Producer => learn(rooms, &mut knowledge, &faults),
        }
        rooms.board.enter(State::Recovering);
        tracing::warn!(
            seq = position.seq.0,
            "starting again from the last acknowledged position"
        );
        let cursor = loop {
            let Some(delay) = delays.next() else {
                return Err(Error::new(
                    Code::SinkUnavailable,
                    "RECONNECT_MAX_RETRIES is used up",
                ));
            };
            tokio::select! {
                () = rooms.stop.cancelled() => return Ok(ledger),
                () = tokio::time::sleep(delay) => {}
            }
            let start = Start::After(position.token.clone());
            let opened = Cursor::open(&rooms.client, &rooms.watch, &start, OPENING_BATCH).await;
            match opened {
                Ok((cursor, _)) => break cursor,
                Err(error)
                    if errors::classify(&error, Moment::Resuming) == SourceFault::Resumable =>
                {
                    rooms.board.mongo_connected.set(false);
                    tracing::warn!(
                        error = errors::describe(&error),
                        "change stream not opened, trying again"
                    );
                }
                Err(error) => {
                    return Err(errors::error(
                        "opening the change stream",
                        &error,
                        Moment::Resuming,
                    ));
                }
            }
        };
        next = Some((cursor, position, ledger));
    }
    Err(Error::new(
        Code::Internal,
        "the pipeline ended without a reason",
    ))
}

/// Batch size of a cursor before anything is known of the events.
pub const OPENING_BATCH: u32 = 1_000;

/// Takes from a broken producer's reports what the next incarnation must know.
fn learn(rooms: &Rooms, knowledge: &mut Knowledge, faults: &Faults) {
    for (seq, code) in &faults.records {
        if knowledge.suspects.insert(*seq) {
            tracing::warn!(seq = seq.0, %code, "kafka refused a record; it is sent again alone");
        } else {
            knowledge.refused.insert(*seq, *code);
        }
    }
    for name in &faults.topics {
        tracing::warn!(
            topic = name,
            "the topic is missing or forbidden; waiting for it"
        );
        for topic in rooms
            .router
            .table()
            .all()
            .iter()
            .filter(|topic| topic.name() == name)
        {
            topic.learned(0, None);
        }
    }
    if let Some(error) = &faults.fatal {
        tracing::warn!(error = %crate::sink::client::describe(error), "the kafka producer is built anew");
    }
}

/// The error for a stream that cannot go on.
fn lost(rooms: &Rooms, fault: Fault, position: &Position) -> Error {
    let history_lost = fault.kind == SourceFault::HistoryLost;
    let error = Error::from(fault);
    match rooms.config.pipeline.on_history_lost {
        OnHistoryLost::Stop if history_lost => {
            let since = position
                .time_millis
                .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
            let since = since.map_or_else(String::new, |time| {
                format!(" Changes since {time} are missing.")
            });
            Error::new(
                error.code,
                format!(
                    "{}.{since} Choose by name how to go on: ON_HISTORY_LOST=earliest or latest",
                    error.detail
                ),
            )
        }
        _ => error,
    }
}
