//! What one instance does about the leases: which streams it runs, gives away and takes.
//!
//! Pure: the answers of the database and the passing of time come in, writes come out. All times are
//! durations since an origin of this instance's own, by its monotonic clock.
//!
//! - A stream is wanted only while the last heartbeat that succeeded was *sent* less than the time-out
//!   ago, less some time for draining. Others count its silence from when they *saw* that heartbeat, so that they come to the
//!   time-out later than the owner does, whatever the clocks of the machines say.
//! - A stream that is no longer wanted is held back until the process says that it runs no more: its
//!   lease is kept meanwhile, so that the next owner begins after the last commit.
//! - Nothing is decided from a read that began before the last write to the same document had ended.

mod deciding;
mod known;
mod news;
mod publishing;
mod request;
mod shown;
#[cfg(test)]
mod tests;

use super::balance;
use super::lease::{Lease, Peer};
use crate::coordination::silence::Silence;
use crate::coordination::{LeaseTimes, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many streams an instance gives away at once to even out the spread.
const MOVES_AT_ONCE: usize = 4;

/// How long an instance looks around, at most, before it takes its first stream: those that start with
/// it shall be seen, or the first one takes everything and gives most of it away again.
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// What this instance has to do with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mine {
    /// The lease names us; a heartbeat must confirm it.
    Confirming {
        epoch: u64,
    },
    Running {
        epoch: u64,
        good_until: Duration,
    },
    /// Not wanted any more, and the process has not said yet that it runs no more.
    Draining {
        /// The epoch of the lease, while it is ours.
        lease: Option<u64>,
        then: Then,
        /// The first version of what is wanted without it.
        version: Option<u64>,
    },
    /// Given up by the process; the lease still names us.
    Releasing {
        epoch: u64,
        to: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    /// Another one takes it.
    Release { to: Option<String> },
    /// It is ours again, should the lease have survived.
    Confirm,
}

#[derive(Debug)]
struct Known {
    lease: Lease,
    silence: Silence<(u64, u64)>,
    /// Whether the last read found it.
    is_there: bool,
}

#[derive(Debug)]
struct KnownPeer {
    peer: Peer,
    silence: Silence<u64>,
    /// How many heartbeats it had when a lease of it was found expired: its registration may expire a little later,
    /// and meanwhile it is given nothing.
    lost_at: Option<u64>,
}

impl KnownPeer {
    fn new(peer: Peer, at: Duration) -> Self {
        Self {
            silence: Silence::new(peer.heartbeats, at),
            peer,
            lost_at: None,
        }
    }

    /// Whether nothing was heard of it since it lost a lease.
    fn has_lost(&self) -> bool {
        self.lost_at == Some(self.peer.heartbeats)
    }
}

/// A stream that somebody outside the leases runs.
#[derive(Debug, Clone, Copy)]
struct HoldOff {
    epoch: u64,
    until: Duration,
}

/// One instance.
#[derive(Debug)]
pub struct Member {
    me: String,
    streams: BTreeSet<String>,
    times: LeaseTimes,
    mine: BTreeMap<String, Mine>,
    known: BTreeMap<String, Known>,
    unreadable: BTreeSet<String>,
    peers: BTreeMap<String, KnownPeer>,
    hold_off: BTreeMap<String, HoldOff>,
    /// Writes on their way, and when they were sent.
    busy: BTreeMap<String, Duration>,
    /// Those that are to take a stream.
    taking: BTreeSet<String>,
    /// Of reads that began before, what they say of the stream is out of date.
    written: BTreeMap<String, Duration>,
    /// After a write that was refused or has no answer, nothing more is written before a read.
    unsure: BTreeSet<String>,
    forgetting: BTreeSet<String>,
    registered: Option<Duration>,
    has_read: bool,
    /// A read is needed that begins then or later.
    read_after: Option<Duration>,
    is_leaving: bool,
    /// Our registration says so: nobody gives us anything any more.
    is_leaving_known: bool,
    published: Wanted,
}

impl Member {
    pub fn new(me: String, streams: BTreeSet<String>, times: LeaseTimes) -> Self {
        Self {
            me,
            streams,
            times,
            mine: BTreeMap::new(),
            known: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            peers: BTreeMap::new(),
            hold_off: BTreeMap::new(),
            busy: BTreeMap::new(),
            taking: BTreeSet::new(),
            written: BTreeMap::new(),
            unsure: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            registered: None,
            has_read: false,
            read_after: Some(Duration::ZERO),
            is_leaving: false,
            is_leaving_known: false,
            published: Wanted::default(),
        }
    }

    /// The process has seen this version of what is wanted, and these streams run or still drain.
    pub fn running(&mut self, version: u64, running: &BTreeSet<String>) {
        let over: Vec<String> = self
            .mine
            .iter()
            .filter(|(stream, mine)| {
                matches!(mine, Mine::Draining { version: Some(since), .. } if *since <= version)
                    && !running.contains(*stream)
            })
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in over {
            self.given_up(&stream);
        }
    }

    fn given_up(&mut self, stream: &str) {
        let Some(Mine::Draining { lease, then, .. }) = self.mine.remove(stream) else {
            return;
        };
        let Some(epoch) = lease else {
            return;
        };
        let next = match then {
            Then::Release { to } => Mine::Releasing { epoch, to },
            Then::Confirm => Mine::Confirming { epoch },
        };
        self.mine.insert(stream.to_owned(), next);
    }

    /// Somebody else has claimed the stream that we run.
    ///
    /// Where the lease names somebody else by now, nothing is left to do. Where it still names us, the
    /// other one knows nothing of leases: we let go, and take it again only after somebody had it, or
    /// after a time-out in which nobody took it.
    pub fn fenced(&mut self, stream: &str, now: Duration) {
        self.changed(now);
        let Some(epoch) = self.mine.get(stream).and_then(Mine::epoch) else {
            return;
        };
        let until = now + self.times.timeout;
        self.hold_off
            .insert(stream.to_owned(), HoldOff { epoch, until });
        let to = balance::successor(&self.picture(), stream, &self.me).map(str::to_owned);
        self.mine
            .insert(stream.to_owned(), Mine::handing_over(epoch, to));
    }

    /// From now on these streams can run here.
    pub fn can_run(&mut self, streams: BTreeSet<String>, now: Duration) {
        self.streams = streams;
        self.changed(now);
    }

    /// From now on everything is given away.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// A heartbeat with that has succeeded.
    pub fn leaving_is_known(&mut self) {
        self.is_leaving_known = true;
    }

    /// Whether there is nothing left to give away.
    pub fn has_left(&self) -> bool {
        self.is_leaving && self.mine.is_empty() && self.busy.is_empty()
    }
}

impl Mine {
    /// The epoch of the lease that is still ours, as far as we know.
    fn epoch(&self) -> Option<u64> {
        match self {
            Self::Confirming { epoch }
            | Self::Running { epoch, .. }
            | Self::Releasing { epoch, .. } => Some(*epoch),
            Self::Draining { lease, .. } => *lease,
        }
    }

    fn lost() -> Self {
        Self::Draining {
            lease: None,
            then: Then::Confirm,
            version: None,
        }
    }

    fn handing_over(epoch: u64, to: Option<String>) -> Self {
        Self::Draining {
            lease: Some(epoch),
            then: Then::Release { to },
            version: None,
        }
    }
}
