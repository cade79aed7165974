//! A schedule, as GraphQL has it.

use super::value::Json;
use crate::api::{etag, time};
use crate::schedule::Listed;
use async_graphql::Object;
use bson::Bson;

/// One schedule, and how it is.
pub(super) struct Schedule(pub(super) Listed);

/// Jobs that are due at a time.
#[Object]
impl Schedule {
    /// The text of its `_id`.
    async fn id(&self) -> &str {
        &self.0.key
    }

    async fn name(&self) -> &str {
        &self.0.shown.name
    }

    /// When it is due, in words.
    async fn timing(&self) -> &str {
        &self.0.shown.timing
    }

    async fn job_name(&self) -> &str {
        &self.0.shown.job
    }

    async fn topic(&self) -> &str {
        &self.0.shown.topic
    }

    /// active, disabled, done, waiting or invalid.
    async fn state(&self) -> &'static str {
        self.0.shown.state.name()
    }

    /// Why it waits, or is invalid.
    async fn reason(&self) -> Option<&str> {
        self.0.shown.state.reason()
    }

    /// When it was due last.
    async fn last(&self) -> Option<String> {
        self.0.shown.last.and_then(time::of_millis)
    }

    /// When its next jobs are due.
    async fn times(&self) -> Vec<String> {
        let times = self.0.times.iter();
        times.filter_map(|due| time::of_millis(*due)).collect()
    }

    /// Its document.
    async fn document(&self) -> Json {
        Json(Bson::Document(self.0.document.clone()))
    }

    /// For changing it only while it is as it was read.
    async fn etag(&self) -> String {
        etag::of(&self.0.document)
    }
}
