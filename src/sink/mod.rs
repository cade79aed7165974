//! Kafka: how it is reached, and how records get there.

pub mod dead_letter;
pub mod dead_letter_reader;
pub mod dead_letters;
pub mod first;
pub mod follow;
pub mod newest;
pub mod parts;
pub mod producer;
pub mod prompt;
pub mod replay;
pub mod reports;
pub mod topics;
pub mod transaction;
