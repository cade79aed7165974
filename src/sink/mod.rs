//! Kafka: how it is reached, and how records get there.

pub mod dead_letter;
pub mod dead_letter_reader;
pub mod first;
pub mod parts;
pub mod producer;
pub mod prompt;
pub mod replay;
pub mod reports;
pub mod topics;
pub mod transaction;
