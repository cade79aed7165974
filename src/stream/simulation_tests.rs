//! The core of the pipeline under random schedules: the real watermark, tracker, budget and commit rule
//! between a source, a broker and a store that are models. A schedule is a seed; the same seed gives the
//! same trace.

use crate::change::position::{Position, ResumeToken, Seq};
use crate::checkpoint::{Claim, Filter, admit};
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::{EntryId, Seal};
use futures_util::FutureExt;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;

/// SplitMix64: small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// What the source holds at one place of its history.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A change of a document with so many records (none: filtered; two: a delete with its tombstone).
    Change { document: u64, records: u32 },
    /// A part of a split event with more to come: no event yet, and no place to go on from.
    Fragment,
    /// An idle token.
    Idle,
}

/// A record: document, number of its event, which of the event's records.
type Record = (u64, Seq, u32);

const PARTITIONS: usize = 2;
const WEIGHT: usize = 10;
const BUDGET: usize = 60;

/// One process: everything here is lost in a crash.
struct Process {
    claim: Claim,
    tracker: Arc<Tracker>,
    budget: Arc<Budget>,
    /// Where the reader stands in the history, and the number and place taken up.
    read: usize,
    seq: Seq,
    place: usize,
    batch: Option<(EntryId, u64)>,
    /// Queued per partition, in order.
    queued: Vec<VecDeque<(EntryId, Record)>>,
    /// Written by the broker, the acknowledgement on its way.
    unacked: Vec<VecDeque<EntryId>>,
    /// As the committer keeps it.
    newest: (usize, Seq),
}

struct World {
    dice: Dice,
    history: Vec<Happening>,
    first: Seq,
    log: Vec<Vec<Record>>,
    /// What the store holds: who leads, and the position.
    epoch: u64,
    stored: (usize, Seq),
    process: Process,
    /// Records of instances that were taken over from, still on their way.
    zombies: Vec<VecDeque<Record>>,
    trace: String,
}

fn position(place: usize, seq: Seq) -> Position {
    Position {
        // Of a real server's form, so that the order of tokens is checked too.
        token: ResumeToken::from_data(&format!("82{place:08X}000000012B0229296E04")),
        seq,
        time_millis: None,
        cluster_time: None,
    }
}

fn place_of(position: &Position) -> usize {
    let time = position.token.cluster_time().expect("a real server's form");
    time.seconds as usize
}

impl Process {
    fn start(epoch: u64, (place, seq): (usize, Seq)) -> Self {
        let budget = Budget::new(BUDGET);
        let tracker = Tracker::new(Arc::clone(&budget));
        tracker.pass(position(place, seq));
        Self {
            claim: Claim {
                stream: "s".into(),
                namespace: "d".into(),
                source: "rs".into(),
                filter: Filter::default(),
                instance: format!("instance {epoch}"),
                epoch,
            },
            tracker,
            budget,
            read: place,
            seq,
            place,
            batch: None,
            queued: vec![VecDeque::new(); PARTITIONS],
            unacked: vec![VecDeque::new(); PARTITIONS],
            newest: (place, seq),
        }
    }

    /// As the outlet does it.
    fn open(&mut self) -> EntryId {
        let first = self.seq.next();
        let tracker = &self.tracker;
        self.batch.get_or_insert_with(|| (tracker.open(first), 0)).0
    }

    fn seal(&mut self) {
        if let Some((entry, records)) = self.batch.take() {
            let seal = Seal {
                records,
                bytes: records as usize * WEIGHT,
                position: Some(position(self.place, self.seq)),
            };
            self.tracker.seal(entry, seal);
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut history = Vec::new();
        for _ in 0..dice.roll(12) + 4 {
            match dice.roll(8) {
                0 => history.push(Happening::Idle),
                1 => history.extend([Happening::Fragment; 2]),
                _ => {}
            }
            history.push(Happening::Change {
                document: dice.roll(4),
                records: [1, 1, 1, 1, 0, 2][dice.roll(6) as usize],
            });
        }
        let first = Seq(1_000);
        Self {
            dice,
            history,
            first,
            log: vec![Vec::new(); PARTITIONS],
            epoch: 1,
            stored: (0, first),
            process: Process::start(1, (0, first)),
            zombies: Vec::new(),
            trace: String::new(),
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{what}");
    }

    /// Takes up what is next in the history, if there is room for it.
    fn read(&mut self) -> bool {
        let Some(next) = self.history.get(self.process.read).copied() else {
            return false;
        };
        let process = &mut self.process;
        match next {
            Happening::Fragment => process.read += 1,
            Happening::Idle => {
                process.read += 1;
                process.place = process.read;
                if process.batch.is_none() {
                    process.tracker.pass(position(process.place, process.seq));
                }
            }
            Happening::Change { document, records } => {
                let seq = self.process.seq.next();
                for part in 0..records {
                    if !self.process.budget.try_take(WEIGHT) {
                        self.process.seal();
                        // Taken up again from its beginning by a process that waits; here the broker is
                        // given its turn until there is room.
                        while !self.process.budget.try_take(WEIGHT) {
                            self.produce();
                            self.acknowledge();
                        }
                    }
                    let process = &mut self.process;
                    let entry = process.open();
                    if let Some((_, records)) = &mut process.batch {
                        *records += 1;
                    }
                    let partition = document as usize % PARTITIONS;
                    process.queued[partition].push_back((entry, (document, seq, part)));
                }
                let process = &mut self.process;
                process.open();
                process.seq = seq;
                process.read += 1;
                process.place = process.read;
                if self.dice.roll(3) == 0 {
                    self.process.seal();
                }
            }
        }
        self.note(format_args!("read {next:?}"));
        true
    }

    /// The broker writes the first record of some partition.
    fn produce(&mut self) {
        let partition = self.dice.roll(PARTITIONS as u64) as usize;
        if let Some((entry, record)) = self.process.queued[partition].pop_front() {
            self.log[partition].push(record);
            self.process.unacked[partition].push_back(entry);
            self.note(format_args!("wrote {record:?}"));
        }
    }

    fn acknowledge(&mut self) {
        let partition = self.dice.roll(PARTITIONS as u64) as usize;
        if let Some(entry) = self.process.unacked[partition].pop_front() {
            self.process.tracker.acked(entry, 1);
            self.note(format_args!("acked {entry:?}"));
        }
    }

    /// One attempt to commit. The store may fail before or after it has written.
    fn commit(&mut self, reliable: bool) {
        let Some(committable) = self.process.tracker.take_committable() else {
            return;
        };
        let next = committable.position().clone();
        self.process.newest = (place_of(&next), next.seq);
        let outcome = if reliable { 2 } else { self.dice.roll(4) };
        if outcome == 0 {
            self.process.tracker.put_back(committable);
            self.note(format_args!("store away"));
            return;
        }
        let stored = position(self.stored.0, self.stored.1);
        let admitted = admit(Some(&stored), &next);
        assert_eq!(admitted.expect("never backwards"), next);
        assert_eq!(self.process.claim.epoch, self.epoch, "the leader writes");
        self.stored = self.process.newest;
        self.assert_all_before_the_checkpoint_is_there();
        let stored = self.stored;
        self.note(format_args!("stored {stored:?}"));
        if outcome == 1 {
            // Written, but the answer was lost.
            self.process.tracker.put_back(committable);
        }
    }

    /// The process is gone; some of what it had sent is written nevertheless.
    fn crash(&mut self) {
        for partition in 0..PARTITIONS {
            let sent = self.process.queued[partition].len() as u64;
            for _ in 0..self.dice.roll(sent + 1) {
                if let Some((_, record)) = self.process.queued[partition].pop_front() {
                    self.log[partition].push(record);
                }
            }
        }
        self.start();
        self.note(format_args!("crashed"));
    }

    /// Another instance takes the stream; what the old one has sent is still on its way.
    fn take_over(&mut self) {
        for queue in &mut self.process.queued {
            let late = queue.drain(..).map(|(_, record)| record).collect();
            self.zombies.push(late);
        }
        self.start();
        let epoch = self.epoch;
        self.note(format_args!("taken over by {epoch}"));
    }

    fn start(&mut self) {
        self.epoch += 1;
        self.process = Process::start(self.epoch, self.stored);
    }

    /// The producer is purged and built anew; the process goes on from what is acknowledged.
    fn rebuild(&mut self) {
        self.commit(false);
        self.process = Process::start(self.epoch, self.process.newest);
        self.note(format_args!("rebuilt"));
    }

    fn late_record(&mut self) {
        if self.zombies.is_empty() {
            return;
        }
        let zombie = self.dice.roll(self.zombies.len() as u64) as usize;
        if let Some(record) = self.zombies[zombie].pop_front() {
            self.log[record.0 as usize % PARTITIONS].push(record);
            self.note(format_args!("late {record:?}"));
        }
    }

    fn step(&mut self) {
        match self.dice.roll(40) {
            0..14 => drop(self.read()),
            14..22 => self.produce(),
            22..30 => self.acknowledge(),
            30..34 => self.commit(false),
            34 | 35 => self.process.seal(),
            36 => self.crash(),
            37 => self.take_over(),
            38 => self.rebuild(),
            _ => self.late_record(),
        }
    }

    /// Goes on without faults until everything is delivered and stored.
    fn finish(&mut self) {
        while self.read() {}
        self.process.seal();
        while self.process.tracker.drained().now_or_never().is_none() {
            self.produce();
            self.acknowledge();
        }
        self.commit(true);
        while self.zombies.iter().any(|zombie| !zombie.is_empty()) {
            self.late_record();
        }
        assert_eq!(self.process.budget.used(), 0, "bytes were kept");
        assert_eq!(self.stored.0, self.history.len(), "the end is stored");
    }

    /// The records a history makes up to one of its places, each with its event's number.
    fn records_until(&self, end: usize) -> Vec<Record> {
        let mut seq = self.first;
        let mut expected = Vec::new();
        for happening in &self.history[..end] {
            if let Happening::Change { document, records } = happening {
                seq = seq.next();
                expected.extend((0..*records).map(|part| (*document, seq, part)));
            }
        }
        expected
    }

    fn assert_all_before_the_checkpoint_is_there(&self) {
        let (place, seq) = self.stored;
        assert!(
            place == 0 || !matches!(self.history[place - 1], Happening::Fragment),
            "a checkpoint inside a split event"
        );
        for record in self.records_until(place) {
            assert!(record.1 <= seq, "the number and the token are of one place");
            let partition = &self.log[record.0 as usize % PARTITIONS];
            assert!(
                partition.contains(&record),
                "{record:?} is behind the checkpoint and lost"
            );
        }
    }

    fn assert_whole(&self) {
        let expected = self.records_until(self.history.len());
        for (partition, log) in self.log.iter().enumerate() {
            let of_partition = |record: &&Record| record.0 as usize % PARTITIONS == partition;
            let expected: Vec<Record> = expected.iter().filter(of_partition).copied().collect();
            // First occurrences are in order, for every document and even for the partition.
            let mut seen = BTreeMap::new();
            for (at, record) in log.iter().enumerate() {
                seen.entry(*record).or_insert(at);
            }
            let mut firsts: Vec<_> = seen.into_iter().map(|(record, at)| (at, record)).collect();
            firsts.sort_unstable();
            let firsts: Vec<Record> = firsts.into_iter().map(|(_, record)| record).collect();
            assert_eq!(firsts, expected, "lost or reordered");
            // A consumer that ignores what it has seen, by number, gets exactly the history.
            let mut last = (self.first, u32::MAX);
            let once: Vec<Record> = log
                .iter()
                .filter(|record| {
                    let is_new = (record.1, record.2) > last;
                    if is_new {
                        last = (record.1, record.2);
                    }
                    is_new
                })
                .copied()
                .collect();
            assert_eq!(once, expected, "not the history for a careful consumer");
        }
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..80 {
        world.step();
    }
    world.finish();
    world
}

#[test]
fn ten_thousand_schedules_of_crashes_lose_nothing_and_keep_the_order() {
    let mut repeated = 0;
    for seed in 0..10_000 {
        let world = std::panic::catch_unwind(|| {
            let world = run(seed);
            world.assert_whole();
            world
        });
        let Ok(world) = world else {
            panic!("schedule {seed} broke; run({seed}).trace tells its steps");
        };
        let written: usize = world.log.iter().map(Vec::len).sum();
        repeated += written - world.records_until(world.history.len()).len();
    }
    assert!(
        repeated > 1_000,
        "the schedules hardly break anything: {repeated}"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(run(7).trace, run(7).trace);
    assert_ne!(run(7).trace, run(8).trace);
}
