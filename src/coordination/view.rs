//! What an instance knows of all streams and instances: for people, never for a decision.

use std::collections::BTreeMap;
use std::time::SystemTime;

/// Every stream and every instance, as they were last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub streams: BTreeMap<String, StreamView>,
    pub instances: BTreeMap<String, InstanceView>,
}

/// One stream. Times are of whoever wrote them, and are only shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamView {
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

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceView {
    pub since: Option<SystemTime>,
    /// Tailwater's version.
    pub version: String,
    /// The streams that it has.
    pub streams: Vec<String>,
    pub last_heartbeat: Option<SystemTime>,
    /// It is being stopped, and is given nothing more.
    pub leaving: bool,
}
