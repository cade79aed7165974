//! What the server is asked for follows what listeners want.
//!
//! A listener that wants more than comes has the stream opened anew right behind its own change: what was read ahead
//! lacks what it wants. One that wants less only makes the stream larger than it need be, which has time.

use super::Pump;
use crate::change::position::{Position, ResumeToken};
use crate::route::{Interest, Route};
use crate::source::reader::{Fetched, Request};
use crate::stream::produce::Produce;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long listeners must rest before less is asked for: people change several at a time.
const CALM: Duration = Duration::from_secs(10);

/// What the server is asked for now.
pub(super) struct Reading {
    requests: watch::Sender<Option<Request>>,
    asked: Interest,
    /// What is wanted, where a change of listeners has made it another.
    wanted: Option<Interest>,
    changed: Instant,
    number: u64,
    /// The request whose replies are waited for: what comes before them is not what is wanted.
    awaited: Option<u64>,
}

impl Reading {
    pub(super) fn new(requests: &watch::Sender<Option<Request>>, asked: Interest) -> Self {
        Self {
            requests: requests.clone(),
            asked,
            wanted: None,
            changed: Instant::now(),
            // An incarnation's reader is its own, and so are the numbers of its requests.
            number: 0,
            awaited: None,
        }
    }

    /// Whether this was asked for before what is wanted now.
    pub(super) fn is_stale(&mut self, fetched: &Fetched) -> bool {
        let Some(awaited) = self.awaited else {
            return false;
        };
        match fetched {
            Fetched::Reopened(number) if *number == awaited => {
                self.awaited = None;
                false
            }
            Fetched::Failed(_) => false,
            _ => true,
        }
    }

    fn ask(&mut self, position: Position, interest: Interest) {
        self.number += 1;
        self.awaited = Some(self.number);
        self.asked = interest.clone();
        self.requests.send_replace(Some(Request {
            number: self.number,
            position,
            interest,
        }));
    }
}

impl<P: Produce, R: Route> Pump<'_, P, R> {
    /// Takes note of what listeners want since a change.
    pub(super) fn interest_changed(&mut self) {
        self.reading.wanted = Some(self.router.interest());
        self.reading.changed = Instant::now();
    }

    /// Has the stream opened anew where it stands, if listeners want more than comes; whether it is.
    pub(super) fn widen(&mut self) -> bool {
        let is_enough = |wanted: &Interest| self.reading.asked.covers(wanted);
        if self.reading.wanted.as_ref().is_none_or(is_enough) {
            return false;
        }
        self.reopen()
    }

    /// Has the stream opened anew where it stands, if listeners have wanted less than comes for a while.
    pub(super) fn narrow(&mut self) {
        if self.reading.wanted.is_some() && self.reading.changed.elapsed() >= CALM {
            self.reopen();
        }
    }

    fn reopen(&mut self) -> bool {
        let Some(wanted) = self.reading.wanted.take() else {
            return false;
        };
        if wanted == self.reading.asked {
            return false;
        }
        let reached = self.outlet.reached();
        let Some(token) = ResumeToken::from_bytes(&reached.token) else {
            return false;
        };
        let position = Position {
            token,
            seq: reached.seq,
            time_millis: reached.time_millis,
            cluster_time: reached.cluster_time,
            extra: reached.extra.clone(),
        };
        tracing::debug!("reopening the change stream for what listeners want now");
        self.reading.ask(position, wanted);
        true
    }
}
