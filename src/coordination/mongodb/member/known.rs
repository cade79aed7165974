//! What is so, as far as this instance can tell.

use super::{Known, KnownPeer, Member, Mine, Then};
use crate::coordination::mongodb::balance::{Picture, Place};
use crate::coordination::mongodb::lease::Lease;
use std::collections::BTreeSet;
use std::time::Duration;

impl Member {
    pub(super) fn is_mine(&self, lease: &Lease) -> bool {
        lease.owner.as_ref() == Some(&self.me)
    }

    /// How long the lease's owner may be silent: the owner's own time-out counts, which it obeys.
    pub(super) fn limit(&self, lease: &Lease) -> Duration {
        lease.timeout.unwrap_or(self.times.timeout)
    }

    pub(super) fn is_expired(&self, known: &Known) -> bool {
        !self.is_mine(&known.lease) && known.silence.counted() >= self.limit(&known.lease)
    }

    /// Whether a lease that names us is not ours as far as we can tell.
    pub(super) fn has_lapsed(&self, lease: &Lease) -> bool {
        let holds = match self.mine.get(&lease.stream) {
            Some(Mine::Running { .. } | Mine::Releasing { .. }) => true,
            Some(Mine::Draining { then, .. }) => matches!(then, Then::Release { .. }),
            Some(Mine::Confirming { .. }) | None => false,
        };
        self.is_mine(lease) && !holds
    }

    pub(super) fn is_silent(&self, known: &KnownPeer) -> bool {
        known.silence.counted() >= known.peer.timeout.unwrap_or(self.times.timeout)
    }

    /// Whether an instance that died still has leases that another can take. They do not all expire at one moment,
    /// nor does everybody see it at one moment: who has more than others will see that only when all are taken.
    ///
    /// An owner that is not registered died too: the first one that sees its silence removes its registration. Its
    /// leases may even seem to live again: the heartbeats of whoever takes them are heard before the taking is read.
    pub(super) fn are_leases_of_lost_ones_left(&self, picture: &Picture<'_>) -> bool {
        let is_lost = |owner: &String| match self.peers.get(owner) {
            Some(peer) => peer.has_lost() || self.is_silent(peer),
            None => true,
        };
        let is_able = |stream: &str| {
            let mut able = picture.instances.values();
            able.any(|streams| streams.contains(stream))
        };
        let others = self
            .known
            .values()
            .filter(|known| known.is_there && !self.is_mine(&known.lease));
        others
            .filter(|known| known.lease.owner.as_ref().is_some_and(is_lost))
            .any(|known| !self.is_expired(known) || is_able(&known.lease.stream))
    }

    /// The other instances that can be given something.
    pub(super) fn live(&self) -> BTreeSet<String> {
        self.peers
            .values()
            .filter(|known| known.peer.id != self.me && !known.peer.leaving)
            .filter(|known| !self.is_silent(known) && !known.has_lost())
            .map(|known| known.peer.id.clone())
            .collect()
    }

    pub(super) fn picture(&self) -> Picture<'_> {
        let live = self.live();
        let mut picture = Picture::default();
        for known in self
            .peers
            .values()
            .filter(|known| live.contains(&known.peer.id))
        {
            let able = known.peer.streams.iter().map(String::as_str).collect();
            picture.instances.insert(&known.peer.id, able);
        }
        if !self.is_leaving {
            let able = |stream: &&String| !self.hold_off.contains_key(*stream);
            let able = self
                .streams
                .iter()
                .filter(able)
                .map(String::as_str)
                .collect();
            picture.instances.insert(&self.me, able);
        }
        for (stream, known) in self.known.iter().filter(|(_, known)| known.is_there) {
            let Known { lease, silence, .. } = known;
            let is_able = |id: &&str| picture.instances.contains_key(id);
            let to = lease.move_to.as_deref().filter(is_able);
            let place = match lease.owner.as_deref() {
                Some(owner) if !self.is_expired(known) => Place::Of {
                    owner,
                    to: match self.mine.get(stream) {
                        Some(Mine::Draining {
                            then: Then::Release { to },
                            ..
                        }) => to.as_deref(),
                        _ => to,
                    },
                    is_pinned: lease.pinned_to.as_deref() == Some(owner),
                },
                // Nobody came for it: whoever it was for cannot take it.
                _ => Place::Free {
                    to: to.filter(|_| silence.counted() < self.limit(lease)),
                },
            };
            picture.streams.insert(stream, place);
        }
        picture
    }
}
