//! Kafka: how it is reached, and how records get there.

pub mod authorized;
pub mod client;
pub mod dead_letter;
pub mod first;
pub mod letters;
pub mod options;
pub mod partition;
pub mod parts;
pub mod produce;
pub mod producer;
pub mod prompt;
pub mod replay;
pub mod rights;
pub mod topics;
pub mod transaction;
