//! What the source holds, and what of it should come to Kafka.

use super::dice::Dice;
use super::{GONE, LISTENERS_TOPICS, PARTITIONS};
use crate::change::extra::Extra;
use crate::change::position::{Position, ResumeToken, Seq};
use crate::kafka::partition::partition_of;
use crate::source::reader::Fetched;
use crate::stream::scripted::{
    BEGIN, Wanted, change, delete, drop_collection, fragment, number_at, reply, token,
};
use std::ops::Range;

/// What happened at one place of the source's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Change,
    /// With a tombstone.
    Delete,
    /// A change that is sent in two fragments.
    Split,
    /// An event without a record.
    Drop,
    /// No event, only a token.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    happening: Happening,
    document: i32,
    /// Who wants a record of it.
    wanted: Wanted,
    /// Whose record no broker takes.
    poison: Wanted,
    /// Of which transaction it is; 0 for none.
    transaction: i64,
}

/// Which of a target's records of one event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Record,
    Tombstone,
    DeadLetter,
}

/// A record: its event's number, which target it is for, counted from the configuration's own topics, and which of
/// the target's records it is.
pub(super) type Record = (Seq, usize, Part);

/// The configuration's own topics, and the listeners.
const TARGETS: usize = 1 + LISTENERS_TOPICS.len();

/// The topic of each target; that of the last cannot be had.
const TOPICS: [&str; TARGETS] = [
    "changes",
    LISTENERS_TOPICS[0],
    LISTENERS_TOPICS[1],
    LISTENERS_TOPICS[2],
];

/// Topics with records: what is written to one partition of one of them is a lane.
const WRITTEN: [&str; 3] = ["changes", "jobs.a", "dead"];
pub(super) const LANES: usize = WRITTEN.len() * PARTITIONS;

/// The lane of a record.
pub(super) fn lane_of(topic: &str, key: &[u8]) -> usize {
    let topic = WRITTEN.iter().position(|written| *written == topic);
    let partition = partition_of(key, PARTITIONS as i32) as usize;
    topic.expect("it takes records") * PARTITIONS + partition
}

/// Whether first occurrences on this lane are in order. Dead letters are in no order among each other: what is
/// refused before it is sent does not wait for what only the broker refuses.
pub(super) fn is_in_order(lane: usize) -> bool {
    WRITTEN[lane / PARTITIONS] != "dead"
}

/// The target whose records have this `tw-listener`.
pub(super) fn target_of(listener: &str) -> usize {
    listener
        .bytes()
        .next()
        .map_or(0, |name| usize::from(name - b'a') + 1)
}

pub(super) struct History {
    places: Vec<Place>,
    /// Whether a record that cannot be had becomes a dead letter; otherwise it is skipped.
    has_dead_letters: bool,
}

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
    pub(super) fn random(dice: &mut Dice, has_dead_letters: bool) -> Self {
        let mut transaction = 0;
        let mut place = |dice: &mut Dice| {
            let document = dice.roll(4) as i32;
            let any = |dice: &mut Dice| dice.roll(1 << TARGETS) as Wanted;
            let (happening, wanted, poison) = match dice.roll(16) {
                0..9 => (Happening::Change, any(dice), 0),
                9 | 10 => (Happening::Delete, any(dice), 0),
                11 | 12 => (Happening::Split, any(dice), 0),
                13 => (Happening::Change, any(dice), any(dice)),
                14 => (Happening::Drop, 0, 0),
                _ => (Happening::Idle, 0, 0),
            };
            transaction = match dice.roll(4) {
                0 => 0,
                1 => transaction + 1,
                _ => transaction,
            };
            Place {
                happening,
                document,
                wanted,
                poison,
                transaction: match happening {
                    Happening::Drop | Happening::Idle => 0,
                    _ => transaction,
                },
            }
        };
        let len = 4 + dice.up_to(12);
        Self {
            places: (0..len).map(|_| place(dice)).collect(),
            has_dead_letters,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Who wants each event, by its number.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let wanted = self.places.iter().map(|place| place.wanted);
        std::iter::once(0).chain(wanted)
    }

    /// The next reply of a cursor; none at the end.
    pub(super) fn fetch(&self, cursor: &mut Cursor, dice: &mut Dice) -> Option<Fetched> {
        let mut events = Vec::new();
        let most = 1 + dice.up_to(3);
        while events.len() < most && cursor.place < self.len() {
            let number = cursor.place as u32 + 1;
            let Place {
                happening,
                document: id,
                transaction,
                ..
            } = self.places[cursor.place];
            let in_transaction = |mut event: bson::Document| {
                if transaction > 0 {
                    event.insert("lsid", bson::doc! {"id": "a session"});
                    event.insert("txnNumber", transaction);
                }
                event
            };
            let event = match happening {
                Happening::Change => in_transaction(change(number, id)),
                Happening::Delete => in_transaction(delete(number, id)),
                Happening::Drop => drop_collection(number),
                Happening::Split if !cursor.within => {
                    cursor.within = true;
                    events.push(in_transaction(fragment(number, id, 1)));
                    continue;
                }
                Happening::Split => fragment(number, id, 2),
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
        let place = number_at(time) as usize;
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
        place > 0 && self.places[place - 1].happening == Happening::Split
    }

    fn seq_at(&self, place: usize) -> Seq {
        let happened = self.places[..place].iter();
        let events = happened.filter(|place| place.happening != Happening::Idle);
        Seq(BEGIN.0 + events.count() as u64)
    }

    /// Which event of its transaction the event with this number is; none for one of no transaction.
    pub(super) fn order_of(&self, seq: Seq) -> Option<u64> {
        let events = self.places.iter();
        let mut events = events.filter(|place| place.happening != Happening::Idle);
        let (mut transaction, mut order) = (0, 0);
        for _ in BEGIN.0..seq.0 {
            let place = events.next().expect("it is of an event");
            order = match place.transaction == transaction {
                true => order + 1,
                false => 1,
            };
            transaction = place.transaction;
        }
        (transaction > 0).then_some(order)
    }

    /// Whether a broker refuses this record.
    pub(super) fn is_poison(&self, (seq, target, part): Record) -> bool {
        let is_event = |place: &usize| {
            let happening = self.places[*place].happening;
            happening != Happening::Idle && self.seq_at(place + 1) == seq
        };
        let place = (0..self.len()).find(is_event);
        let poison = self.places[place.expect("it is of an event")].poison;
        part != Part::DeadLetter && poison & (1 << target) != 0
    }

    /// The records that come to a lane between two places.
    pub(super) fn records(&self, places: Range<usize>, lane: usize) -> Vec<Record> {
        let mut expected = Vec::new();
        for place in places {
            let of = self.places[place];
            let id = of.document;
            let key = format!(r#"{{"database":"shop","collection":"orders","_id":{id}}}"#);
            let seq = self.seq_at(place + 1);
            for target in (0..TARGETS).filter(|target| of.wanted & (1 << target) != 0) {
                let is_refused = TOPICS[target] == GONE || of.poison & (1 << target) != 0;
                let (topic, parts): (_, &[Part]) = match of.happening {
                    _ if is_refused && self.has_dead_letters => ("dead", &[Part::DeadLetter]),
                    _ if is_refused => continue,
                    Happening::Delete => (TOPICS[target], &[Part::Record, Part::Tombstone]),
                    _ => (TOPICS[target], &[Part::Record]),
                };
                if lane_of(topic, key.as_bytes()) == lane {
                    expected.extend(parts.iter().map(|part| (seq, target, *part)));
                }
            }
        }
        expected
    }
}
