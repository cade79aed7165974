//! BSON to JSON, straight from bytes to bytes.

/// `JSON_MODE`: how BSON types become JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonMode {
    /// What a Node service's `JSON.stringify` gives, made lossless where that loses.
    Simple,
    /// Relaxed Extended JSON v2.
    Relaxed,
    /// Canonical Extended JSON v2.
    Canonical,
}
