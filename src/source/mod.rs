//! The change stream: what is watched and whether it can be, one cursor for the database, raw
//! replies in stream order, and what the server's errors mean.

mod asked;
pub mod batch_size;
pub mod capabilities;
pub mod collections;
pub mod cursor;
pub mod documents;
pub mod filter;
pub mod fingerprint;
pub mod headroom;
mod in_words;
mod internal;
pub mod listeners;
pub mod locate;
pub mod opener;
pub mod oplog;
pub mod pattern;
pub mod preflight;
pub mod reader;
pub mod reply;
pub mod split;
pub mod start;
mod user_stages;
pub mod validators;
pub mod watch;

pub use filter::{Filter, own_collections};
pub use watch::{Images, Watch, change_stream_options};
