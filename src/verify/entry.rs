//! What is kept of a record or a document: its place and two hashes, of a fixed size.

use super::sorter::Row;
use ring::digest;

/// The first half of a SHA-256: wide enough that two of ten million never meet.
pub type Hash = [u8; 16];

/// The hash of a text.
pub fn hash(text: &[u8]) -> Hash {
    let whole = digest::digest(&digest::SHA256, text);
    let mut half = Hash::default();
    half.copy_from_slice(&whole.as_ref()[..size_of::<Hash>()]);
    half
}

/// What a record says of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The document is in it.
    Whole = 0,
    /// The document has changed, and is not in it.
    Partial = 1,
    /// The document is deleted.
    Gone = 2,
    /// The tombstone that follows a delete, with the number of that.
    Tombstone = 3,
    /// As [`Whole`](Self::Whole), but produced late from the dead letters: it may come out of order.
    Replayed = 4,
    /// No record: the document as MongoDB has it.
    Source = 5,
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Whole,
            1 => Self::Partial,
            2 => Self::Gone,
            3 => Self::Tombstone,
            4 => Self::Replayed,
            _ => Self::Source,
        }
    }
}

/// A record of a document, or the document itself. Sorted, all of one document come together, and those of one
/// partition in their order there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The hash of the text of its `_id`.
    pub id: Hash,
    /// Its number in [`Names`](super::names::Names).
    pub namespace: u32,
    /// The topic's number, and the partition.
    pub topic: u32,
    pub partition: i32,
    /// The record's offset; of a document in MongoDB where its `_id` is kept.
    pub offset: u64,
    /// `tw-seq`.
    pub seq: u64,
    pub kind: Kind,
    /// The hash of the document's text.
    pub content: Hash,
}

impl Row for Entry {
    const LEN: usize = 16 + 4 + 4 + 4 + 8 + 8 + 1 + 16;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.namespace.to_le_bytes());
        out.extend_from_slice(&self.topic.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.content);
    }

    fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        Self {
            id: take(&mut rest),
            namespace: u32::from_le_bytes(take(&mut rest)),
            topic: u32::from_le_bytes(take(&mut rest)),
            partition: i32::from_le_bytes(take(&mut rest)),
            offset: u64::from_le_bytes(take(&mut rest)),
            seq: u64::from_le_bytes(take(&mut rest)),
            kind: Kind::of(take::<1>(&mut rest)[0]),
            content: take(&mut rest),
        }
    }
}

/// The next bytes of a row.
pub fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut part = [0; N];
    let (head, tail) = rest.split_at(N);
    part.copy_from_slice(head);
    *rest = tail;
    part
}

/// How much of the documents is looked at, chosen by the hash of `_id`: the same ones in Kafka and in MongoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Hashes that begin with more are not in it.
    most: u32,
}

impl Sample {
    pub const ALL: Self = Self { most: u32::MAX };

    /// Reads `1%` or `0.01`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn read(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let part = number.trim().parse::<f64>().map(|number| number / unit);
        match part {
            Ok(part) if part > 0.0 && part <= 1.0 => Ok(Self {
                most: (part * f64::from(u32::MAX)) as u32,
            }),
            _ => Err("a part of all documents, as 1% or 0.01".to_owned()),
        }
    }

    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    pub fn holds(self, id: &Hash) -> bool {
        let [a, b, c, d, ..] = *id;
        u32::from_be_bytes([a, b, c, d]) <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_written() {
        let entry = Entry {
            id: hash(b"1"),
            namespace: 7,
            topic: 1 << 20,
            partition: 3,
            offset: 1 << 40,
            seq: u64::MAX - 1,
            kind: Kind::Replayed,
            content: hash(b"2"),
        };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        assert_eq!(bytes.len(), Entry::LEN);
        assert_eq!(Entry::read(&bytes), entry);
    }

    #[test]
    fn a_sample_is_a_part_or_refused_with_a_sentence() {
        assert_eq!(Sample::read("1%"), Sample::read("0.01"));
        for wrong in ["", "0", "101%", "-1%", "much", "NaN"] {
            assert!(Sample::read(wrong).unwrap_err().contains("1%"), "{wrong}");
        }
        let half = Sample::read("50%").unwrap();
        let held = (0..1000_u32).filter(|n| half.holds(&hash(&n.to_le_bytes())));
        assert!((400..600).contains(&held.count()));
        assert!(Sample::ALL.holds(&[0xFF; 16]));
    }
}
