//! What a person asks for.

use super::{Member, Sent};
use crate::coordination::kafka::record::{Entry, Move};
use std::collections::BTreeSet;
use std::time::Duration;

impl Member {
    /// What a person asks for: that `stream` goes to this instance, or to whichever has least.
    ///
    /// # Errors
    /// A sentence, when that cannot be.
    pub fn ask(&mut self, stream: &str, to: Option<&str>, now: Duration) -> Result<Entry, String> {
        let listed = |names: Vec<&str>| names.join(", ");
        let all: BTreeSet<&str> = self.all_streams();
        if !all.contains(stream) {
            let all = listed(all.into_iter().collect());
            return Err(format!("there is no stream {stream}; there are {all}"));
        }
        let holder = self.registry.holder(stream).map(str::to_owned);
        let live = |id: &&str| !self.registry.is_silent(id, 1);
        let others: Vec<&str> = self.registry.instances.keys().map(String::as_str).collect();
        let others: Vec<&str> = others.into_iter().filter(live).collect();
        let to = match to {
            Some(to) if !others.contains(&to) => {
                let others = listed(others);
                return Err(format!("there is no instance {to}; there are {others}"));
            }
            Some(to) if holder.as_deref() == Some(to) => {
                return Err(format!("instance {to} has stream {stream} already"));
            }
            Some(to) if !self.registry.is_available(to, stream) => {
                return Err(format!(
                    "instance {to} is not configured for stream {stream}, or is being stopped"
                ));
            }
            Some(to) => to.to_owned(),
            None => {
                let from = holder.as_deref().unwrap_or_default();
                let to = self.registry.successor(stream, from);
                to.ok_or_else(|| format!("no other instance can run stream {stream}"))?
                    .to_owned()
            }
        };
        let entry = Entry::Move(stream.to_owned(), Some(Move { to }));
        let (at, sent) = (now, entry.clone());
        self.sent.push(Sent { entry: sent, at });
        Ok(entry)
    }
}
