//! Times as they are told: RFC 3339 with milliseconds.

use jiff::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn of_millis(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}

pub fn of_system(at: SystemTime) -> Option<String> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    of_millis(i64::try_from(since.as_millis()).ok()?)
}
