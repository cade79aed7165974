//! From an event to the bytes of its record: value ([`envelope`]), [`key`] and [`headers`], as the stream's
//! [`format`] says.
//!
//! Everything appends to buffers the caller keeps and reads the event in place; nothing is allocated
//! per event once the buffers have grown. `docs/formats.md` describes the result for users.

pub mod connect;
pub mod driver;
pub mod envelope;
pub mod format;
pub mod headers;
pub mod json;
pub mod key;
pub mod record;
pub mod serialization;

#[cfg(test)]
mod tests;
