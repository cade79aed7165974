//! What an instance knows of all streams and instances: for people, never for a decision.

/// One stream.
pub use crate::status::owner::Ownership as StreamView;

use std::collections::BTreeMap;
use std::time::SystemTime;

/// Every stream and every instance, as they were last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub streams: BTreeMap<String, StreamView>,
    pub instances: BTreeMap<String, InstanceView>,
    /// Why what the coordination is kept in cannot be reached; none while it can.
    pub unreachable: Option<String>,
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
