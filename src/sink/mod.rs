//! Kafka: how it is reached, and how records get there.

pub mod client;
pub mod options;
