//! The change stream: one cursor for the database, raw replies in stream order.

pub mod batch_size;
pub mod reply;
