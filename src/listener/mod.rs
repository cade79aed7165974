//! Listeners: routes that users keep in a collection and change while a stream runs.
//!
//! A listener is a document. Its changes come down the same stream as the data, so that each takes effect
//! exactly at its own place among them. What is in force at a position is part of the position.

mod compiled;
mod decide;
mod definition;
mod differing;
pub mod document;
pub mod entry;
pub mod fields;
pub mod file;
pub mod filter;
pub mod handler;
mod index;
pub mod router;
mod set;
mod settings;
pub mod trial;

pub use compiled::Admission;
pub use definition::{Definition, LONGEST_JOB, Problem, Reading, told};
pub use router::ListenerRouter;
pub use set::Set;
pub use settings::{DEFAULTS, Settings};
