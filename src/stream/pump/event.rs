//! One event: numbered, taken up or passed over, counted.

use super::{End, Pump, Step};
use crate::change::event::{Event, Operation};
use crate::change::extra::Extra;
use crate::flow::batch::ClosedBy;
use crate::route::{Changed, Route};
use crate::stream::produce::Produce;
use std::sync::atomic::Ordering;

/// How many unknown operations are told apart in the log.
const MOST_TOLD: usize = 100;

impl<P: Produce, R: Route> Pump<'_, P, R> {
    pub(super) async fn event(&mut self, event: &Event<'_>) -> Step {
        if self.outlet.is_broken() {
            return Err(End::Producer);
        }
        self.touch(event);
        // Not among the events of the metrics either: names that are new each time would use up the labels.
        let wanted = match self.takes_change(event) {
            true => None,
            false => self.wanted(event),
        };
        let Some(by_configuration) = wanted else {
            self.redefine(event);
            self.leave_out(event);
            if self.is_replaced {
                return Err(End::ListenersReplaced);
            }
            if std::mem::take(&mut self.is_more_wanted) {
                self.put_in_force();
            }
            if self.is_changing {
                return Ok(());
            }
            return Ok(self.outlet.commit_if_due().await?);
        };
        self.counts.event(&self.board.metrics, event);
        let time = event.timestamp_millis();
        let in_hand = &self.board.in_hand_millis;
        in_hand.store(time.unwrap_or(0), Ordering::Relaxed);
        let seq = self.outlet.reached().seq.next();
        self.take_up(event, seq, by_configuration).await?;
        if let Some(millis) = time {
            self.board.last_seen_millis.store(millis, Ordering::Relaxed);
        }
        self.redefine(event);
        self.outlet.count(event);
        Ok(self.outlet.commit_if_due().await?)
    }

    /// Whether the event takes a number, and then whether it does so by the configuration, or for listeners alone.
    pub(super) fn wanted(&self, event: &Event<'_>) -> Option<bool> {
        let Some(reach) = &self.reach else {
            return (!self.filter.leaves_out(event)).then_some(true);
        };
        let by_configuration = self.beside_topics && self.filter.takes(event);
        let is_wanted = by_configuration || (self.router.wants(event) && reach.takes(event));
        is_wanted.then_some(by_configuration)
    }

    /// Applies a change of the listeners, and says whether the event is nothing but that.
    ///
    /// Listeners come by the thousand, too, and putting them in force takes a look at each: that is done once, behind
    /// the last of the changes that follow each other. But one that wants more than comes is put in force at once:
    /// between it and the next change may be events that the server was not asked for.
    pub(super) fn takes_change(&mut self, event: &Event<'_>) -> bool {
        if !self.router.changes_with(event) {
            return false;
        }
        let is_all = event.operation != Operation::DropDatabase;
        match self.router.change(event) {
            Changed::Nothing => {}
            Changed::To(wanted) => {
                self.is_more_wanted |= !self.reading.is_enough(&wanted);
                if !std::mem::replace(&mut self.is_changing, true) {
                    // What is open ends before it.
                    self.outlet.seal(ClosedBy::Wait);
                }
                if !is_all {
                    self.renew_listeners();
                }
            }
            Changed::Unknown => {
                self.outlet.reach_with(Extra::LISTENERS, None);
                self.is_changing = false;
                self.is_more_wanted = false;
                self.is_replaced = true;
            }
        }
        is_all
    }

    /// Puts in force what listeners have become, if they have changed.
    pub(super) fn put_in_force(&mut self) {
        if self.is_changing {
            self.renew_listeners();
            self.outlet.pass_reached();
        }
    }

    fn renew_listeners(&mut self) {
        self.is_changing = false;
        self.is_more_wanted = false;
        let listeners = self.router.put_in_force();
        self.outlet.reach_with(Extra::LISTENERS, Some(listeners));
        self.interest_changed();
    }

    /// Passes over what the filter does not want: it takes no number.
    pub(super) fn leave_out(&mut self, event: &Event<'_>) {
        self.board.passed.add(1);
        if let Some(millis) = event.timestamp_millis() {
            self.board.last_seen_millis.store(millis, Ordering::Relaxed);
        }
        match self.is_changing {
            true => self.outlet.step_over(event),
            false => self.outlet.leave_out(event),
        }
    }

    /// Takes note of an event that makes no record.
    pub(super) fn pass_over(&mut self, event: &Event<'_>) {
        self.board.passed.add(1);
        // A change that nobody wants is nothing to speak of; the end of the stream is no change of a schema.
        if event.operation.is_document() || event.operation == Operation::Invalidate {
            return;
        }
        if event.is_unknown() && self.is_news(event.operation_name) {
            tracing::warn!(
                operation = event.operation_name,
                database = event.database,
                collection = event.collection,
                "an event of an operation that is not known here has no record, and neither have those to \
                 come; KAFKA_TOPIC_DDL gives them one"
            );
            return;
        }
        tracing::info!(
            operation = event.operation_name,
            database = event.database,
            collection = event.collection,
            "schema change without a record; KAFKA_TOPIC_DDL gives it one"
        );
    }

    /// Whether nothing was said of this operation yet. So many names are remembered as a server can have.
    fn is_news(&mut self, operation: &str) -> bool {
        let is_news = !self.told_operations.contains(operation);
        if is_news && self.told_operations.len() < MOST_TOLD {
            self.told_operations.insert(operation.to_owned());
        }
        is_news
    }
}
