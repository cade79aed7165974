//! How long records take: the first record of each batch is timed on its way.
//!
//! A batch's number picks one of a fixed set of slots, so that nothing is allocated and nothing is locked.
//! A slot that was taken over by a later batch gives no sample, which happens only with more than
//! [`SLOTS`] batches in flight.

use crate::flow::watermark::EntryId;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SLOTS: usize = 1024;
/// Bits of a stamp that hold microseconds since the start: enough for eight years.
const TIME_BITS: u32 = 48;

/// The batches on their way.
#[derive(Debug)]
pub struct Flight {
    began: Instant,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The batch's low bits, then when its first record was handed over, in µs since the start.
    sent: AtomicU64,
    /// The time of that record's change, ms since the Unix epoch; 0 when not known.
    changed: AtomicI64,
}

/// How long a record took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// From handing it to the client to its acknowledgement.
    pub acknowledgement: Duration,
    /// From the change's own time, where that is known.
    pub end_to_end: Option<Duration>,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        }
    }
}

impl Flight {
    /// The first record of a batch is about to be handed over.
    pub fn sent(&self, batch: EntryId, change_millis: Option<i64>) {
        let slot = self.slot(batch);
        slot.changed
            .store(change_millis.unwrap_or(0), Ordering::Relaxed);
        slot.sent
            .store(tag(batch) | self.micros(), Ordering::Release);
    }

    /// The first record of a batch was acknowledged.
    pub fn acknowledged(&self, batch: EntryId) -> Option<Took> {
        let slot = self.slot(batch);
        let sent = slot.sent.load(Ordering::Acquire);
        let time = (1 << TIME_BITS) - 1;
        if sent == 0 || sent & !time != tag(batch) {
            return None;
        }
        let changed = slot.changed.load(Ordering::Relaxed);
        Some(Took {
            acknowledgement: Duration::from_micros(self.micros().saturating_sub(sent & time)),
            end_to_end: u64::try_from(changed).ok().filter(|at| *at > 0).map(|at| {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                // MongoDB's clock may be ahead of ours.
                now.saturating_sub(Duration::from_millis(at))
            }),
        })
    }

    fn slot(&self, batch: EntryId) -> &Slot {
        &self.slots[batch.to_opaque() % SLOTS]
    }

    /// Never 0, which is an unused slot.
    fn micros(&self) -> u64 {
        (self.began.elapsed().as_micros() as u64).max(1) & ((1 << TIME_BITS) - 1)
    }
}

fn tag(batch: EntryId) -> u64 {
    (batch.to_opaque() as u64) << TIME_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_taken_over_by_a_later_batch_gives_no_sample() {
        let flight = Flight::default();
        let (early, late) = (EntryId::from_opaque(3), EntryId::from_opaque(3 + SLOTS));
        assert_eq!(flight.acknowledged(early), None);
        flight.sent(early, Some(1_000));
        flight.sent(late, None);
        assert_eq!(flight.acknowledged(early), None);
        assert_eq!(flight.acknowledged(late).unwrap().end_to_end, None);
    }

    #[test]
    fn a_change_from_the_future_took_no_time() {
        let flight = Flight::default();
        let batch = EntryId::from_opaque(1);
        flight.sent(batch, Some(i64::MAX));
        let took = flight.acknowledged(batch).unwrap();
        assert_eq!(took.end_to_end, Some(Duration::ZERO));
    }
}
