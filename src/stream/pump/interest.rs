//! What the server is asked for follows what listeners want.
//!
//! A listener that wants more than comes has the stream opened anew right behind its own change: what was read ahead
//! lacks what it wants. One that wants less only makes the stream larger than it need be, which has time.

use super::Pump;
use crate::change::position::Position;
use crate::route::{Interest, Route};
use crate::source::cursor::MAX_AWAIT;
use crate::source::reader::{Fetched, Request};
use crate::stream::produce::Produce;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long listeners must rest before less is asked for: people change several at a time.
const CALM: Duration = Duration::from_secs(10);

/// A stream that was opened anew for more so short a time ago is opened for everything: listeners are made by the
/// hundred, too, each for another collection.
const SOON: Duration = Duration::from_secs(1);

/// How long the server waits for an event while rows wait for the stream to pass their time.
const OFTEN: Duration = Duration::from_millis(50);

/// What the server is asked for now.
pub(super) struct Reading {
    requests: watch::Sender<Option<Request>>,
    asked: Interest,
    /// What is wanted, where a change of listeners has made it another.
    wanted: Option<Interest>,
    changed: Instant,
    widened: Option<Instant>,
    number: u64,
    patience: Duration,
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
            widened: None,
            // An incarnation's reader is its own, and so are the numbers of its requests.
            number: 0,
            patience: MAX_AWAIT,
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

    /// Whether all that is wanted comes, also of what is in a reply already.
    pub(super) fn is_enough(&self, wanted: &Interest) -> bool {
        self.asked.covers(wanted)
    }

    fn ask(&mut self, position: Position, interest: Interest) {
        self.number += 1;
        self.awaited = Some(self.number);
        self.asked = interest.clone();
        self.requests.send_replace(Some(Request {
            number: self.number,
            position,
            interest,
            patience: self.patience,
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
        let asked = &self.reading.asked;
        let is_enough = |wanted: &Interest| asked.covers(wanted);
        let Some(wanted) = self.reading.wanted.take_if(|wanted| !is_enough(wanted)) else {
            return false;
        };
        let now = Instant::now();
        let last = self.reading.widened.replace(now);
        match last.is_some_and(|last| now.duration_since(last) < SOON) {
            true => {
                // What is not wanted of it has time.
                self.reading.wanted = Some(wanted);
                self.reopen(Interest::Everything)
            }
            false => self.reopen(wanted),
        }
    }

    /// Has the stream opened anew where it stands, if listeners have wanted less than comes for a while.
    pub(super) fn narrow(&mut self) {
        if self.reading.changed.elapsed() >= CALM
            && let Some(wanted) = self.reading.wanted.take()
            && wanted != self.reading.asked
        {
            self.reopen(wanted);
        }
    }

    /// Has the stream asked more often, or as before, whether there is something new. Whether it is opened anew.
    pub(super) fn ask_often(&mut self, is_often: bool) {
        let patience = if is_often { OFTEN } else { MAX_AWAIT };
        if self.reading.patience != patience {
            self.reading.patience = patience;
            let interest = self.reading.asked.clone();
            self.reopen(interest);
        }
    }

    fn reopen(&mut self, interest: Interest) -> bool {
        let Some(position) = self.outlet.reached().position() else {
            return false;
        };
        tracing::debug!("reopening the change stream for what is wanted now");
        self.reading.ask(position, interest);
        true
    }
}
