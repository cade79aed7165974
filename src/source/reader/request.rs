//! Requests to resume from a position with other stages: what listeners want has changed there.

use crate::change::position::Position;
use crate::route::Interest;
use std::time::Duration;
use tokio::sync::watch;

/// Asks a reader to resume from a position, for what listeners want from there on.
#[derive(Debug, Clone)]
pub struct Request {
    /// Counts the requests.
    pub number: u64,
    pub position: Position,
    pub interest: Interest,
    /// How long the server waits for an event before it answers that there is none.
    pub patience: Duration,
}

/// The newest request that was not seen yet.
pub(super) fn newest(requests: &mut watch::Receiver<Option<Request>>) -> Option<Request> {
    match requests.has_changed() {
        Ok(true) => requests.borrow_and_update().clone(),
        Ok(false) | Err(_) => None,
    }
}

/// Waits for a request that was not seen yet, and leaves it at that.
pub(super) async fn made(requests: &mut watch::Receiver<Option<Request>>) {
    let unseen = requests.clone();
    match requests.changed().await {
        Ok(()) => *requests = unseen,
        // Nobody is there to ask for anything.
        Err(_) => std::future::pending().await,
    }
}
