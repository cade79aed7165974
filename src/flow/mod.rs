//! What is in flight: batches, the watermark over them, and the bytes that they hold.
//!
//! Source, sink, checkpoints and metrics all use it, so it lies below them and knows none of them.

pub mod batch;
pub mod budget;
pub mod tracker;
pub mod watermark;
