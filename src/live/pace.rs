//! When groups are told. Small ones come first: one client of its own does not wait behind thousands of others, and a
//! large group is told in portions. The more clients there are to be told, the longer changes are gathered before, since
//! each telling costs the same for one change as for a hundred.

use super::group::Group;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What telling one client takes, about: of the processors of both sides.
const EACH: Duration = Duration::from_micros(25);
/// How long a change is gathered at most.
const GATHER_MOST: Duration = Duration::from_millis(125);
/// Between the portions of a group: what telling these takes here.
const PORTION: Duration = Duration::from_micros(2_500);
/// For all portions of a group together, at most.
const PORTIONS_MOST: Duration = Duration::from_millis(100);
/// Sizes of groups by powers of two.
const CLASSES: usize = usize::BITS as usize + 1;

/// What is to be done, in its order.
#[derive(Debug, Default)]
pub struct Pace {
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// How many clients were told, by the size of their groups.
    told: Told,
}

#[derive(Debug)]
struct Told([u64; CLASSES]);

impl Default for Told {
    fn default() -> Self {
        Self([0; CLASSES])
    }
}

/// Since when a group gathers.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    at: Instant,
    class: usize,
    /// How many clients of groups of this size and below had been told then.
    told: u64,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    size: usize,
    /// So that the order is that in which they came.
    number: u64,
    group: Arc<Group>,
    /// None for the first, with which what was gathered is shown.
    portion: Option<usize>,
}

impl Pace {
    /// Takes note that a group has something to be told of.
    pub fn touch(&mut self, group: Arc<Group>, now: Instant) {
        let (size, since) = group.pace();
        let at = since.map_or(now, |since| {
            let told = self.told_up_to(since.class) - since.told;
            let gather = EACH.saturating_mul(u32::try_from(told).unwrap_or(u32::MAX));
            now.max(since.at + gather.min(GATHER_MOST))
        });
        self.push(at, size, group, None);
    }

    fn push(&mut self, at: Instant, size: usize, group: Arc<Group>, portion: Option<usize>) {
        self.number += 1;
        self.due.push(Reverse(Due {
            at,
            size,
            number: self.number,
            group,
            portion,
        }));
    }

    fn told_up_to(&self, class: usize) -> u64 {
        self.told.0[..=class].iter().sum()
    }

    /// When there is something to be done next.
    pub fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Tells the next whose time has come; whether there was one.
    pub fn tell(&mut self, now: Instant) -> bool {
        let first = self.due.peek_mut();
        let Some(first) = first.filter(|first| first.0.at <= now) else {
            return false;
        };
        let Reverse(due) = PeekMut::pop(first);
        let Due { size, group, .. } = due;
        if let Some(portion) = due.portion {
            group.wake(portion);
            return true;
        }
        let class = (usize::BITS - size.leading_zeros()) as usize;
        let since = Since {
            at: now,
            class,
            told: self.told_up_to(class),
        };
        self.told.0[class] += size as u64;
        let portions = group.show(since);
        let apart = PORTION.min(PORTIONS_MOST / u32::try_from(portions.max(1)).unwrap_or(u32::MAX));
        let mut at = now;
        for portion in 1..portions {
            at += apart;
            self.push(at, size, Arc::clone(&group), Some(portion));
        }
        group.wake(0);
        true
    }
}

impl Due {
    fn key(&self) -> (Instant, usize, u64) {
        (self.at, self.size, self.number)
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
