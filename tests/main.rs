//! All integration tests, in one binary: a file per subject, real servers from [`support`].
//!
//! `scripts/test` runs them; so does a bare `cargo test`, which then starts the servers itself.

// A failed test is what an `unwrap` is for here.
#![allow(clippy::unwrap_used)]

mod support;

mod api;
mod bad_input;
mod capabilities;
mod chaos;
mod checkpoints;
mod configuration;
mod coordination;
mod delivery;
mod documents;
mod failures;
mod fields;
mod filtering;
mod formats;
mod internal;
mod listener_filters;
mod listeners;
mod listeners_around;
mod live;
mod operable;
mod operations;
mod page;
mod preflight;
mod property;
mod restart;
mod resuming;
mod rights;
mod routing;
mod schedules;
mod schemas;
mod servers;
mod snapshots;
mod stream_ends;
mod streams;
mod token_order;
mod topics;
mod transactions;
mod verify;
mod views;
mod workers;
