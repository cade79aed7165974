//! What a stream is configured to be.

use super::{Pipeline, Resume, Scope, Sink, Snapshot, Source};

/// One change stream on its way to Kafka.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// `STREAM_ID`, otherwise `<KAFKA_CLIENT_ID>:<name, database or *>`. Checkpoints are stored under it.
    pub id: String,
    /// Its name in `STREAMS`; none where that is not set.
    pub given_name: Option<String>,
    pub source: Source,
    pub sink: Sink,
    pub pipeline: Pipeline,
    pub resume: Resume,
    pub snapshot: Snapshot,
}

impl StreamSpec {
    /// The id of a stream that is not given one.
    pub fn derived_id(client_id: &str, name: &str) -> String {
        format!("{client_id}:{name}")
    }

    /// What it is called in logs, metrics and answers: its name in `STREAMS`, otherwise its id.
    pub fn name(&self) -> &str {
        self.given_name.as_deref().unwrap_or(&self.id)
    }

    /// What a person calls it: its name in `STREAMS`; otherwise its database, or its id where it is of several.
    pub fn title(&self) -> &str {
        match (&self.given_name, &self.source.scope) {
            (Some(name), _) => name,
            (None, Scope::Database(database)) => database,
            (None, Scope::Deployment { .. }) => &self.id,
        }
    }

    /// Whether an operator who says `name` means this stream.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.id || name == self.title()
    }
}
