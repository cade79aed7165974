//! A stream as an actor: it runs, stands still or ends as it is told, and tells how it ended.

use super::context::StreamContext;
use super::shared::Shared;
use super::telling::Telling;
use super::{incarnation, start, supervise};
use crate::checkpoint::committer::{self, Checkpoints};
use crate::config::StreamSpec;
use crate::error::{Code, Error};
use crate::snapshot::desk::Desk;
use crate::source::headroom;
use crate::status::{Board, State};
use crate::tasks;
use futures_util::FutureExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the topics are looked at again.
const TOPIC_REFRESH: Duration = Duration::from_secs(300);

/// What is wanted of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    Run,
    /// Drained and committed, standing still at its checkpoint.
    Paused,
    /// Drained, committed and closed.
    Stopped,
}

/// Carries changes until [`Desired::Stopped`], standing still whenever and for as long as it should. A pause
/// ends the run as a stop does, so that the next run is a start from the checkpoint like every other.
///
/// # Errors
/// What made it impossible to continue; its code says what to do.
pub async fn run(
    spec: StreamSpec,
    shared: Shared,
    board: Arc<Board>,
    desk: Arc<Desk>,
    mut desired: watch::Receiver<Desired>,
) -> Result<(), Error> {
    let ended = CancellationToken::new();
    let _ended = ended.clone().drop_guard();
    tasks::spawn(headroom::watch(
        shared.client.clone(),
        Arc::clone(&board),
        ended,
    ));
    // Of a pause that was cut short: it has left records undelivered.
    let mut cut_short: Result<(), Error> = Ok(());
    loop {
        match wanted(
            &mut desired,
            |desired| desired != Desired::Paused,
            || {
                board.enter(State::Paused);
            },
        )
        .await
        {
            Desired::Stopped => return cut_short,
            Desired::Run | Desired::Paused => board.enter(State::Starting),
        }
        let halt = CancellationToken::new();
        let mut running = Box::pin(carry(
            spec.clone(),
            shared.clone(),
            Arc::clone(&board),
            Arc::clone(&desk),
            halt.clone(),
        ));
        let ended = tokio::select! {
            ended = &mut running => ended,
            _ = wanted(&mut desired, |desired| desired != Desired::Run, || {}) => {
                halt.cancel();
                running.await
            }
        };
        if !halt.is_cancelled() || *desired.borrow() == Desired::Stopped {
            return ended;
        }
        cut_short = match ended {
            Ok(()) => {
                board.cut_short.set(false);
                Ok(())
            }
            // What was not acknowledged in time is read again.
            Err(error) if error.code == Code::DrainTimedOut => {
                tracing::warn!(
                    "paused before kafka acknowledged the last records: they come again"
                );
                board.cut_short.set(true);
                Err(error)
            }
            Err(error) => return Err(error),
        };
    }
}

/// Waits until what is wanted is as it should be; `meanwhile` is called once where that is not so at once. A
/// stream whose handle is gone is stopped.
async fn wanted(
    desired: &mut watch::Receiver<Desired>,
    is_so: impl Fn(Desired) -> bool,
    meanwhile: impl FnOnce(),
) -> Desired {
    let now = *desired.borrow_and_update();
    if is_so(now) {
        return now;
    }
    meanwhile();
    match desired.wait_for(|desired| is_so(*desired)).await {
        Ok(desired) => *desired,
        Err(_) => Desired::Stopped,
    }
}

/// One run: from the checks to the last commit.
async fn carry(
    spec: StreamSpec,
    shared: Shared,
    board: Arc<Board>,
    desk: Arc<Desk>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (context, opened, store) = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = start::open(spec, shared, board, desk, stop.clone()).boxed() => match opened? {
            Some(opened) => opened,
            None => return Ok(()),
        },
    };
    let done = CancellationToken::new();
    let _done = done.clone().drop_guard();
    if let Some(telling) = Telling::of(&context, store.claim().epoch) {
        tasks::spawn(telling.run(done));
    }
    let checkpoints = Checkpoints::new(context.spec.sink.delivery, store)?;
    let checkpoints = tokio::select! {
        ended = supervise(&context, opened, checkpoints).boxed() => ended?,
        never = watch_topics(&context) => match never {},
    };
    let closing = tokio::time::timeout(
        context.shared.grace.left().max(incarnation::LAST_COMMIT),
        checkpoints.close(),
    );
    closing
        .await
        .unwrap_or_else(|_elapsed| Err(committer::not_in_time()))?;
    match context.shared.kafka.dry_run {
        true => tracing::info!("stopped; a dry run: nothing was produced and nothing stored"),
        false => tracing::info!("stopped; everything delivered is committed"),
    }
    Ok(())
}

/// Looks again at the topics in use from time to time: limits change, and partitions are added, which
/// moves keys.
async fn watch_topics(context: &StreamContext) -> Infallible {
    loop {
        tokio::time::sleep(TOPIC_REFRESH).await;
        for notice in context.topics.refresh(&context.router.table().all()).await {
            tracing::warn!("{notice}");
        }
    }
}
