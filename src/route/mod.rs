//! From an event to the topic of its record.

mod template;
pub mod topic;

pub use template::{MAX_TOPIC_LEN, Template};
pub use topic::{Route, RouteError, Router, Topic, TopicId, TopicTable};
