//! Where a client is: of each partition, the offset of the record that comes next. It travels as the `id` of an event,
//! so it is compact: a version, then for each topic a hash of its name and the offsets of its partitions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The longest text of a position: what fits into a header everywhere.
pub const LONGEST: usize = 2048;
/// What an offset may take, in bytes: up to four thousand billion records in a partition.
const OFFSET: usize = 6;
const VERSION: u8 = 1;

/// A partition of a topic: their places in the table of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub topic: usize,
    pub partition: usize,
}

/// Offsets of the next records, by topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(Vec<OfTopic>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OfTopic {
    hash: u32,
    next: Vec<i64>,
}

/// The text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the position is not one that this server gave as id; leave it out to begin with the next change"
)]
pub struct NoPosition;

/// The hash that stands for a topic's name.
pub fn hash(topic: &str) -> u32 {
    let digest: [u8; 32] = Sha256::digest(topic.as_bytes()).into();
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Whether positions of so many topics and partitions stay short enough.
pub fn fits(topics: usize, partitions: usize) -> bool {
    let bytes = 1 + topics * 6 + partitions * OFFSET;
    bytes.div_ceil(3) * 4 <= LONGEST
}

impl Position {
    /// Takes a topic up, or more partitions of one, from their beginnings; its place.
    pub fn grow(&mut self, topic: &str, partitions: usize) -> usize {
        let hash = hash(topic);
        let known = self.0.iter().position(|of| of.hash == hash);
        let at = known.unwrap_or_else(|| {
            let next = Vec::new();
            self.0.push(OfTopic { hash, next });
            self.0.len() - 1
        });
        let next = &mut self.0[at].next;
        next.resize(next.len().max(partitions), 0);
        at
    }

    /// The next offset of a partition; 0 of one that is not known.
    pub fn next(&self, place: Place) -> i64 {
        let of = self.0.get(place.topic);
        of.and_then(|of| of.next.get(place.partition).copied())
            .unwrap_or(0)
    }

    /// Moves a partition on; never back.
    pub fn raise(&mut self, place: Place, next: i64) {
        let of = self.0.get_mut(place.topic);
        if let Some(known) = of.and_then(|of| of.next.get_mut(place.partition)) {
            *known = next.max(*known);
        }
    }

    /// Moves a partition to where it is, also back.
    pub fn set(&mut self, place: Place, next: i64) {
        let of = self.0.get_mut(place.topic);
        if let Some(known) = of.and_then(|of| of.next.get_mut(place.partition)) {
            *known = next;
        }
    }

    /// All partitions.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let topics = self.0.iter().enumerate();
        topics.flat_map(|(topic, of)| {
            (0..of.next.len()).map(move |partition| Place { topic, partition })
        })
    }

    /// The same offsets for the topics of `table`, in its order; what is not known here begins at 0.
    #[must_use]
    pub fn aligned(&self, table: &Self) -> Self {
        let of_topic = |of: &OfTopic| {
            let known = self.0.iter().find(|own| own.hash == of.hash);
            let mut next = known.map_or_else(Vec::new, |own| own.next.clone());
            next.resize(of.next.len(), 0);
            OfTopic {
                hash: of.hash,
                next,
            }
        };
        Self(table.0.iter().map(of_topic).collect())
    }

    /// Whether it knows a topic or partition that `table` does not know.
    pub fn is_beyond(&self, table: &Self) -> bool {
        self.0.iter().any(|own| {
            let known = table.0.iter().find(|of| of.hash == own.hash);
            known.is_none_or(|of| of.next.len() < own.next.len())
        })
    }

    /// Whether it is at or behind `other` nowhere: nothing before `other` is missing. Both of one table.
    pub fn covers(&self, other: &Self) -> bool {
        other
            .places()
            .all(|place| self.next(place) >= other.next(place))
    }

    /// Moves on to where `other` is farther. Both of one table.
    pub fn join(&mut self, other: &Self) {
        for place in other.places() {
            self.raise(place, other.next(place));
        }
    }

    /// As text, for an `id`.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        for OfTopic { hash, next } in &self.0 {
            bytes.extend_from_slice(&hash.to_le_bytes());
            write(&mut bytes, next.len() as u64);
            for offset in next {
                write(&mut bytes, offset.unsigned_abs());
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a position.
    ///
    /// # Errors
    /// [`NoPosition`] for any other text.
    pub fn decode(text: &str) -> Result<Self, NoPosition> {
        if text.len() > LONGEST {
            return Err(NoPosition);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoPosition)?;
        let Some((&VERSION, mut rest)) = bytes.split_first() else {
            return Err(NoPosition);
        };
        let mut topics = Vec::new();
        while !rest.is_empty() {
            let (hash, after) = rest.split_first_chunk::<4>().ok_or(NoPosition)?;
            rest = after;
            let count = usize::try_from(read(&mut rest)?).map_err(|_| NoPosition)?;
            // Each offset takes a byte at least.
            if count > rest.len() {
                return Err(NoPosition);
            }
            let offset = |_| i64::try_from(read(&mut rest)?).map_err(|_| NoPosition);
            let next = (0..count).map(offset).collect::<Result<_, _>>()?;
            let hash = u32::from_le_bytes(*hash);
            topics.push(OfTopic { hash, next });
        }
        Ok(Self(topics))
    }
}

/// Seven bits a byte, the lowest first.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Result<u64, NoPosition> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(NoPosition)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(NoPosition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(topics: &[(&str, &[i64])]) -> Position {
        let mut position = Position::default();
        for (name, offsets) in topics {
            let topic = position.grow(name, offsets.len());
            for (partition, offset) in offsets.iter().enumerate() {
                position.raise(Place { topic, partition }, *offset);
            }
        }
        position
    }

    proptest! {
        #[test]
        fn a_position_comes_back_from_its_text(offsets in prop::collection::vec(prop::collection::vec(0_i64..=i64::MAX, 0..9), 0..9)) {
            let names: Vec<_> = (0..offsets.len()).map(|n| format!("topic-{n}")).collect();
            let topics: Vec<_> = names.iter().zip(&offsets).map(|(name, of)| (name.as_str(), of.as_slice())).collect();
            let position = position(&topics);
            prop_assert_eq!(Position::decode(&position.encode()), Ok(position));
        }

        #[test]
        fn any_other_text_is_refused_or_read_without_a_panic(text in "[A-Za-z0-9_-]{0,60}") {
            let _ = Position::decode(&text);
        }
    }

    #[test]
    fn text_that_is_no_position_is_refused() {
        for wrong in [
            "",
            "x",
            "AA",
            "AQ==",
            "7",
            "AQAAAAB_",
            &"A".repeat(LONGEST + 4),
        ] {
            assert_eq!(Position::decode(wrong), Err(NoPosition), "{wrong}");
        }
    }

    #[test]
    fn as_many_partitions_as_fit_stay_below_two_kilobytes() {
        let most = (1..).take_while(|count| fits(4, *count)).last().unwrap();
        assert!(most >= 240, "{most}");
        let farthest = vec![(1_i64 << 42) - 1; most - 3];
        let topics: [(&str, &[i64]); 4] = [("a", &farthest), ("b", &[7]), ("c", &[8]), ("d", &[9])];
        assert!(position(&topics).encode().len() <= LONGEST);
    }

    #[test]
    fn partitions_that_a_position_does_not_know_begin_at_0() {
        let table = position(&[("new", &[5]), ("old", &[70, 80, 90])]);
        let own = position(&[("gone", &[3]), ("old", &[7, 8])]);
        assert!(own.is_beyond(&table));
        assert!(!position(&[("old", &[7, 8])]).is_beyond(&table));
        assert_eq!(
            own.aligned(&table),
            position(&[("new", &[0]), ("old", &[7, 8, 0])])
        );
    }

    #[test]
    fn a_position_covers_another_where_it_is_behind_nowhere() {
        let one = position(&[("t", &[5, 9])]);
        let mut other = position(&[("t", &[6, 9])]);
        assert!(other.covers(&one) && !one.covers(&other) && one.covers(&one));
        other.join(&position(&[("t", &[1, 12])]));
        assert_eq!(other, position(&[("t", &[6, 12])]));
    }
}
