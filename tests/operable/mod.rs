//! What the person on call sees, asks and does.

mod exposition;
mod metrics;
