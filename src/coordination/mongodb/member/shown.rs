//! What is known, for people.

use super::Member;
use crate::coordination::view::{StreamView, View};

impl Member {
    /// What is known of all streams and instances.
    pub fn view(&self) -> View {
        let mut view = View::default();
        for stream in &self.streams {
            view.streams.insert(stream.clone(), StreamView::default());
        }
        for (stream, known) in self.known.iter().filter(|(_, known)| known.is_there) {
            let lease = &known.lease;
            let is_expired = self.is_expired(known) || self.has_lapsed(lease);
            let owner = lease.owner.clone().filter(|_| !is_expired);
            let before = lease.owner.clone().filter(|_| is_expired);
            if let Some(owner) = &owner {
                let instance = view.instances.entry(owner.clone()).or_default();
                instance.streams.push(stream.clone());
            }
            view.streams.insert(
                stream.clone(),
                StreamView {
                    mine: owner.as_ref() == Some(&self.me),
                    since: lease.acquired_at.filter(|_| owner.is_some()),
                    owner,
                    epoch: lease.epoch,
                    last_heartbeat: lease.last_heartbeat,
                    hand_overs: lease.hand_overs,
                    previous: before.or_else(|| lease.previous.clone()),
                    moving_to: lease.move_to.clone(),
                },
            );
        }
        for known in self.peers.values().filter(|known| !self.is_silent(known)) {
            let instance = view.instances.entry(known.peer.id.clone()).or_default();
            instance.since = known.peer.since;
            instance.version.clone_from(&known.peer.version);
            instance.last_heartbeat = known.peer.last_heartbeat;
            instance.leaving = known.peer.leaving;
        }
        view
    }
}
