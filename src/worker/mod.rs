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
mod queue;
mod signature;
mod topics;

use crate::config::worker::DEAD_LETTERS;
use crate::config::{Config, Worker};
use crate::error::{Code, Error};
use crate::listener::file::Wrong;
use crate::status::worker::Board;
use crate::tasks;
use dead_letters::DeadLetters;
use dispatch::Dispatcher;
use group::{Event, Member};
use handler::Handlers;
use http::Caller;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Works until asked to stop.
///
/// # Errors
/// What made it impossible to continue; its code gives the exit code.
pub async fn run(
    config: &Config,
    handlers: Handlers,
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
    topics::prepare(&config.kafka, DEAD_LETTERS, &board, stop).await?;
    let (member, mut heard) = Member::join(&config.kafka, group, *concurrency, Arc::clone(&board))?;
    tracing::info!(group, handlers = handlers.len(), "working on jobs");
    let mut dispatcher = Dispatcher::new(
        handlers,
        *concurrency,
        caller,
        dead_letters.clone(),
        Arc::clone(&board),
    );
    let worked = {
        let following = topics::follow(patterns, &dead_letters, &member, &board);
        let working = dispatcher.run(&mut heard, stop, config.shutdown_timeout);
        tokio::select! {
            worked = working => worked,
            // It has no end.
            () = following => Ok(false),
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
