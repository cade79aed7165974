//! BSON to JSON, straight from bytes to bytes.
//!
//! One pass over the document, no intermediate values, no allocation per field: the text is appended
//! to a buffer the caller keeps. What a type becomes is a [`Dialect`]; `docs/formats.md` has the
//! table for users.

pub(in crate::encode) mod binary;
pub(super) mod date;
pub(in crate::encode) mod decimal;
mod extended;
mod number;
mod output;
mod read;
pub mod scan;
mod simple;
mod text;
mod walk;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

use crate::change::raw::{Element, Malformed};
use extended::{Canonical, Relaxed};
use output::Output;
use simple::Simple;
pub(super) use text::short_escape;
use walk::{Container, Dialect};

pub use crate::config::JsonMode;
pub(super) use date::write_millis as write_timestamp;
pub use read::{Unreadable, read_document};

/// How many documents and arrays may lie in one another, the outermost counted.
///
/// MongoDB stores 100 levels; the bound keeps a broken or hostile document from being followed for ever.
pub const MAX_DEPTH: usize = 1024;

/// How many codes with scope may lie in one another (they are the only values read by recursion).
pub const MAX_SCOPES: usize = 64;

/// What the caller may want to report about what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Byte sequences that were not UTF-8 and became U+FFFD.
    pub replaced: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.replaced += other.replaced;
    }
}

/// Why a document could not be written as JSON. Nothing of the document is in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// More than [`MAX_DEPTH`] levels, or more than [`MAX_SCOPES`] codes with scope in one another.
    #[error("the document is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The same for formats that allow less.
    #[error("the document is nested deeper than {0} levels")]
    DeeperThan(usize),
    /// With a schema: it has none, or there is no value by it.
    #[error("{0}")]
    Unfit(&'static str),
    /// With a schema: it does not fit the one that is known, which may be widened.
    #[error("the document does not fit its schema")]
    Unsettled,
}

/// Appends one whole BSON document as a JSON object.
///
/// # Errors
/// [`EncodeError`] when the bytes are not BSON or nested too deep; `out` is then as it was before.
pub fn write_document(
    out: &mut Vec<u8>,
    mode: JsonMode,
    document: &[u8],
) -> Result<Stats, EncodeError> {
    write_container(out, mode, document, Container::Document)
}

/// Appends the value of one element, without its name.
///
/// # Errors
/// As [`write_document`].
pub fn write_value(
    out: &mut Vec<u8>,
    mode: JsonMode,
    element: Element<'_>,
) -> Result<Stats, EncodeError> {
    fn go<D: Dialect>(out: &mut Output<'_>, element: Element<'_>) -> Result<(), EncodeError> {
        walk::value::<D>(out, element)
    }
    let run = match mode {
        JsonMode::Simple => go::<Simple>,
        JsonMode::Relaxed => go::<Relaxed>,
        JsonMode::Canonical => go::<Canonical>,
    };
    undone_on_error(out, |out| run(out, element))
}

/// Appends a string as a JSON string, quoted and escaped; bytes that are not UTF-8 become U+FFFD.
pub fn write_string(out: &mut Vec<u8>, bytes: &[u8]) -> Stats {
    let mut output = Output::new(out);
    text::string(&mut output, bytes);
    output.stats()
}

fn write_container(
    out: &mut Vec<u8>,
    mode: JsonMode,
    bytes: &[u8],
    container: Container,
) -> Result<Stats, EncodeError> {
    undone_on_error(out, |out| match mode {
        JsonMode::Simple => walk::container::<Simple>(out, bytes, container, 0),
        JsonMode::Relaxed => walk::container::<Relaxed>(out, bytes, container, 0),
        JsonMode::Canonical => walk::container::<Canonical>(out, bytes, container, 0),
    })
}

fn undone_on_error(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Output<'_>) -> Result<(), EncodeError>,
) -> Result<Stats, EncodeError> {
    let before = out.len();
    let mut output = Output::new(out);
    let written = write(&mut output);
    let stats = output.stats();
    match written {
        Ok(()) => Ok(stats),
        Err(error) => {
            out.truncate(before);
            Err(error)
        }
    }
}
