//! A byte budget: what may be in memory between the source's socket and Kafka's acknowledgement.
//!
//! `MAX_IN_FLIGHT_BYTES` is split in two halves, one for replies read ahead and one for records not yet
//! acknowledged. With one pool, large replies read ahead could take all of it while the pump, which
//! frees them, waits for room for its next record.
//!
//! Of each half, every stream of the process has a share of its own; the rest is common, and lent to whoever
//! needs more. A stream that waits for Kafka may keep what it has borrowed, but never another's share.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// What the streams of a process may have in flight together.
#[derive(Debug)]
pub struct Memory {
    replies: Half,
    records: Half,
    /// Beside the two halves: rows that were read and wait for the stream. They must not take the room of the replies
    /// that bring the stream to where it lets them go.
    rows: Arc<Budget>,
}

/// One half of the memory: each stream's own share of it, and what is common.
#[derive(Debug)]
struct Half {
    own: usize,
    common: Option<Arc<Common>>,
}

impl Memory {
    /// `bytes` for so many streams.
    pub fn new(bytes: usize, streams: usize) -> Self {
        let half = || match streams {
            0 | 1 => Half {
                own: bytes / 2,
                common: None,
            },
            streams => {
                let own = bytes / 4 / streams;
                let common = Common::new(bytes / 2 - own * streams);
                Half {
                    own,
                    common: Some(Arc::new(common)),
                }
            }
        };
        Self {
            replies: half(),
            records: half(),
            rows: Budget::new(bytes / 4),
        }
    }

    /// The budget of one stream for replies read ahead.
    pub fn replies(&self) -> Arc<Budget> {
        self.replies.budget()
    }

    /// The budget of one stream for records not yet acknowledged.
    pub fn records(&self) -> Arc<Budget> {
        self.records.budget()
    }

    /// The budget for rows of snapshots, of all streams together.
    pub fn rows(&self) -> Arc<Budget> {
        Arc::clone(&self.rows)
    }

    /// How many bytes one reply should hold, where `wanted` is asked for: with many streams no more than a
    /// stream's own share, so that the replies of all fit.
    pub fn reply_bytes(&self, wanted: usize) -> usize {
        wanted.min(self.replies.own.max(SMALLEST_REPLY))
    }
}

/// A reply that holds less is not worth its round trip, in bytes.
const SMALLEST_REPLY: usize = 128 << 10;

impl Half {
    fn budget(&self) -> Arc<Budget> {
        Arc::new(Budget {
            own: self.own,
            common: self.common.clone(),
            used: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }
}

/// The bytes that are lent to whoever needs more than its own.
#[derive(Debug)]
struct Common {
    limit: usize,
    /// Below zero while something larger than all of it is let through.
    left: AtomicIsize,
    freed: Notify,
}

impl Common {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            left: AtomicIsize::new(limit.cast_signed()),
            freed: Notify::new(),
        }
    }

    fn borrow(&self, bytes: usize) -> bool {
        let bytes = bytes.cast_signed();
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                (left >= bytes).then_some(left - bytes)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.left.fetch_add(bytes.cast_signed(), Ordering::AcqRel);
            self.freed.notify_waiters();
        }
    }
}

/// A number of bytes that is taken, waited for and given back.
#[derive(Debug)]
pub struct Budget {
    own: usize,
    common: Option<Arc<Common>>,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// A budget that shares nothing.
    pub fn new(limit: usize) -> Arc<Self> {
        let half = Half {
            own: limit,
            common: None,
        };
        half.budget()
    }

    /// The most that may be taken while nobody else borrows.
    pub fn limit(&self) -> usize {
        self.own + self.common.as_ref().map_or(0, |common| common.limit)
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How much of `used` bytes is borrowed.
    fn borrowed(&self, used: usize) -> usize {
        used.saturating_sub(self.own)
    }

    /// Takes `bytes` if they fit. Something larger than the whole budget is admitted when nothing
    /// else is taken, so that one oversize event passes alone instead of never.
    pub fn try_take(&self, bytes: usize) -> bool {
        let mut used = self.used.load(Ordering::Acquire);
        loop {
            let after = used.saturating_add(bytes);
            let more = self.borrowed(after) - self.borrowed(used);
            let is_lent = more == 0 || self.common.as_ref().is_some_and(|c| c.borrow(more));
            if !is_lent {
                if used > 0 {
                    return false;
                }
                self.overdraw(more);
            }
            let taken =
                self.used
                    .compare_exchange(used, after, Ordering::AcqRel, Ordering::Acquire);
            match taken {
                Ok(_) => return true,
                Err(now) => {
                    self.give_back(more);
                    used = now;
                }
            }
        }
    }

    fn overdraw(&self, bytes: usize) {
        if let Some(common) = &self.common {
            common.left.fetch_sub(bytes.cast_signed(), Ordering::AcqRel);
        }
    }

    fn give_back(&self, borrowed: usize) {
        if let Some(common) = &self.common {
            common.give_back(borrowed);
        }
    }

    /// Takes `bytes` whether they fit or not: they are in memory already.
    fn take_beyond(&self, bytes: usize) {
        let before = self.used.fetch_add(bytes, Ordering::AcqRel);
        self.overdraw(self.borrowed(before + bytes) - self.borrowed(before));
    }

    /// Takes `bytes`, waiting until they fit.
    pub async fn take(&self, bytes: usize) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before the check, so that a release in between is not missed.
            freed.as_mut().enable();
            let Some(common) = &self.common else {
                if self.try_take(bytes) {
                    return;
                }
                freed.await;
                continue;
            };
            let mut returned = std::pin::pin!(common.freed.notified());
            returned.as_mut().enable();
            if self.try_take(bytes) {
                return;
            }
            tokio::select! {
                () = freed => {}
                () = returned => {}
            }
        }
    }

    /// As [`take`](Self::take), but waits until half of what is taken now has come back: whoever has used it up
    /// then gets room for much at once, instead of for little again and again.
    pub async fn take_when_half_free(&self, bytes: usize) {
        let half = self.used() / 2;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.used() <= half {
                break;
            }
            freed.await;
        }
        self.take(bytes).await;
    }

    /// Waits until less than this is taken.
    pub async fn below(&self, bytes: usize) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.used() < bytes {
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
            self.give_back(self.borrowed(before) - self.borrowed(before.saturating_sub(bytes)));
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
            self.budget.take_beyond(bytes - self.bytes);
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
    async fn whoever_has_used_it_up_gets_half_of_it_at_once() {
        let budget = Budget::new(100);
        assert!(budget.try_take(90));
        let mut next = Box::pin(budget.take_when_half_free(20));
        assert!(next.as_mut().now_or_never().is_none());
        budget.release(40);
        assert!(next.as_mut().now_or_never().is_none(), "there is room");
        budget.release(5);
        next.await;
        assert_eq!(budget.used(), 65);
        let mut large = Box::pin(budget.take_when_half_free(500));
        budget.release(40);
        assert!(large.as_mut().now_or_never().is_none(), "not alone");
        budget.release(25);
        large.await;
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

    #[tokio::test]
    async fn a_stream_that_waits_for_kafka_keeps_no_other_from_its_share() {
        // Of each half of 400 bytes, 100 are each stream's own and 200 are common.
        let memory = Memory::new(800, 2);
        let (stuck, lively) = (memory.records(), memory.records());
        assert_eq!(lively.limit(), 300);
        assert!(stuck.try_take(300));
        assert!(!stuck.try_take(1));
        assert!(lively.try_take(100));
        assert!(!lively.try_take(1), "all that is common is lent");
        let mut waits = Box::pin(lively.take(50));
        assert!(waits.as_mut().now_or_never().is_none());
        stuck.release(60);
        waits.await;
        lively.release(150);
        assert!(
            lively.try_take(240),
            "what it gave back of the common part is there again"
        );
        stuck.release(240);
        lively.release(240);
        assert!(stuck.try_take(300));
    }

    #[tokio::test]
    async fn a_reply_beyond_all_that_is_common_passes_alone_and_the_others_keep_their_share() {
        let memory = Memory::new(800, 2);
        let (large, other) = (memory.replies(), memory.replies());
        let mut reply = Reservation::take(&large, 10).await;
        reply.resize(5_000);
        assert!(other.try_take(100));
        assert!(!other.try_take(1));
        drop(reply);
        assert!(other.try_take(200));
    }

    #[test]
    fn one_stream_has_all_of_it() {
        let memory = Memory::new(800, 1);
        assert_eq!(memory.records().limit(), 400);
        assert!(memory.records().try_take(400));
        assert_eq!(memory.reply_bytes(1 << 20), SMALLEST_REPLY);
        assert_eq!(Memory::new(32 << 20, 1).reply_bytes(1 << 20), 1 << 20);
    }

    proptest::proptest! {
        /// Whatever is taken and given back in whatever order: in the end all is there again.
        #[test]
        fn nothing_of_the_common_part_is_lost(steps in proptest::collection::vec((0..3_usize, 1..200_usize), 1..100)) {
            let memory = Memory::new(1_200, 3);
            let budgets = [memory.records(), memory.records(), memory.records()];
            let mut taken: [Vec<usize>; 3] = Default::default();
            for (stream, bytes) in steps {
                if budgets[stream].try_take(bytes) {
                    taken[stream].push(bytes);
                } else if let Some(bytes) = taken[stream].pop() {
                    budgets[stream].release(bytes);
                }
                // Each may let one pass alone.
                let used: usize = budgets.iter().map(|budget| budget.used()).sum();
                proptest::prop_assert!(used <= 600 + 3 * 200, "{}", used);
            }
            for (budget, taken) in budgets.iter().zip(taken) {
                taken.into_iter().for_each(|bytes| budget.release(bytes));
            }
            proptest::prop_assert!(budgets[0].try_take(1));
            proptest::prop_assert!(budgets[0].try_take(budgets[0].limit() - 1));
            proptest::prop_assert!(!budgets[0].try_take(1));
        }
    }
}
