//! One instance, and what is on its way to and from it.

use crate::coordination::LeaseTimes;
use crate::coordination::mongodb::lease::{Found, Outcome, Peer, Write};
use crate::coordination::mongodb::member::Member;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub type Millis = u64;

pub const TIMES: LeaseTimes = LeaseTimes {
    heartbeat: Duration::from_millis(10_000),
    timeout: Duration::from_millis(30_000),
    poll: Duration::from_millis(15_000),
};

/// How long a node waits for an answer.
pub const PATIENCE: Millis = 5_000;

#[derive(Debug, Clone)]
pub enum Payload {
    Read,
    Heartbeat(BTreeMap<String, u64>, Peer),
    Write(Write),
}

#[derive(Debug, Clone)]
pub enum Answer {
    Found(Found),
    Kept(BTreeSet<String>),
    Written(Outcome),
}

#[derive(Debug, Clone)]
pub enum Event {
    Wake,
    Poll,
    Beat,
    /// At the database.
    Arrives {
        id: u64,
        sent: Millis,
        payload: Payload,
    },
    /// At the node.
    Answered {
        id: u64,
        sent: Millis,
        payload: Payload,
        answer: Answer,
    },
    TimedOut {
        id: u64,
        payload: Payload,
    },
    /// The change stream tells of a change.
    Nudge,
    /// The change stream tells of a heartbeat in an instance's registration.
    HeardOf {
        peer: String,
        heartbeats: u64,
    },
    /// The same of a lease.
    HeardOfLease {
        stream: String,
        heartbeats: u64,
    },
    Drained {
        stream: String,
    },
}

pub struct Node {
    pub name: String,
    pub member: Member,
    /// What its clock shows more than true time.
    pub ahead: Millis,
    pub is_dead: bool,
    pub frozen_until: Millis,
    pub cut_until: Millis,
    pub is_reading: bool,
    pub is_beating: bool,
    pub open: BTreeSet<u64>,
    pub version: u64,
    pub wanted: BTreeSet<String>,
    /// What the process runs or drains.
    pub running: BTreeSet<String>,
    pub next_wake: Option<Millis>,
    /// What its registration says.
    pub told: (BTreeSet<String>, bool),
}
