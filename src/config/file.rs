//! Files that a variable names. Where a path belongs there may stand anything: a pipe that nobody writes
//! to, a device without an end, or the secret itself. None of them may hang, eat the memory or be shown.

use rustix::fs::OFlags;
use std::fmt;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Why a file is not taken. None of the sentences holds the path or anything of the content.
#[derive(Debug)]
pub(super) enum Refusal {
    Missing,
    /// It is something else than a file: what.
    NoFile(&'static str),
    /// It has more bytes than this.
    TooLarge(u64),
    Unreadable(io::Error),
}

impl Refusal {
    /// Whether something has this path, so that it cannot be a secret that was put in its place.
    pub fn is_of_something(&self) -> bool {
        !matches!(self, Self::Missing)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("cannot be read: no such file"),
            Self::NoFile(what) => write!(f, "is {what} and no file"),
            Self::TooLarge(limit) => write!(f, "is larger than {} KiB", limit / 1024),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A secret may be longer than a path may be, hold a NUL, or a slash behind a file's name.
            io::ErrorKind::NotFound
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::NotADirectory => Self::Missing,
            _ => Self::Unreadable(error),
        }
    }
}

/// Reads a file of at most `limit` bytes. Links are followed: Kubernetes mounts secrets as such.
///
/// # Errors
/// At once, and without reading anything of it, where it is no regular file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    open(path, limit)?.take(limit + 1).read_to_end(&mut bytes)?;
    // Files of /proc have no size before they are read.
    if bytes.len() as u64 > limit {
        return Err(Refusal::TooLarge(limit));
    }
    Ok(bytes)
}

/// Whether [`read`] would take it, as far as that can be seen without reading it.
pub(super) fn probe(path: &Path, limit: u64) -> Result<(), Refusal> {
    open(path, limit).map(drop)
}

fn open(path: &Path, limit: u64) -> Result<File, Refusal> {
    // Before it is opened: opening a device may do something, and a socket cannot be opened.
    accept(&path.metadata()?, limit)?;
    // It may have become a pipe meanwhile, which would wait for a writer.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    accept(&file.metadata()?, limit)?;
    Ok(file)
}

fn accept(metadata: &Metadata, limit: u64) -> Result<(), Refusal> {
    if let Some(what) = other_than_file(metadata.file_type()) {
        return Err(Refusal::NoFile(what));
    }
    match metadata.len() > limit {
        true => Err(Refusal::TooLarge(limit)),
        false => Ok(()),
    }
}

fn other_than_file(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}
