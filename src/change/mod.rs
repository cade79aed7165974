//! A change as it came: BSON read in place, the event, and its position in the stream.

pub mod event;
pub mod extended_json;
pub mod extra;
pub mod namespace;
pub mod operations;
pub mod position;
pub mod raw;
pub mod transactions;
