//! What the person on call sees, asks and does.

mod configs;
mod control;
mod exposition;
mod health;
mod metrics;
mod server;
