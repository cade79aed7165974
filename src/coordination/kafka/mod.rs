//! Kafka's consumer group assigns the streams; a compacted topic, the *registry*, says who has them.
//!
//! - [`names`] is what the group and the topics are called, [`topics`] makes them.
//! - [`group`] hears what is assigned ([`heard`] is what can be). [`journal`] reads and writes the registry, [`record`] is what its
//!   records say; people may read them (`docs/coordination.md` tells what happens when they change or
//!   delete them).
//! - [`member`] decides, by what [`registry`] knows, and [`shown`] says it to people. All three are pure,
//!   and [`simulation`] runs many of them against each other.
//! - [`agent`] connects all of them with the clock and the handle; without its [`pulse`], the instance leaves
//!   the group.
//! - [`rights`] says for `tailwater check` what a run could not do.

mod agent;
mod group;
mod heard;
mod journal;
mod member;
mod names;
mod pulse;
mod record;
mod registry;
mod rights;
mod shown;
#[cfg(test)]
mod simulation;
mod topics;

pub(super) use agent::start;
pub(super) use rights::check;
