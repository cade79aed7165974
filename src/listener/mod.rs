//! What a listener wants of a stream.

pub mod filter;
