//! Protobuf: schemas as files of its third syntax, and values as its messages.

mod parse;
mod read;
mod schema;
mod write;

pub use read::read;
pub use schema::schema;
pub use write::Writer;

/// Which message of a schema a value is, as it is written before the value: the first.
pub const FIRST_MESSAGE: u8 = 0;

#[cfg(test)]
mod tests;
