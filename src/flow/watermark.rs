//! The contiguous acknowledged prefix of the stream. Pure: no async, no I/O, no clock.
//!
//! Every batch of events is an entry, in stream order. An entry is resolved when it is sealed and all
//! of its records are acknowledged; acknowledgements may come before the seal. The head advances over resolved entries only, so that the position
//! it gives out never has a gap behind it. Only this module makes a [`Committable`].

use crate::change::position::{Position, Seq};
use std::collections::VecDeque;

/// Names an entry of one watermark: the number of entries before it, which begins anew at 2^[`BITS`](Self::BITS).
/// So many are never in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(u32);

impl EntryId {
    /// How many bits it takes.
    pub const BITS: u32 = 27;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// The id as it travels through a client library's opaque pointer.
    pub fn to_opaque(self) -> usize {
        self.0 as usize
    }

    /// The id of the lowest [`BITS`](Self::BITS).
    pub fn from_opaque(opaque: usize) -> Self {
        Self(opaque as u32 & Self::MASK)
    }

    /// The id so many entries later.
    fn later(self, entries: usize) -> Self {
        Self(self.0.wrapping_add(entries as u32) & Self::MASK)
    }

    /// How many entries after `other` this one is.
    fn behind(self, other: Self) -> usize {
        (self.0.wrapping_sub(other.0) & Self::MASK) as usize
    }
}

/// A position that may be stored: everything up to it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Committable {
    position: Position,
}

impl Committable {
    pub fn position(&self) -> &Position {
        &self.position
    }
}

#[derive(Debug)]
struct Entry {
    /// Number of the first event in the entry.
    first: Seq,
    /// When the first change that has a record in it happened, in ms since the Unix epoch.
    changed_millis: Option<i64>,
    acked: u64,
    seal: Option<Seal>,
}

/// What an entry turned out to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Seal {
    /// Records that must be acknowledged.
    pub records: u64,
    /// Their bytes, given back when all are.
    pub bytes: usize,
    /// Where the stream continues after the entry; none when that is no commit point, as inside a
    /// split event.
    pub position: Option<Position>,
}

impl Entry {
    fn is_resolved(&self) -> bool {
        self.seal
            .as_ref()
            .is_some_and(|seal| seal.records == self.acked)
    }
}

/// What resolving did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the entry that is now resolved as a whole; 0 while records of it are outstanding.
    pub freed_bytes: usize,
    /// Whether a newer position can be committed, or all is resolved.
    pub advanced: bool,
}

/// The caller broke the protocol: more acknowledgements than records, or an unknown entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("acknowledgement for entry {entry:?} that has none outstanding")]
pub struct Unexpected {
    pub entry: EntryId,
}

/// A ring of entries and the newest position behind which all is resolved.
#[derive(Debug)]
pub struct Watermark {
    /// The oldest entry.
    head: EntryId,
    entries: VecDeque<Entry>,
    newest: Option<Position>,
}

impl Default for Watermark {
    fn default() -> Self {
        Self::beginning_at(EntryId(0))
    }
}

impl Watermark {
    pub fn new() -> Self {
        Self::default()
    }

    fn beginning_at(head: EntryId) -> Self {
        Self {
            head,
            entries: VecDeque::new(),
            newest: None,
        }
    }

    /// Opens the next entry, whose first event has the number `first`. It holds the head until it is
    /// sealed and resolved.
    pub fn open(&mut self, first: Seq) -> EntryId {
        let id = self.head.later(self.entries.len());
        self.entries.push_back(Entry {
            first,
            changed_millis: None,
            acked: 0,
            seal: None,
        });
        id
    }

    /// Closes an entry: no records will be added.
    ///
    /// # Errors
    /// [`Unexpected`] for an unknown or sealed entry, or one with more acknowledgements than records.
    pub fn seal(&mut self, id: EntryId, seal: Seal) -> Result<Progress, Unexpected> {
        match self.entry_mut(id) {
            Some(entry) if entry.seal.is_none() && entry.acked <= seal.records => {
                entry.seal = Some(seal);
                Ok(self.settle(id))
            }
            _ => Err(Unexpected { entry: id }),
        }
    }

    /// Takes `records` acknowledgements for an entry.
    ///
    /// # Errors
    /// [`Unexpected`] when the entry does not have that many outstanding; nothing changes then.
    pub fn resolve(&mut self, id: EntryId, records: u64) -> Result<Progress, Unexpected> {
        match self.entry_mut(id) {
            Some(entry)
                if entry
                    .seal
                    .as_ref()
                    .is_none_or(|seal| entry.acked + records <= seal.records) =>
            {
                entry.acked += records;
                Ok(self.settle(id))
            }
            _ => Err(Unexpected { entry: id }),
        }
    }

    /// Notes when the first change of an entry happened, once.
    pub fn note_change(&mut self, id: EntryId, millis: i64) {
        if let Some(entry) = self.entry_mut(id) {
            entry.changed_millis.get_or_insert(millis);
        }
    }

    /// When the oldest change happened that is not resolved, in ms since the Unix epoch, where known.
    pub fn oldest_millis(&self) -> Option<i64> {
        self.entries.iter().find_map(|entry| entry.changed_millis)
    }

    /// Number of the entry's first event, while the entry is not yet behind the head.
    pub fn first_of(&self, id: EntryId) -> Option<Seq> {
        let entry = self.entries.get(id.behind(self.head));
        entry.map(|entry| entry.first)
    }

    /// The newest position behind which everything is resolved, once.
    pub fn take_committable(&mut self) -> Option<Committable> {
        self.newest.take().map(|position| Committable { position })
    }

    /// Puts back a position that could not be stored, unless there is a newer one already.
    pub fn put_back(&mut self, committable: Committable) {
        self.newest.get_or_insert(committable.position);
    }

    /// Whether every entry is resolved.
    pub fn is_drained(&self) -> bool {
        self.entries.is_empty()
    }

    fn entry_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        // One that is behind the head counts as far ahead: it is not there either.
        self.entries.get_mut(id.behind(self.head))
    }

    fn settle(&mut self, id: EntryId) -> Progress {
        let mut progress = Progress::default();
        match self.entry_mut(id) {
            Some(entry) if entry.is_resolved() => {
                progress.freed_bytes = entry.seal.as_ref().map_or(0, |seal| seal.bytes);
            }
            _ => return progress,
        }
        while self.entries.front().is_some_and(Entry::is_resolved) {
            self.head = self.head.later(1);
            progress.advanced = true;
            if let Some(Seal {
                position: Some(position),
                ..
            }) = self.entries.pop_front().and_then(|entry| entry.seal)
            {
                self.newest = Some(position);
            }
        }
        progress
    }
}

#[cfg(test)]
#[path = "watermark_tests.rs"]
mod tests;
