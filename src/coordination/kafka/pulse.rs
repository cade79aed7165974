//! Whether this instance is alive to the others. The group's member is a thread, and threads of librdkafka, which live on
//! when the agent hangs, or when it cannot write to the registry. Without this, such an instance would keep what is
//! assigned to it, and nobody would run it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the last heartbeat was read again; none before the first. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// A heartbeat was read again.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long that is ago.
    pub fn silence(&self) -> Duration {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(Duration::ZERO, |last| last.elapsed())
    }
}
