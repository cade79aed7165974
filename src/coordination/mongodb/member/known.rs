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

    /// Whether an instance that died still has leases. They do not all expire at one moment, nor does everybody see it
    /// at one moment: who has more than others will see that only when all are taken.
    pub(super) fn are_leases_of_lost_ones_left(&self) -> bool {
        let owners = self.known.values().filter(|known| known.is_there);
        owners
            .filter_map(|known| self.peers.get(known.lease.owner.as_ref()?))
            .any(KnownPeer::has_lost)
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
