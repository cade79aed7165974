//! What is written into a schedule's document, and nothing else of it.

use crate::status::schedules::Shown;
use bson::{Bson, DateTime, Document, doc};
use std::time::Duration;

/// How often times and counts are told; a state is told within a second.
pub const SELDOM: Duration = Duration::from_secs(10);

/// The field `status` of a document.
pub fn of(shown: &Shown, instance: &str) -> Document {
    let time =
        |millis: Option<i64>| millis.map_or(Bson::Null, |at| DateTime::from_millis(at).into());
    doc! {
        "state": shown.state.name(),
        "reason": shown.state.reason(),
        "since": time(Some(shown.since)),
        "lastScheduledFor": time(shown.last),
        "nextAt": time(shown.next),
        "produced": i64::try_from(shown.produced).unwrap_or(i64::MAX),
        "instanceId": instance,
    }
}
