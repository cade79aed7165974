//! Tailwater carries every change of a MongoDB database to Kafka, in order, without losing one.
//!
//! `ARCHITECTURE.md` is the map of this crate and states the invariants its rooms keep.

pub mod admin;
pub mod app;
pub mod batch;
pub mod cli;
pub mod commit;
pub mod config;
pub mod encode;
pub mod error;
pub mod event;
pub mod log;
pub mod metrics;
pub mod mongo;
pub mod panics;
pub mod pipeline;
pub mod position;
pub mod preflight;
pub mod raw;
pub mod resume;
pub mod retry;
pub mod route;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod status;
pub mod watermark;
