//! What the person on call sees, asks and does.

mod ask;
mod callers;
mod cli;
mod configs;
mod control;
mod dry_run;
mod exposition;
mod health;
mod metrics;
mod promtool;
mod server;
mod snapshots;
