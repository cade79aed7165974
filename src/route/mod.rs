//! From an event to its records: whom they are for, and their topics.

pub mod interest;
mod table;
pub mod target;
mod template;
pub mod topic;

pub use interest::Interest;
pub use table::{AFTER, BEFORE, OutOfTime, RouteError, TimeLimits, Topic, TopicId, TopicTable};
pub use target::{ListenerTag, Target, TargetId, Targets};
pub use template::{MAX_TOPIC_LEN, Template, is_legal};
pub use topic::Router;

use crate::change::event::Event;
use std::sync::Arc;

/// What an event has made of the listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// They are as before.
    Nothing,
    /// They are others, in force from [`Route::put_in_force`] on. What the one that has changed wants now.
    To(Interest),
    /// Another collection has taken the place of theirs: what is in it does not come with the stream.
    Unknown,
}

/// What says which records an event makes. Outside of tests there is one, known when it is compiled: a call costs
/// what it cost without this.
pub trait Route: Clone {
    /// The topics, for the sink.
    fn table(&self) -> &Arc<TopicTable>;

    /// Whether a listener wants the event's namespace and operation: then it takes a number, whatever the filters
    /// of listeners say of its document.
    fn wants(&self, _event: &Event<'_>) -> bool {
        false
    }

    /// The records that `event` makes; none where nobody wants it. Whether the configuration wants it is known
    /// already.
    fn route(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets;

    /// Whether rows of snapshots have a topic.
    fn has_rows(&self) -> bool {
        true
    }

    /// As [`route`](Self::route), for an event that is only looked at ahead.
    fn look(&mut self, event: &Event<'_>, by_configuration: bool) -> Targets {
        self.route(event, by_configuration)
    }

    /// The dead-letter topic for an event; `None` where `KAFKA_DLQ_TOPIC` is not set.
    ///
    /// # Errors
    /// [`RouteError`] when the template gives no topic for this event.
    fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError>;

    /// The topic that says where transactions of MongoDB begin and end; none where none is asked for.
    fn bounds(&self) -> Option<TopicId> {
        None
    }

    /// Whether the event is a change of the listeners themselves.
    fn changes_with(&self, _event: &Event<'_>) -> bool {
        false
    }

    /// Applies a change of the listeners. Many often come at once: they are put in force together.
    fn change(&mut self, _event: &Event<'_>) -> Changed {
        Changed::Nothing
    }

    /// Puts the changes so far in force. What a position behind them holds of the listeners.
    fn put_in_force(&mut self) -> bson::Bson {
        bson::Bson::Null
    }

    /// What listeners want of the stream now.
    fn interest(&self) -> Interest {
        Interest::Everything
    }

    /// Takes note that a record was sent, of a change at this time.
    fn sent(&self, _target: TargetId, _time_millis: Option<i64>) {}

    /// Takes note that a listener cannot have a record, and why; whether that is news.
    fn refused(&self, _target: TargetId, _reason: &str) -> bool {
        false
    }
}
