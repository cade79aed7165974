//! How many events to ask for per reply, so that a reply holds about `SOURCE_BATCH_BYTES`.
//!
//! A cursor's batch size is fixed when it is opened, so a change costs a reopen: it is worth it only when
//! replies are far off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Replies larger or smaller than the target by this factor lead to another batch size.
const FAR_OFF: usize = 4;
const SMALLEST: u32 = 1;
const LARGEST: u32 = 10_000;
/// The server's own limit of a reply is 16 MiB, so a first guess for events of 1 KiB does no harm.
const FIRST: u32 = 1_000;

/// Watches replies and says when another batch size would serve better. Clones share what was learned:
/// it is true of the events, whoever reads them.
#[derive(Debug, Clone)]
pub struct BatchSize {
    target_bytes: usize,
    events: Arc<AtomicU32>,
}

impl BatchSize {
    /// Aims at replies of `target_bytes`.
    pub fn new(target_bytes: usize) -> Self {
        Self {
            target_bytes,
            events: Arc::new(AtomicU32::new(FIRST)),
        }
    }

    /// Events to ask for.
    pub fn events(&self) -> u32 {
        self.events.load(Ordering::Relaxed)
    }

    /// Takes note of a reply; true when the cursor should be reopened with the new size.
    pub fn observe(&self, events: usize, bytes: usize) -> bool {
        if events == 0 {
            return false;
        }
        let asked = self.events();
        let full = events >= asked as usize;
        let too_large = bytes > self.target_bytes.saturating_mul(FAR_OFF);
        let too_small = full && bytes.saturating_mul(FAR_OFF) < self.target_bytes;
        if !too_large && !too_small {
            return false;
        }
        let fitting = self.target_bytes / (bytes / events).max(1);
        let fitting = u32::try_from(fitting)
            .unwrap_or(LARGEST)
            .clamp(SMALLEST, LARGEST);
        let worth_it = fitting != asked && (too_small || fitting < asked);
        if worth_it {
            self.events.store(fitting, Ordering::Relaxed);
        }
        worth_it
    }

    /// Halves the size after a read that took too long, or a reply that was too large to take; false
    /// where it is as small as can be.
    pub fn halve(&self) -> bool {
        let events = self.events();
        self.events
            .store((events / 2).max(SMALLEST), Ordering::Relaxed);
        events > SMALLEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_near_the_target_change_nothing() {
        let size = BatchSize::new(1 << 20);
        assert!(!size.observe(1_000, 1_200_000));
        assert!(!size.observe(3, 3_000));
        assert!(!size.observe(0, 200));
        assert_eq!(size.events(), FIRST);
    }

    #[test]
    fn large_documents_shrink_the_batch_and_small_ones_widen_it_again() {
        let size = BatchSize::new(1 << 20);
        assert!(size.observe(64, 16 << 20));
        assert_eq!(size.events(), 4);
        assert!(size.observe(4, 4 * 300));
        assert!(size.events() > 3_000);
    }

    #[test]
    fn what_one_reader_has_learned_the_next_begins_with() {
        let size = BatchSize::new(1 << 20);
        assert!(size.clone().observe(64, 16 << 20));
        assert_eq!(size.events(), 4);
    }

    #[test]
    fn halved_again_and_again_it_says_when_it_cannot_be_smaller() {
        let size = BatchSize::new(1 << 20);
        let times = std::iter::from_fn(|| size.halve().then_some(())).count();
        assert_eq!((times, size.events()), (9, SMALLEST));
    }

    #[test]
    fn one_huge_event_is_asked_for_alone_and_only_once() {
        let size = BatchSize::new(1 << 20);
        assert!(size.observe(1, 15 << 20));
        assert_eq!(size.events(), SMALLEST);
        assert!(!size.observe(1, 15 << 20));
    }
}
