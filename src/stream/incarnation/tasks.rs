//! What runs beside the pump of an incarnation: the reader, and at least once the committer.

use super::panicked;
use crate::change::position::Position;
use crate::checkpoint::committer::Committer;
use crate::error::Error;
use crate::flow::budget::Budget;
use crate::route::Interest;
use crate::source::cursor::Cursor;
use crate::source::reader::{Fetched, READ_AHEAD, Reader, Request};
use crate::stream::context::StreamContext;
use crate::tasks;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

/// What has become of the committer of an incarnation.
pub(super) type Committed = Result<(Committer, Result<(), Error>), JoinError>;

/// The task that reads the change stream.
pub(super) struct Reading {
    task: JoinHandle<()>,
    halt: CancellationToken,
    requests: watch::Sender<Option<Request>>,
}

impl Reading {
    /// With a cursor that was opened for at least what listeners want at the position.
    pub(super) fn start(
        context: &StreamContext,
        budget: Arc<Budget>,
        cursor: Option<Cursor>,
        position: &Position,
        interest: &Interest,
    ) -> (Self, mpsc::Receiver<Fetched>) {
        let (sender, replies) = mpsc::channel::<Fetched>(READ_AHEAD);
        let halt = context.stop().child_token();
        let mut opener = context.opener.clone();
        opener.watch.ask(interest);
        let (requests, requested) = watch::channel(None);
        let reader = Reader {
            opener,
            budget,
            replies: sender,
            requests: requested,
        };
        let task = tasks::spawn(reader.run(cursor, position.clone(), halt.clone()));
        let reading = Self {
            task,
            halt,
            requests,
        };
        (reading, replies)
    }

    /// Where the reader is asked for something else.
    pub(super) fn requests(&self) -> &watch::Sender<Option<Request>> {
        &self.requests
    }

    pub(super) fn halt(&self) {
        self.halt.cancel();
    }

    pub(super) async fn ended(self) -> Result<(), Error> {
        self.task.await.map_err(|error| panicked("reader", error))
    }
}

/// The task that commits beside the pump, at least once. Exactly once there is none.
pub(super) struct Committing {
    task: Option<JoinHandle<(Committer, Result<(), Error>)>>,
    halt: CancellationToken,
    /// How it has ended, by itself or because it was halted.
    end: Option<Committed>,
}

impl Committing {
    pub(super) fn start(committer: Committer) -> Self {
        let halt = CancellationToken::new();
        Self {
            task: Some(tasks::spawn(committer.run(halt.clone()))),
            halt,
            end: None,
        }
    }

    pub(super) fn none() -> Self {
        Self {
            task: None,
            halt: CancellationToken::new(),
            end: None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Waits for its end; never comes back without a task.
    pub(super) async fn ended(&mut self) {
        match &mut self.task {
            Some(task) => self.end = Some(task.await),
            None => std::future::pending().await,
        }
        self.task = None;
    }

    /// Lets it commit for the last time, until `given_up`. None where there was no task, or it was given up.
    pub(super) async fn finish(mut self, given_up: impl Future<Output = ()>) -> Option<Committed> {
        self.halt.cancel();
        if self.task.is_some() {
            tokio::select! {
                () = self.ended() => {}
                () = given_up => {}
            }
        }
        self.end
    }
}
