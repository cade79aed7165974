//! The only wiring of the stages: source, route, encode, batch, sink, watermark, commit.
//!
//! An [`incarnation`] runs from a committed position until something ends it; [`supervise`] decides by
//! what ended it whether another one follows.

pub mod budget;
pub mod encoder;
pub mod history;
pub mod incarnation;
pub mod opening;
pub mod outlet;
pub mod pump;
#[cfg(test)]
mod simulation_tests;
pub mod tracker;

use crate::commit::Ledger;
use crate::error::{Code, Error};
use crate::sink::producer::Faults;
use crate::source::cursor::Start;
use crate::status::State;
use incarnation::{Outcome, Rooms};
use opening::Opened;
use pump::{End, Knowledge};
use std::time::Duration;

/// Runs incarnations from `opened` until the process is asked to stop or cannot go on. Gives the ledger
/// back after a graceful stop.
///
/// # Errors
/// What ended it, by its code.
pub async fn supervise(rooms: &Rooms, opened: Opened, ledger: Ledger) -> Result<Ledger, Error> {
    let mut knowledge = Knowledge::default();
    let mut delays = rooms.retry().delays();
    let mut next = (opened, ledger);
    loop {
        let (opened, ledger) = next;
        let began = opened.position.seq;
        if opened.gap.is_some() {
            // A new numbering: what is known of the events of the old one means nothing.
            knowledge = Knowledge {
                gap: opened.gap,
                ..Knowledge::default()
            };
        }
        let outcome = rooms
            .run(opened.cursor, opened.position, ledger, &knowledge)
            .await?;
        let Outcome {
            end,
            position,
            ledger,
            faults,
            drained,
        } = outcome;
        if position.seq > began {
            delays = rooms.retry().delays();
            // Its record is the first of its incarnation, so it is acknowledged.
            knowledge.gap = None;
        }
        let lost = match end {
            End::Stopped if drained => return Ok(ledger),
            End::Stopped => {
                return Err(Error::new(
                    Code::DrainTimedOut,
                    "kafka did not acknowledge the last records within SHUTDOWN_TIMEOUT_MS; nothing is lost: \
                     they are read again at the next start",
                ));
            }
            End::Failed(error) => return Err(error),
            End::Source(fault) if fault.kind.is_of_history() => Some(Error::from(fault)),
            End::Source(fault) => return Err(fault.into()),
            End::Producer => {
                knowledge.forget(position.seq);
                learn(rooms, &mut knowledge, &faults)?;
                tokio::select! {
                    () = rooms.stop.cancelled() => return Ok(ledger),
                    () = look_again(rooms, &faults) => None,
                }
            }
        };
        rooms.board.enter(State::Recovering);
        let opened = match lost {
            Some(error) => history::go_on(rooms, &position, error).await?,
            None => {
                tracing::warn!(
                    seq = position.seq.0,
                    "starting again from the last acknowledged position"
                );
                // Records that were refused are nothing to wait for: each time more is known of them.
                let delay = if faults.records.is_empty() {
                    delays.next()
                } else {
                    Some(Duration::ZERO)
                };
                let Some(delay) = delay else {
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
                match opening::cursor(rooms, &start, &mut delays).await {
                    Ok(cursor) => cursor.map(|(cursor, _)| Opened {
                        cursor,
                        position,
                        // What is still to be told is known already.
                        gap: None,
                    }),
                    Err(error) if error.code == Code::HistoryLost => {
                        history::go_on(rooms, &position, error).await?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match opened {
            Some(opened) => next = (opened, ledger),
            None => return Ok(ledger),
        }
    }
}

/// Takes from a broken producer's reports what the next incarnation must know.
fn learn(rooms: &Rooms, knowledge: &mut Knowledge, faults: &Faults) -> Result<(), Error> {
    for (seq, code) in &faults.records {
        if knowledge.refused.contains_key(seq) {
            return Err(Error::new(
                Code::RecordRefused,
                format!(
                    "the dead letter of the event with tw-seq {seq} is refused as well: {code}; see to the \
                     topic KAFKA_DLQ_TOPIC, or choose ON_RECORD_ERROR=skip"
                ),
            ));
        }
        if !knowledge.suspects.insert(*seq) {
            knowledge.refused.insert(*seq, *code);
        }
    }
    if let Some((first, code)) = faults.records.first_key_value() {
        tracing::warn!(
            records = faults.records.len(), first = first.0, %code,
            "kafka refused records; what was refused among others is sent again alone"
        );
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
    Ok(())
}

/// A topic that refuses a record may have another limit than was learned: knowing it spares its
/// batches, and the next such record, the same fate.
async fn look_again(rooms: &Rooms, faults: &Faults) {
    let mut topics = rooms.router.table().all();
    topics.retain(|topic| faults.refusing.contains(topic.name()));
    for notice in rooms.topics.refresh(&topics).await {
        tracing::warn!("{notice}");
    }
}
