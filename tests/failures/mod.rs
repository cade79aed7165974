//! The failure table of the source: each thing a server can say or do, and what becomes of the stream.

mod codes;
mod health;
mod history;
mod instances;
mod panics;
mod replies;
mod stream;
mod unreadable;
mod waiting;
