//! Which instance has a stream, where several share the streams.

use super::State;
use std::time::SystemTime;

/// As it was last seen. Times are of whoever wrote them, and are only shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Which instance has it; none while it is unowned.
    pub owner: Option<String>,
    /// Whether that is this instance.
    pub mine: bool,
    /// Since when its owner has it.
    pub since: Option<SystemTime>,
    /// Grows each time somebody takes it.
    pub epoch: u64,
    pub last_heartbeat: Option<SystemTime>,
    /// How often it went from one instance to another.
    pub hand_overs: u64,
    /// Who had it before; while it is unowned, who had it last.
    pub previous: Option<String>,
    /// Which instance it is on its way to.
    pub moving_to: Option<String>,
}

impl Ownership {
    /// The state of the stream on every instance but its owner.
    pub fn elsewhere(&self) -> State {
        match self.owner {
            Some(_) => State::Standby,
            None => State::Unowned,
        }
    }
}
