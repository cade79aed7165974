//! The clock on the wall, which a test can set.

/// Tells the time.
pub trait Clock: Send + Sync {
    /// In milliseconds since the Unix epoch.
    fn now(&self) -> i64;
}

/// The system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }
}
