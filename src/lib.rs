//! Tailwater carries every change of a MongoDB database to Kafka, in order, without losing one.
//!
//! `ARCHITECTURE.md` is the map of this crate and states the invariants its modules keep.

pub mod admin;
pub mod api;
pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod coordination;
pub mod encode;
pub mod error;
pub mod fields;
pub mod flow;
pub mod kafka;
pub mod listener;
pub mod live;
pub mod log;
pub mod metrics;
pub mod migrate;
pub mod mongo;
pub mod page;
pub mod panics;
pub mod preflight;
pub mod process;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod shutdown;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod stream;
pub mod tasks;
pub mod tls;
pub mod verify;
pub mod worker;

#[cfg(test)]
mod layers_tests;
