//! From an event to the topic of its record.

mod table;
mod template;
pub mod topic;

pub use table::{AFTER, BEFORE, OutOfTime, RouteError, TimeLimits, Topic, TopicId, TopicTable};
pub use template::{MAX_TOPIC_LEN, Template};
pub use topic::{Route, Router};
