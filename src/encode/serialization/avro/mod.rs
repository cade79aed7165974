//! Avro: schemas as its specification has them, and values in its binary encoding.

mod read;
mod schema;
mod write;

pub use read::read;
pub use schema::schema;
pub use write::{Writer, long};

#[cfg(test)]
mod tests;
