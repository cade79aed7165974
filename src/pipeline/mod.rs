//! The only wiring of the stages: source, route, encode, batch, sink, watermark, commit.

pub mod budget;
pub mod tracker;
