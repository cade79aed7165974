//! What a member knows, for people.

use super::member::Member;
use crate::coordination::view::{InstanceView, StreamView, View};
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

impl Member {
    pub fn view(&self, now: Duration) -> View {
        let mut view = View::default();
        for (id, known) in &self.registry.instances {
            if *id != self.me && self.registry.is_silent(id, 1) {
                continue;
            }
            let record = &known.record;
            let instance = InstanceView {
                since: record.since.map(system),
                version: record.version.clone(),
                streams: Vec::new(),
                last_heartbeat: record.last_heartbeat.map(system),
                leaving: record.leaving,
            };
            view.instances.insert(id.clone(), instance);
        }
        for stream in self.all_streams() {
            let shown = self.stream_view(stream, now);
            let owner = shown.owner.as_ref();
            if let Some(instance) = owner.and_then(|owner| view.instances.get_mut(owner)) {
                instance.streams.push(stream.to_owned());
            }
            view.streams.insert(stream.to_owned(), shown);
        }
        view
    }

    fn stream_view(&self, stream: &str, now: Duration) -> StreamView {
        let record = self.registry.streams.get(stream).cloned();
        let record = record.unwrap_or_default();
        let holder = self.registry.holder(stream);
        let owner = holder.filter(|id| match *id == self.me {
            true => self.is_confirmed(now),
            false => !self.registry.is_silent(id, 1),
        });
        let known = owner.and_then(|id| self.registry.instances.get(id));
        // The record is written a moment after the claim: it will say one more.
        let is_described = owner.is_none() || record.owner.as_deref() == owner;
        let is_handed_over = !is_described && record.owner.is_some();
        let last = record.owner.filter(|last| owner != Some(last));
        StreamView {
            owner: owner.map(str::to_owned),
            mine: owner == Some(self.me.as_str()),
            since: record
                .since
                .map(system)
                .filter(|_| is_described && owner.is_some()),
            epoch: record.epoch.saturating_add(u64::from(!is_described)),
            last_heartbeat: known.and_then(|known| known.record.last_heartbeat.map(system)),
            hand_overs: record.hand_overs.saturating_add(u64::from(is_handed_over)),
            previous: last.or(record.previous),
            moving_to: self.moving_to(stream, owner),
        }
    }

    /// Who waits for the stream.
    fn moving_to(&self, stream: &str, owner: Option<&str>) -> Option<String> {
        let moved = self.moved_to(stream);
        let mut others = self.registry.instances.keys().map(String::as_str);
        let waits = others.find(|id| self.registry.is_wanted_by(id, stream));
        let to = moved.or(waits).filter(|to| owner != Some(*to));
        to.map(str::to_owned)
    }
}

fn system(time: Timestamp) -> SystemTime {
    SystemTime::from(time)
}
