//! One stream on its way to Kafka, and the only wiring of its stages: source, route, encode, batch, sink,
//! watermark, commit.
//!
//! An [`incarnation`] runs from a committed position until something ends it; [`supervise`] decides by
//! what ended it whether another one follows.

pub mod actor;
pub mod ahead;
pub mod context;
mod copying;
#[cfg(test)]
mod fields_tests;
pub mod grace;
mod handle;
mod hints;
pub mod history;
pub mod incarnation;
pub mod listening;
pub mod moving;
pub mod opening;
pub mod outlet;
#[cfg(test)]
mod outlet_tests;
mod produce;
mod progress;
pub mod pump;
#[cfg(test)]
mod pump_tests;
#[cfg(test)]
mod scripted;
pub mod shared;
#[cfg(test)]
mod simulation_tests;
pub mod start;
mod stopping;
pub mod streams;
#[cfg(test)]
mod targets_tests;
mod telling;
pub mod waiting;

use crate::checkpoint::committer::Checkpoints;
use crate::config::OnMissingTopic;
use crate::error::{Code, Error, Policy};
use crate::log::event_id;
use crate::sink::producer::Faults;
use crate::source::cursor::Start;
use crate::status::State;
use crate::status::waiting::Awaited;
use context::StreamContext;
use hints::ReplayHints;
use incarnation::Outcome;
use pump::End;
use rdkafka::error::RDKafkaErrorCode;
use start::Opened;
use std::time::Duration;
use stopping::Outstanding;

/// Longest pause before a producer is built again: what Kafka refuses is most often a right, and changes
/// should flow soon after it is given back.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs incarnations from `opened` until the process is asked to stop or cannot continue. Gives the checkpoints
/// back after a graceful stop.
///
/// # Errors
/// What ended it, by its code.
pub async fn supervise(
    context: &StreamContext,
    opened: Opened,
    checkpoints: Checkpoints,
) -> Result<Checkpoints, Error> {
    let mut hints = ReplayHints::default();
    let mut recovery = history::GapRecovery::default();
    let mut delays = context.opener.delays();
    let mut outstanding = Outstanding::default();
    let mut next = (opened, checkpoints);
    loop {
        let (opened, checkpoints) = next;
        let began = opened.position.clone();
        if opened.gap.is_some() {
            // A new numbering: what is known of the events of the old one means nothing.
            hints = ReplayHints {
                gap: opened.gap,
                ..ReplayHints::default()
            };
        }
        let Opened {
            cursor, position, ..
        } = opened;
        let outcome = incarnation::run(context, cursor, position, checkpoints, &hints).await?;
        let Outcome {
            end,
            position,
            checkpoints,
            mut faults,
            drained,
            taken,
            stored,
            is_without_room,
        } = outcome;
        outstanding.after(&position, taken, drained, stored);
        outstanding.is_without_room = is_without_room;
        if position.seq > began.seq {
            delays = context.opener.delays();
            // Its record is the first of its incarnation, so it is acknowledged.
            hints.gap = None;
            recovery.told();
        }
        let is_of_producer = matches!(end, End::Producer);
        let lost = match end {
            End::Stopped => {
                return outstanding
                    .stop(context.board(), checkpoints, &position)
                    .await;
            }
            End::Failed(error) => return Err(error),
            End::Source(fault) if fault.kind.is_of_history() => Some(Error::from(fault)),
            End::Source(fault) => return Err(fault.into()),
            End::ListenersReplaced => None,
            End::Producer => {
                hints.forget(position.seq);
                copying::learn(&context.desk, &mut faults);
                learn(context, &mut hints, &faults)?;
                tokio::select! {
                    () = context.stop().cancelled() => return outstanding.stop(context.board(), checkpoints, &position).await,
                    () = context.board().waits.on(Awaited::Kafka, look_again(context, &faults)) => None,
                }
            }
        };
        context.board().enter(State::Recovering);
        let last = position.clone();
        let opened = match lost {
            Some(error) => history::resume_behind(context, &mut recovery, &position, error).await?,
            None => {
                if is_of_producer {
                    tracing::warn!(
                        event_id = event_id::PRODUCER_RESTARTED,
                        seq = position.seq.0,
                        "starting again from the last acknowledged position"
                    );
                }
                // Records that were refused are nothing to wait for: each time more is known of them.
                let delay = if is_of_producer && faults.records.is_empty() {
                    delays.after(Policy::Retry).map_err(|_used_up| {
                        Error::new(Code::SinkUnavailable, "RECONNECT_MAX_RETRIES is used up")
                    })?
                } else {
                    Duration::ZERO
                };
                tokio::select! {
                    () = context.stop().cancelled() => return outstanding.stop(context.board(), checkpoints, &last).await,
                    () = tokio::time::sleep(delay.min(LONGEST_PAUSE)) => {}
                }
                let position = listening::known(context, position).await?;
                let start = Start::behind(&position);
                let opener = context.opener_at(&position)?;
                match opener.open(&start, &mut delays).await {
                    Ok(opened) => opened.map(|opened| Opened {
                        cursor: opened.cursor,
                        position,
                        // What is still to be told is known already.
                        gap: None,
                    }),
                    Err(error) if error.code == Code::HistoryLost => {
                        history::resume_behind(context, &mut recovery, &position, error).await?
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match opened {
            Some(opened) => next = (opened, checkpoints),
            None => return outstanding.stop(context.board(), checkpoints, &last).await,
        }
    }
}

/// Takes from a broken producer's reports what the next incarnation must know.
fn learn(context: &StreamContext, hints: &mut ReplayHints, faults: &Faults) -> Result<(), Error> {
    hints.learn(faults)?;
    if let Some(((first, _), code)) = faults.records.first_key_value() {
        tracing::warn!(
            records = faults.records.len(), first = first.0, %code,
            "kafka refused records; what was refused among others is sent again alone"
        );
    }
    for (name, code) in &faults.topics {
        tracing::warn!(topic = name, %code, "the topic is missing or forbidden");
        let note = format!("topic {name} is missing, or this user may not write to it");
        context.board().sink_error.set(note);
        let mut topics = context.router.table().all();
        topics.retain(|topic| topic.name() == name);
        // Not the topic of checkpoints, which no choice spares.
        let is_refused = !topics.is_empty() && *code == RDKafkaErrorCode::TopicAuthorizationFailed;
        let is_of_listeners = !topics.is_empty() && context.router.is_of_listeners(name);
        if is_refused {
            // For the records that do not wait for their topic.
            context.topics.refuse_writes(name);
        }
        let is_waited_for =
            !is_refused || context.spec.pipeline.on_missing_topic == OnMissingTopic::Wait;
        if is_waited_for && !is_of_listeners {
            // Until it takes a record: that it can be seen does not mean that it may be written.
            let what = Awaited::Topic(name.as_str().into());
            let why = format!("kafka refuses its records: {code}");
            context.board().waits.trouble(what, why);
        }
        for topic in topics {
            topic.learned(0, None);
        }
    }
    if let Some(error) = &faults.fatal {
        let why = crate::kafka::client::describe(error);
        tracing::warn!(error = why, "the kafka producer is built anew");
        context.board().sink_error.set(why.as_str());
        context.board().waits.trouble(Awaited::Producer, why);
    } else if faults.dropped {
        let why = "records were dropped";
        tracing::warn!("{why}; the kafka producer is built anew");
        context.board().waits.trouble(Awaited::Producer, why.into());
    }
    Ok(())
}

/// A topic that refuses a record may have another limit than was learned: knowing it spares its
/// batches, and the next such record, the same fate.
async fn look_again(context: &StreamContext, faults: &Faults) {
    let mut topics = context.router.table().all();
    topics.retain(|topic| faults.refusing.contains(topic.name()));
    for notice in context.topics.refresh(&topics).await {
        tracing::warn!("{notice}");
    }
}
