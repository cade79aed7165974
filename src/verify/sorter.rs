//! Entries in order, however many: sorted runs on disk, merged when all are there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What can be sorted: of a fixed size in a file.
pub trait Row: Copy + Ord {
    /// In bytes.
    const LEN: usize;

    /// Appends [`LEN`](Self::LEN) bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads what [`write`](Self::write) has written.
    fn read(bytes: &[u8]) -> Self;
}

/// A folder for files that have no name any more: whatever ends this process, nothing of them stays.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The one that is given, otherwise the system's for temporary files.
    pub fn new(given: Option<&Path>) -> Self {
        Self(given.map_or_else(std::env::temp_dir, Path::to_path_buf))
    }

    /// A new file, to be written and read.
    ///
    /// # Errors
    /// The system's.
    pub fn file(&self) -> io::Result<File> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tailwater-verify-{}-{number}", std::process::id());
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

/// Takes entries in any order.
#[derive(Debug)]
pub struct Sorter<R> {
    folder: Folder,
    buffer: Vec<R>,
    most: usize,
    runs: Vec<File>,
}

/// How much of a run is read at once, in bytes, where there is room.
const AHEAD: usize = 256 << 10;
const LEAST_AHEAD: usize = 4 << 10;
/// No row is longer, in bytes.
const LONGEST: usize = 128;

impl<R: Row> Sorter<R> {
    /// One that keeps no more than `memory` bytes of entries in memory.
    pub fn new(folder: &Folder, memory: usize) -> Self {
        Self {
            folder: folder.clone(),
            buffer: Vec::new(),
            most: (memory / size_of::<R>()).max(1024),
            runs: Vec::new(),
        }
    }

    /// # Errors
    /// The system's, when a full buffer cannot be written.
    pub fn push(&mut self, entry: R) -> io::Result<()> {
        if self.buffer.len() >= self.most {
            self.spill()?;
        }
        // Grown as needed, but never beyond the bound.
        if self.buffer.len() == self.buffer.capacity() {
            let more = self.buffer.len().clamp(1024, self.most - self.buffer.len());
            self.buffer.reserve_exact(more);
        }
        self.buffer.push(entry);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        let mut out = BufWriter::with_capacity(AHEAD, self.folder.file()?);
        let mut bytes = Vec::with_capacity(R::LEN);
        for entry in self.buffer.drain(..) {
            bytes.clear();
            entry.write(&mut bytes);
            out.write_all(&bytes)?;
        }
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }
}

/// All entries of some sorters, in order.
#[derive(Debug)]
pub struct Merged<R> {
    runs: Vec<BufReader<File>>,
    /// The next of each run.
    heads: BinaryHeap<Reverse<(R, usize)>>,
}

impl<R: Row> Merged<R> {
    /// # Errors
    /// The system's, when a run cannot be written or read.
    pub fn of(sorters: Vec<Sorter<R>>, memory: usize) -> io::Result<Self> {
        let mut files = Vec::new();
        for mut sorter in sorters {
            sorter.spill()?;
            files.append(&mut sorter.runs);
        }
        let ahead = (memory / files.len().max(1)).clamp(LEAST_AHEAD, AHEAD);
        let mut merged = Self {
            runs: files
                .into_iter()
                .map(|file| BufReader::with_capacity(ahead, file))
                .collect(),
            heads: BinaryHeap::new(),
        };
        for run in 0..merged.runs.len() {
            if let Some(entry) = read(&mut merged.runs[run])? {
                merged.heads.push(Reverse((entry, run)));
            }
        }
        Ok(merged)
    }

    /// The next entry, which stays the next.
    pub fn peek(&self) -> Option<&R> {
        self.heads.peek().map(|Reverse((entry, _))| entry)
    }

    /// The next entry; none behind the last.
    ///
    /// # Errors
    /// The system's.
    pub fn next(&mut self) -> io::Result<Option<R>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse((entry, run)) = *head;
        match read(&mut self.runs[run])? {
            Some(following) => *head = Reverse((following, run)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(entry))
    }
}

fn read<R: Row>(run: &mut impl Read) -> io::Result<Option<R>> {
    let mut bytes = [0; LONGEST];
    let bytes = &mut bytes[..R::LEN];
    match run.read_exact(bytes) {
        Ok(()) => Ok(Some(R::read(bytes))),
        // Runs hold whole entries.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::entry::{Entry, Kind, hash};

    #[test]
    fn entries_of_many_runs_come_in_order_and_none_is_lost() {
        let folder = Folder::new(None);
        let mut all = Vec::new();
        // The smallest buffer holds 1024.
        let mut sorters = vec![Sorter::new(&folder, 0), Sorter::new(&folder, 0)];
        for number in 0..5000_u32 {
            let entry = Entry {
                id: hash(&(number % 700).to_le_bytes()),
                namespace: number % 3,
                topic: 0,
                partition: 0,
                offset: u64::from(number),
                seq: 0,
                kind: Kind::Whole,
                content: [0; 16],
            };
            sorters[number as usize % 2].push(entry).unwrap();
            all.push(entry);
        }
        assert!(sorters[0].buffer.capacity() <= 1024);
        let mut merged = Merged::of(sorters, 0).unwrap();
        all.sort_unstable();
        for entry in all {
            assert_eq!(merged.peek(), Some(&entry));
            assert_eq!(merged.next().unwrap(), Some(entry));
        }
        assert_eq!(merged.next().unwrap(), None);
    }
}
