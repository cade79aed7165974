//! From an event to the bytes of its record.

pub mod json;
