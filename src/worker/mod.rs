//! Workers: a consumer group over the topics of jobs, which hands each record to the handler of its job.
//!
//! One thread reads and commits (`group`), one task says what comes next and what follows from how it ended
//! (`dispatch`, `queue`, `circuit`). What is committed of a partition is the contiguous prefix of what is done or a dead
//! letter (`assigned`): a crash repeats, and never loses.

mod address;
mod assigned;
mod circuit;
mod dead_letters;
mod dispatch;
mod exec;
mod group;
pub mod handler;
mod http;
mod job;
mod parking;
mod queue;
mod retry;
mod signature;
mod topics;

use crate::config::{Config, Kafka, Worker};
use crate::error::{Code, Error};
use crate::listener::file::Wrong;
use crate::log::event_id;
use crate::status::worker::Board;
use crate::tasks;
use dead_letters::DeadLetters;
use dispatch::Dispatcher;
use group::{Event, Member};
use handler::{Handlers, Order};
use http::Caller;
use parking::Parking;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use topics::Own;

/// Works until asked to stop.
///
/// # Errors
/// What made it impossible to continue; its code gives the exit code.
pub async fn run(
    config: &Config,
    handlers: Handlers,
    instance: &str,
    board: Arc<Board>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let Worker {
        topics: patterns,
        group,
        concurrency,
        allows_private,
        ..
    } = &config.worker;
    let caller = Caller::new(*allows_private)?;
    let dead_letters = DeadLetters::new(&config.kafka, group)?;
    let parking = Parking::new(&config.kafka, group, instance, Arc::clone(&board));
    let parking = Arc::new(parking);
    if handlers.values().any(|it| it.order == Order::None) {
        parking.need();
    }
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        prepared = prepare(&config.kafka, group, &parking, &board) => prepared?,
    }
    let joined = Member::join(
        &config.kafka,
        group,
        *concurrency,
        Arc::clone(&parking),
        Arc::clone(&board),
    );
    let (member, mut heard) = joined?;
    tracing::info!(group, handlers = handlers.len(), "working on jobs");
    let mut dispatcher = Dispatcher::new(
        handlers,
        *concurrency,
        caller,
        dead_letters.clone(),
        Arc::clone(&parking),
        Arc::clone(&board),
    );
    let worked = {
        let read = (&config.kafka, patterns.as_slice());
        let following = topics::follow(read, &dead_letters, (&member, &parking), &board);
        let working = dispatcher.run(&mut heard, stop, config.shutdown_timeout);
        tokio::select! {
            worked = working => worked,
            // It has no other end.
            Err(error) = following => Err(error),
        }
    };
    board.ready.set(false);
    leave(member, &mut heard).await;
    match worked {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(
            Code::DrainTimedOut,
            "jobs still ran when SHUTDOWN_TIMEOUT_MS was over; they are repeated",
        )),
        Err(error) => Err(error),
    }
}

/// Sees to the workers' own topics.
async fn prepare(
    kafka: &Kafka,
    group: &str,
    parking: &Parking,
    board: &Board,
) -> Result<(), Error> {
    topics::prepare(kafka, Own::DeadLetters, board).await?;
    if parking.is_needed() {
        topics::prepare(kafka, Own::Retries(parking), board).await?;
    }
    let (kafka, group, topic) = (kafka.clone(), group.to_owned(), parking.topic.clone());
    let looked = tasks::blocking("the topic of retries", move || {
        topics::expired(&kafka, &group, &topic)
    });
    match looked.await? {
        Ok(0) => {}
        Ok(count) => tracing::error!(
            event_id = event_id::RETRIES_LOST,
            topic = parking.topic,
            count,
            "records of jobs that waited for their next attempt were deleted before any worker of the group has read \
             them: those jobs are lost; raise retention.ms of the topic"
        ),
        // There is none, or the group says nothing of it: then nobody has read it.
        Err(error) => tracing::debug!("whether jobs were lost is not known: {error}"),
    }
    Ok(())
}

/// Leaves the group, and hears what it says meanwhile.
async fn leave(member: Member, heard: &mut mpsc::Receiver<Event>) {
    let leaving = tasks::blocking("the workers' group", move || member.leave());
    let mut leaving = std::pin::pin!(leaving);
    loop {
        tokio::select! {
            _ = &mut leaving => return,
            _ = heard.recv() => {}
        }
    }
}

/// The handlers of the file.
///
/// # Errors
/// [`Code::Config`] with everything that is wrong.
pub fn handlers(worker: &Worker) -> Result<Handlers, Error> {
    let Some(file) = &worker.handlers else {
        let detail = "WORKER_HANDLERS is not set, and there is nothing to do about any job; name a file such as \
                      /etc/tailwater/handlers.yaml (docs/workers.md)";
        return Err(Error::new(Code::Config, detail));
    };
    handler::read(&file.path, &file.text, Some(worker.allows_private)).map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(Wrong::to_string).collect();
        let detail = format!(
            "WORKER_HANDLERS={}: {} wrong: {}",
            file.path.display(),
            wrong.len(),
            wrong.join("; ")
        );
        Error::new(Code::Config, detail)
    })
}
