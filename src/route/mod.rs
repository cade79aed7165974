//! From an event to its records: whom they are for, and their topics.

mod table;
pub mod target;
mod template;
pub mod topic;

pub use table::{AFTER, BEFORE, OutOfTime, RouteError, TimeLimits, Topic, TopicId, TopicTable};
pub use target::{ListenerTag, Target, TargetId, Targets};
pub use template::{MAX_TOPIC_LEN, Template};
pub use topic::Router;

use crate::change::event::Event;
use std::sync::Arc;

/// What says which records an event makes. The [`Router`] is the only one outside of tests, and known when it is
/// compiled: a call costs what it cost without this.
pub trait Route: Clone {
    /// The topics, for the sink.
    fn table(&self) -> &Arc<TopicTable>;

    /// The records that `event` makes; none where nobody wants it.
    fn route(&mut self, event: &Event<'_>) -> Targets;

    /// The dead-letter topic for an event; `None` where `KAFKA_DLQ_TOPIC` is not set.
    ///
    /// # Errors
    /// [`RouteError`] when the template gives no topic for this event.
    fn dead_letter(&mut self, event: &Event<'_>) -> Result<Option<TopicId>, RouteError>;
}
