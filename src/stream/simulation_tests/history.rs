//! What the source holds, and what of it should come to Kafka.

use super::PARTITIONS;
use super::dice::Dice;
use crate::change::extra::Extra;
use crate::change::position::{Position, ResumeToken, Seq};
use crate::kafka::partition::partition_of;
use crate::source::reader::Fetched;
use crate::stream::scripted::{BEGIN, change, delete, drop_collection, fragment, reply, token};
use std::ops::Range;

/// What happened at one place of the source's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Change(i32),
    /// With a tombstone.
    Delete(i32),
    /// A change that is sent in two fragments.
    Split(i32),
    /// A change that no broker takes, and that is skipped.
    Poison(i32),
    /// An event without a record.
    Drop,
    /// No event, only a token.
    Idle,
}

/// A record: its event's number, and which of the event's records it is.
pub(super) type Record = (Seq, usize);

pub(super) struct History(Vec<Happening>);

/// How far a cursor has read: places, and whether the first fragment behind them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) place: usize,
    within: bool,
}

impl Cursor {
    pub(super) fn at(place: usize) -> Self {
        let within = false;
        Self { place, within }
    }
}

impl History {
    pub(super) fn random(dice: &mut Dice) -> Self {
        let happening = |dice: &mut Dice| {
            let document = dice.roll(4) as i32;
            match dice.roll(16) {
                0..9 => Happening::Change(document),
                9 | 10 => Happening::Delete(document),
                11 | 12 => Happening::Split(document),
                13 => Happening::Poison(document),
                14 => Happening::Drop,
                _ => Happening::Idle,
            }
        };
        let len = 4 + dice.up_to(12);
        Self((0..len).map(|_| happening(dice)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next reply of a cursor; none at the end.
    pub(super) fn fetch(&self, cursor: &mut Cursor, dice: &mut Dice) -> Option<Fetched> {
        let mut events = Vec::new();
        let most = 1 + dice.up_to(3);
        while events.len() < most && cursor.place < self.len() {
            let number = cursor.place as u32 + 1;
            let event = match self.0[cursor.place] {
                Happening::Change(id) | Happening::Poison(id) => change(number, id),
                Happening::Delete(id) => delete(number, id),
                Happening::Drop => drop_collection(number),
                Happening::Split(id) if !cursor.within => {
                    cursor.within = true;
                    events.push(fragment(number, id, 1));
                    continue;
                }
                Happening::Split(id) => fragment(number, id, 2),
                Happening::Idle => {
                    cursor.place += 1;
                    return Some(reply(&events, Some(number)));
                }
            };
            *cursor = Cursor::at(cursor.place + 1);
            events.push(event);
        }
        // Servers also give one within a split event: that of its first fragment.
        let is_told = dice.roll(2) == 0 && (cursor.within || !self.is_split(cursor.place));
        let number = cursor.place as u32 + u32::from(cursor.within);
        (!events.is_empty()).then(|| reply(&events, is_told.then_some(number)))
    }

    /// Where a position is, which must be right in all its parts.
    pub(super) fn place_of(&self, position: &Position) -> usize {
        let time = position.token.cluster_time().expect("of a server's form");
        let place = time.seconds as usize;
        assert_eq!(position.seq, self.seq_at(place), "of another place");
        if self.is_split(place) {
            let first = token(place as u32);
            assert_ne!(position.token, first, "a position within a split event");
        }
        place
    }

    pub(super) fn position(&self, place: usize) -> Position {
        let token = match self.is_split(place) {
            true => {
                let event = fragment(place as u32, 0, 2);
                let id = event.get_document("_id").expect("it has a token");
                ResumeToken::from_data(id.get_str("_data").expect("it is a string"))
            }
            false => token(place as u32),
        };
        Position {
            token,
            seq: self.seq_at(place),
            time_millis: None,
            cluster_time: None,
            extra: Extra::default(),
        }
    }

    /// Whether the event before this place was split.
    fn is_split(&self, place: usize) -> bool {
        place > 0 && matches!(self.0[place - 1], Happening::Split(_))
    }

    fn seq_at(&self, place: usize) -> Seq {
        let happened = self.0[..place].iter();
        let events = happened.filter(|happening| **happening != Happening::Idle);
        Seq(BEGIN.0 + events.count() as u64)
    }

    /// Whether a broker refuses the record of this event.
    pub(super) fn is_poison(&self, seq: Seq) -> bool {
        let poisons = self.0.iter().enumerate();
        let mut poisons = poisons.filter(|(_, it)| matches!(it, Happening::Poison(_)));
        poisons.any(|(place, _)| self.seq_at(place + 1) == seq)
    }

    /// The records that come to a partition between two places.
    pub(super) fn records(&self, places: Range<usize>, partition: usize) -> Vec<Record> {
        let mut expected = Vec::new();
        for place in places {
            let (id, records) = match &self.0[place] {
                Happening::Change(id) | Happening::Split(id) => (*id, 1),
                Happening::Delete(id) => (*id, 2),
                Happening::Poison(_) | Happening::Drop | Happening::Idle => continue,
            };
            let key = format!(r#"{{"database":"shop","collection":"orders","_id":{id}}}"#);
            if partition_of(key.as_bytes(), PARTITIONS as i32) as usize == partition {
                let seq = self.seq_at(place + 1);
                expected.extend((0..records).map(|part| (seq, part)));
            }
        }
        expected
    }
}
