//! What a person asks for.

use super::Member;
use crate::coordination::mongodb::balance;
use crate::coordination::mongodb::lease::{Seen, Write};
use std::time::Duration;

impl Member {
    /// What a person asks for: that `stream` goes to this instance, or to whichever has least.
    ///
    /// # Errors
    /// A sentence, when that cannot be.
    pub fn ask(&mut self, stream: &str, to: Option<&str>, now: Duration) -> Result<Write, String> {
        if !self.has_read {
            return Err("the leases have not been read yet; ask again in a moment".into());
        }
        let picture = self.picture();
        let Some(known) = self.known.get(stream).filter(|known| known.is_there) else {
            let all: Vec<_> = self.streams.iter().map(String::as_str).collect();
            return Err(format!(
                "there is no stream {stream}; there are {}",
                all.join(", ")
            ));
        };
        let lease = &known.lease;
        let owner = lease.owner.clone().filter(|_| !self.is_expired(known));
        let others: Vec<_> = picture.instances.keys().copied().collect();
        let to = match to {
            Some(to) if !picture.instances.contains_key(to) => {
                return Err(format!(
                    "there is no instance {to}; there are {}",
                    others.join(", ")
                ));
            }
            Some(to) if !picture.instances[to].contains(stream) => {
                return Err(format!(
                    "instance {to} is not configured for stream {stream}"
                ));
            }
            Some(to) if owner.as_deref() == Some(to) => {
                return Err(format!("instance {to} has stream {stream} already"));
            }
            Some(to) => to.to_owned(),
            None => {
                let from = owner.as_deref().unwrap_or_default();
                let to = balance::successor(&picture, stream, from);
                let to = to.ok_or_else(|| format!("no other instance can run stream {stream}"))?;
                to.to_owned()
            }
        };
        if self.busy.contains_key(stream) {
            return Err(format!(
                "stream {stream} is being moved; ask again in a moment"
            ));
        }
        let seen = Seen {
            owner: lease.owner.clone(),
            epoch: lease.epoch,
            heartbeats: lease.heartbeats,
        };
        self.busy.insert(stream.to_owned(), now);
        Ok(Write::Ask {
            stream: stream.to_owned(),
            seen,
            to,
        })
    }
}
