//! Schedules: jobs that are due at a time, which users keep in a collection or a file.

use super::Bootstrap;
use super::patterns::covers;
use super::worker::is_reserved;
use crate::change::namespace::Namespace;

/// `SCHEDULES_COLLECTION` or `SCHEDULES_FILE`, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules {
    /// The id of all of them together: `<KAFKA_CLIENT_ID>/schedules`, which is no stream's.
    pub unit: String,
    /// `SCHEDULES_COLLECTION`.
    pub at: Option<Namespace>,
    /// `SCHEDULES_FILE`, as it was at the start.
    pub file: Option<Bootstrap>,
    /// `LISTENERS_TOPICS`: patterns of the topics that a job may go to.
    pub topics: Vec<String>,
    /// Topics of Tailwater's own, with all whose names continue with a dot.
    pub reserved: Vec<String>,
    /// Where it is kept how far each schedule is: `<RESUME_TOPIC>.schedules`.
    pub progress: String,
}

impl Schedules {
    /// Whether a job may go to this topic.
    pub fn allow(&self, topic: &str) -> bool {
        let is_own = |own: &String| {
            let rest = topic.strip_prefix(own.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.topics.iter().any(|pattern| covers(pattern, topic))
            && !is_reserved(topic)
            && !self.reserved.iter().any(is_own)
    }
}
