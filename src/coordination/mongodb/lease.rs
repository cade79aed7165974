//! A lease and an instance's registration, as they were read, and what is written to them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// The right to run one stream, as its document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    pub stream: String,
    /// The instance that has it; none while it is free.
    pub owner: Option<String>,
    /// Grows each time somebody takes it.
    pub epoch: u64,
    /// Grows with each heartbeat of the owner.
    pub heartbeats: u64,
    /// How long the owner may be silent, as the owner itself counts; none where it does not say.
    pub timeout: Option<Duration>,
    /// Who had it before.
    pub previous: Option<String>,
    /// Who is to have it next.
    pub move_to: Option<String>,
    /// A person moved it to this instance, from which nothing but a person takes it.
    pub pinned_to: Option<String>,
    /// How often it went from one instance to another.
    pub hand_overs: u64,
    /// Times are for people.
    pub acquired_at: Option<SystemTime>,
    pub last_heartbeat: Option<SystemTime>,
}

/// A document that holds no lease: somebody has changed it by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub stream: String,
}

/// An instance, as it has registered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    pub id: String,
    pub version: String,
    /// The streams that it can run.
    pub streams: BTreeSet<String>,
    pub heartbeats: u64,
    pub timeout: Option<Duration>,
    /// It is being stopped.
    pub leaving: bool,
    pub since: Option<SystemTime>,
    pub last_heartbeat: Option<SystemTime>,
}

/// What a read found. Both collections are read whole: they hold a document a stream and an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub leases: Vec<Lease>,
    pub unreadable: Vec<Unreadable>,
    pub peers: Vec<Peer>,
}

/// The lease as it must still be for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub owner: Option<String>,
    pub epoch: u64,
    pub heartbeats: u64,
}

/// One write, conditional on what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Makes the document of a stream that has none, owned by nobody.
    Create { stream: String },
    /// Removes a document that holds no lease.
    Discard { stream: String },
    /// Takes a lease that is free or has expired.
    Take {
        stream: String,
        seen: Seen,
        hand_overs: u64,
        /// Who had it before.
        previous: Option<String>,
        pinned: bool,
    },
    /// Says who shall have it once it is given up; still ours.
    Offer {
        stream: String,
        epoch: u64,
        to: Option<String>,
    },
    /// Gives up what is ours.
    Release {
        stream: String,
        epoch: u64,
        to: Option<String>,
    },
    /// Makes the document of our lease again, which somebody has removed.
    Restore { lease: Lease },
    /// Asks the owner to give the stream to an instance, for a person.
    Ask {
        stream: String,
        seen: Seen,
        to: String,
    },
    /// Removes the registration of an instance that has died.
    Forget { peer: String, heartbeats: u64 },
}

impl Write {
    /// Which stream's document is written; none for a registration.
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Create { stream }
            | Self::Discard { stream }
            | Self::Take { stream, .. }
            | Self::Offer { stream, .. }
            | Self::Release { stream, .. }
            | Self::Ask { stream, .. } => Some(stream),
            Self::Restore { lease } => Some(&lease.stream),
            Self::Forget { .. } => None,
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The document was not as it was seen.
    Refused,
    /// No answer: it may have happened.
    Unknown,
}
