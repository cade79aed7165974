//! Handlers that change while jobs wait for them.

use super::Dispatcher;
use crate::status::worker::HandlerState;
use crate::worker::documents::Known;
use crate::worker::handler::{Handler, Handlers, Order};
use crate::worker::job::{Failure, Job, Reason};
use std::sync::Arc;

impl Dispatcher {
    /// Goes by these handlers from now on, also for what waits.
    pub(super) fn adopt(&mut self, known: Arc<Known>) {
        let before = std::mem::replace(&mut self.known, known);
        let now = Arc::clone(&self.known);
        let mut gone = Vec::new();
        for (job, former) in &before.handlers {
            let new = now.handlers.get(job);
            if new.is_some_and(|new| Arc::ptr_eq(new, former)) {
                continue;
            }
            // What was learned of the former one says nothing of this one.
            self.off.remove(job);
            self.circuits.remove(job);
            self.held.remove(job);
            self.queue.bound(job, None);
            self.queue.hold(job, false);
            self.board.change().handlers.remove(&**job);
            match new {
                Some(new) => self.queue.replace(new),
                None => gone.extend(self.queue.drain(job)),
            }
        }
        let changed = now.handlers.iter().filter(|(job, handler)| {
            let former = before.handlers.get(*job);
            former.is_none_or(|former| !Arc::ptr_eq(former, handler))
        });
        let changed: Vec<_> = changed.map(|(job, _)| &**job).collect();
        tracing::info!(
            changed = ?changed,
            handlers = now.handlers.len(),
            "handlers of listeners have changed"
        );
        show(&now.handlers, self);
        for job in gone {
            let failure = self.missing(&job);
            self.bury(job, failure);
        }
    }

    /// Why there is nothing to do about a job.
    pub(super) fn missing(&self, job: &Job) -> Failure {
        let wrong = job.record.job().and_then(|name| self.known.wrong.get(name));
        let detail = match (job.record.job(), wrong) {
            (None, _) => "the record names no job: it has no header tw-job",
            (Some(_), Some(wrong)) => wrong,
            (Some(_), None) => {
                "there is no handler for this job; give it one in WORKER_HANDLERS, or in its listener"
            }
        };
        Failure::new(Reason::NoHandler, detail)
    }

    /// Whether this is what is done about its job now.
    pub(super) fn is_in_force(&self, handler: &Arc<Handler>) -> bool {
        let known = self.known.handlers.get(&handler.job);
        known.is_some_and(|known| Arc::ptr_eq(known, handler))
    }
}

/// Says what is called for each job, and that there has to be a topic of retries where that is so.
pub(super) fn show(handlers: &Handlers, dispatcher: &Dispatcher) {
    if handlers.values().any(|it| it.order == Order::None) {
        dispatcher.parking.need();
    }
    let mut view = dispatcher.board.change();
    for (job, handler) in handlers {
        let state = view.handlers.entry(job.to_string()).or_default();
        *state = HandlerState {
            calls: handler.call.to_string(),
            ..std::mem::take(state)
        };
    }
}
