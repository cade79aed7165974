//! A byte budget: what may be in memory between the source's socket and Kafka's acknowledgement.
//!
//! `MAX_IN_FLIGHT_BYTES` is split in two halves, one for replies read ahead and one for records not yet
//! acknowledged. With one pool, large replies read ahead could take all of it while the pump, which
//! frees them, waits for room for its next record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A number of bytes that is taken, waited for and given back.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if they fit. Something larger than the whole budget is admitted when nothing
    /// else is taken, so that one oversize event passes alone instead of never.
    pub fn try_take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used == 0 || used.saturating_add(bytes) <= self.limit).then_some(used + bytes)
            })
            .is_ok()
    }

    /// Takes `bytes`, waiting until they fit.
    pub async fn take(&self, bytes: usize) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the check, so that a release in between is not missed.
            freed.as_mut().enable();
            if self.try_take(bytes) {
                return;
            }
            freed.await;
        }
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
            debug_assert!(before >= bytes, "released {bytes} of {before}");
            self.freed.notify_waiters();
        }
    }
}

/// Bytes taken from a budget, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Waits until `bytes` fit, and holds them.
    pub async fn take(budget: &Arc<Budget>, bytes: usize) -> Self {
        budget.take(bytes).await;
        Self {
            budget: Arc::clone(budget),
            bytes,
        }
    }

    /// Corrects the reservation to what it turned out to be, beyond the limit if need be: the bytes
    /// are in memory already, and the next taker waits the longer.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget
                .used
                .fetch_add(bytes - self.bytes, Ordering::AcqRel);
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_full_budget_waits_until_bytes_come_back() {
        let budget = Budget::new(100);
        let first = Reservation::take(&budget, 80).await;
        assert!(!budget.try_take(30));
        let mut second = Box::pin(budget.take(30));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await;
        assert_eq!(budget.used(), 30);
    }

    #[tokio::test]
    async fn one_thing_larger_than_the_budget_is_admitted_alone() {
        let budget = Budget::new(100);
        assert!(budget.try_take(500));
        assert!(!budget.try_take(1));
        budget.release(500);
        assert!(budget.try_take(1));
        assert!(!budget.try_take(500));
    }

    #[tokio::test]
    async fn a_reply_larger_than_reserved_makes_the_next_one_wait() {
        let budget = Budget::new(100);
        let mut reply = Reservation::take(&budget, 10).await;
        reply.resize(300);
        assert!(budget.take(10).now_or_never().is_none());
        drop(reply);
        assert!(budget.try_take(100));
    }
}
