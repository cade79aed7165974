//! Workers: a consumer group over the topics of jobs, which hands each record to the handler of its job.
//!
//! One thread reads and commits (`group`), one task says what comes next and what follows from how it ended
//! (`dispatch`, `queue`, `circuit`). What is committed of a partition is the contiguous prefix of what is done or a dead
//! letter (`assigned`): a crash repeats, and never loses.

mod address;
mod assigned;
mod circuit;
mod connection;
mod dead_letters;
mod dispatch;
pub mod documents;
mod exec;
mod group;
pub mod handler;
mod http;
mod job;
pub mod journal;
pub mod members;
mod parking;
mod queue;
mod retry;
mod signature;
mod topics;

use crate::config::{Config, Kafka, Worker};
use crate::error::{Code, Error};
use crate::listener::file::Wrong;
use crate::status::worker::Board;
use crate::tasks;
use dead_letters::DeadLetters;
use dispatch::Dispatcher;
use documents::{Documents, Known};
use group::{Event, Member};
use handler::{Handlers, Order};
use http::Caller;
use journal::Journal;
use parking::Parking;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use topics::Own;

/// Works until asked to stop.
///
/// # Errors
/// What made it impossible to continue; its code gives the exit code.
pub async fn run(
    config: &Config,
    handlers: Handlers,
    (listeners, journal): (Option<documents::Place>, Option<Journal>),
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
    let caller = Caller::new(*allows_private, config.worker.tls_ca.as_ref())?;
    let journal = journal.map(Arc::new);
    let dead_letters = DeadLetters::new(&config.kafka, group)?;
    let parking = Parking::new(&config.kafka, group, Arc::clone(&board));
    let parking = Arc::new(parking);
    if handlers.values().any(|it| it.order == Order::None) {
        parking.need_at_start();
    }
    let mut of_listeners =
        listeners.map(|it| Documents::new(it, handlers.clone(), *allows_private));
    let begun = async {
        prepare(&config.kafka, &parking, &board).await?;
        Ok::<_, Error>(match &mut of_listeners {
            Some(documents) => documents.first(&board).await,
            None => Known {
                handlers,
                ..Known::default()
            },
        })
    };
    let known = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        begun = begun => Arc::new(begun?),
    };
    let joined = Member::join(
        &config.kafka,
        group,
        *concurrency,
        Arc::clone(&parking),
        Arc::clone(&board),
    );
    let (member, mut heard) = joined?;
    tracing::info!(group, handlers = known.handlers.len(), "working on jobs");
    let (tell, mut told) = watch::channel(Arc::clone(&known));
    let mut dispatcher = Dispatcher::new(
        known,
        *concurrency,
        caller,
        dead_letters.clone(),
        Arc::clone(&parking),
        journal.clone(),
        Arc::clone(&board),
    );
    // Where the calls run, too: in the task that waits for all of this, each that ends would wake another thread.
    let working = {
        let (stop, grace) = (stop.clone(), config.shutdown_timeout);
        tasks::spawn(async move {
            let worked = dispatcher.run(&mut heard, &mut told, &stop, grace).await;
            (worked, heard)
        })
    };
    let ended = {
        let read = (&config.kafka, patterns.as_slice());
        let following = topics::follow(read, &dead_letters, (&member, &parking), &board);
        let reading = async {
            match of_listeners {
                Some(documents) => documents.follow(tell, &board).await,
                None => {
                    drop(tell);
                    std::future::pending().await
                }
            }
        };
        let telling = async {
            match &journal {
                Some(journal) => journal.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = working => ended.ok(),
            // They have no end.
            () = following => None,
            () = reading => None,
            () = telling => None,
        }
    };
    board.ready.set(false);
    // A panic has been reported by the panic hook, and ends the process.
    let Some((worked, mut heard)) = ended else {
        return Err(Error::new(
            Code::Internal,
            "the dispatching of jobs has ended",
        ));
    };
    leave(member, &mut heard).await;
    if let Some(journal) = &journal {
        journal.flush().await;
    }
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
async fn prepare(kafka: &Kafka, parking: &Parking, board: &Board) -> Result<(), Error> {
    topics::prepare(kafka, Own::DeadLetters, board).await?;
    if parking.is_needed() {
        topics::prepare(kafka, Own::Retries(parking), board).await?;
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
pub fn handlers(worker: &Worker, has_listeners: bool) -> Result<Handlers, Error> {
    let Some(file) = &worker.handlers else {
        if has_listeners {
            return Ok(Handlers::new());
        }
        let detail = "WORKER_HANDLERS is not set, and there is nothing to do about any job; name a file such as \
                      /etc/tailwater/handlers.yaml, or set LISTENERS_COLLECTION and MONGODB_URI for handlers in the \
                      documents of listeners (docs/workers.md)";
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
