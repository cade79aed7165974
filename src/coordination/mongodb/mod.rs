//! One lease document a stream, in the database `LEASE_DATABASE`.
//!
//! - [`lease`] is what the documents say, [`document`] how they say it; people may read them
//!   (`docs/coordination.md` tells what happens when they change or delete them).
//! - [`member`] decides, [`balance`] and [`silence`](super::silence) help it; all three are pure, and [`simulation`] runs
//!   many of them against each other.
//! - [`store`] reads and writes, [`watch`] listens, [`agent`] connects them with the member.
//! - [`rights`] says for `tailwater check` what a run could not do.

mod agent;
mod balance;
mod document;
mod lease;
mod member;
mod rights;
#[cfg(test)]
mod simulation;
mod store;
mod watch;

pub(super) use agent::start;
pub(super) use rights::check;
