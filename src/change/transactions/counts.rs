//! How many events of a transaction there were.

use super::TransactionId;
use crate::change::position::ClusterTime;

/// How many transactions are told apart at a time. Those of one time are of different shards, each of which has one at a
/// time.
const MOST: usize = 256;

/// The transactions of which more events may come, in the order of their first ones.
///
/// The events of a transaction share their cluster time. In a replica set they follow each other; in a sharded cluster
/// those of another shard's transaction, or of none, may come between if they are of the same time. So a transaction has
/// ended when something of a later time comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) open: Vec<Open>,
}

/// A transaction, and how many of its events there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) lsid: Vec<u8>,
    pub(super) number: i64,
    pub(super) order: u64,
    /// Of its last event.
    pub(super) time: Option<ClusterTime>,
}

impl Open {
    fn is(&self, id: TransactionId<'_>) -> bool {
        self.number == id.number && self.lsid == id.lsid
    }

    /// Whether more of it may come behind something else of this time.
    fn lasts(&self, time: Option<ClusterTime>) -> bool {
        self.time.zip(time).is_some_and(|(last, time)| time <= last)
    }
}

impl Counts {
    /// Counts an event of this transaction, and says which one of it that is, from 1; none for one of no transaction.
    pub(super) fn count(
        &mut self,
        id: Option<TransactionId<'_>>,
        time: Option<ClusterTime>,
    ) -> Option<u64> {
        let is_of = |open: &Open| id.is_some_and(|id| open.is(id));
        self.open.retain(|open| is_of(open) || open.lasts(time));
        let id = id?;
        if let Some(open) = self.open.iter_mut().find(|open| open.is(id)) {
            open.order += 1;
            open.time = time.or(open.time);
            return Some(open.order);
        }
        if self.open.len() == MOST {
            self.open.remove(0);
        }
        self.open.push(Open {
            lsid: id.lsid.to_vec(),
            number: id.number,
            order: 1,
            time,
        });
        Some(1)
    }
}
