//! Checkpoints in a file of this machine: replaced atomically, synced, locked against a second process.

use super::codec;
use super::{Claim, CommitError, Record, StoreContext};
use crate::error::{Code, Error};
use crate::tasks;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct Store {
    path: Arc<PathBuf>,
    lock: File,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing alone would not do while a child that was just forked still has the file open. That
        // unlocking fails is not to be expected, and the lock ends with the process anyway.
        let _ = self.lock.unlock();
    }
}

impl Store {
    pub(super) async fn open(
        path: &Path,
        stream: &str,
        context: &StoreContext,
    ) -> Result<(Self, Claim, Option<Record>), Error> {
        let (path, stream, context) = (path.to_owned(), stream.to_owned(), context.clone());
        blocking(move || Self::open_blocking(&path, &stream, &context)).await?
    }

    fn open_blocking(
        path: &Path,
        stream: &str,
        context: &StoreContext,
    ) -> Result<(Self, Claim, Option<Record>), Error> {
        // A link is kept: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = lock(&path, &context.instance)?;
        let previous = read_blocking(&path)?;
        if let Some(other) = previous.as_ref().filter(|found| found.stream != stream) {
            return Err(Error::new(
                Code::CheckpointFailed,
                format!(
                    "{} holds the checkpoint of stream {}, not of {stream}: name another file with \
                     RESUME_FILE, or set STREAM_ID={}",
                    path.display(),
                    other.stream,
                    other.stream
                ),
            ));
        }
        context.check(previous.as_ref())?;
        let claim = Claim::after(previous.as_ref(), stream, context);
        // Written at once: a folder that cannot be written is found now, not at the first commit.
        let record = Record::claimed(previous.as_ref(), &claim);
        replace(&path, &codec::encode(&record, None)?)
            .map_err(|error| unusable(&path, "written", error))?;
        let store = Self {
            path: Arc::new(path),
            lock,
        };
        Ok((store, claim, previous))
    }

    /// Whether the file is known to be gone.
    pub(super) async fn is_gone(&self) -> bool {
        matches!(list(&self.path).await.as_deref(), Ok([]))
    }

    pub(super) fn place(&self) -> String {
        format!("file {}", self.path.display())
    }

    pub(super) async fn write(&self, record: &Record) -> Result<(), CommitError> {
        let bytes = codec::encode(record, None).map_err(CommitError::Failed)?;
        let path = Arc::clone(&self.path);
        let written = blocking(move || {
            replace(&path, &bytes).map_err(|error| unusable(&path, "written", error))
        });
        // Whatever the disk complains of may be mended while we wait: full, read-only, unmounted.
        written
            .await
            .map_err(CommitError::Failed)?
            .map_err(CommitError::Transient)
    }
}

/// Says who has the file, if anybody has.
pub(super) async fn refuse_in_use(path: &Path) -> Result<(), Error> {
    let path = path.to_owned();
    let free = blocking(move || -> Result<(), Error> {
        let path = fs::canonicalize(&path).unwrap_or(path);
        let mut options = OpenOptions::new();
        match options.read(true).write(true).open(beside(&path, ".lock")) {
            Ok(mut file) => {
                take(&mut file, &path)?;
                // Another one may want it from now on; closing would unlock it as well.
                let _ = file.unlock();
                Ok(())
            }
            // Nobody has had it yet; what else is wrong is for the one who opens the store to say.
            Err(_) => Ok(()),
        }
    });
    free.await?
}

/// Reads the file without locking it: it is always whole.
pub(super) async fn read(path: &Path, stream: &str) -> Result<Option<Record>, Error> {
    let found = list(path).await?;
    Ok(found.into_iter().find(|record| record.stream == stream))
}

pub(super) async fn list(path: &Path) -> Result<Vec<Record>, Error> {
    let path = path.to_owned();
    let found = blocking(move || read_blocking(&path)).await??;
    Ok(found.into_iter().collect())
}

fn read_blocking(path: &Path) -> Result<Option<Record>, Error> {
    match fs::read(path) {
        Ok(bytes) => codec::decode(&bytes, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, "read", error)),
    }
}

/// Takes the lock beside the file, or says who has it.
///
/// The lock is a file of its own since the checkpoint is replaced, not rewritten. It is never removed:
/// a process that had opened the removed one would hold a lock that nobody else sees.
fn lock(path: &Path, instance: &str) -> Result<File, Error> {
    let lock_path = beside(path, ".lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| unusable(&lock_path, "opened", error))?;
    take(&mut file, path)?;
    let named = format!("instance {instance}, process {}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(named.as_bytes()))
        .map_err(|error| unusable(&lock_path, "written", error))?;
    Ok(file)
}

/// Locks the lock file of `path`, or says who has.
fn take(file: &mut File, path: &Path) -> Result<(), Error> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the sentence: without it the refusal stands just as well.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process",
                named => named,
            };
            Err(Error::new(
                Code::CheckpointFailed,
                format!(
                    "{} is in use by {holder}: stop that one first, or name another file with \
                     RESUME_FILE",
                    path.display()
                ),
            ))
        }
        Err(TryLockError::Error(error)) => Err(unusable(&beside(path, ".lock"), "locked", error)),
    }
}

/// Replaces the file so that after any crash there is the old content or the new, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // A token holds a document's key.
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is left of it would take room on a full disk; failing to remove it changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // Without this the rename itself can be lost when the machine stops.
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn unusable(path: &Path, attempt: &str, error: io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "; the folder of RESUME_FILE has to exist"
        }
        ErrorKind::IsADirectory => "; RESUME_FILE names a file, not a folder",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; the user of this process has to be able to write in that folder"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there",
        _ => "",
    };
    Error::new(
        Code::CheckpointFailed,
        format!(
            "the checkpoint file {} cannot be {attempt}: {error}{advice}",
            path.display()
        ),
    )
    .because(error)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tasks::blocking("the checkpoint file", work).await
}
