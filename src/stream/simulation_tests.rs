//! The real pump and outlet under random schedules, with the real watermark, budget, replay hints and commit rule,
//! between a source, brokers and a store that are models. A schedule is a seed; the same seed gives the same trace.

mod broker;
mod dice;
mod history;

use super::hints::ReplayHints;
use super::pump::End;
use super::scripted::{Ended, Rig, ScriptedStream};
use crate::change::position::Position;
use crate::checkpoint::admit;
use crate::flow::tracker::Tracker;
use broker::{Log, Way};
use dice::Dice;
use futures_util::FutureExt;
use history::{Cursor, History, LANES, Record, is_in_order};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

const PARTITIONS: usize = 2;
/// The listeners' topics. One is also the configuration's, and one cannot be had.
const LISTENERS_TOPICS: [&str; 3] = ["jobs.a", "changes", GONE];
const GONE: &str = "jobs.gone";
/// Room for about three records.
const BUDGET: usize = 3_000;
/// Steps with faults, before the rest of the history is carried without.
const STEPS: u32 = 100;
/// In so many steps without faults everything is delivered, or never.
const PATIENCE: u32 = 2_000;

struct World {
    dice: Dice,
    history: History,
    log: Log,
    /// What the store holds.
    stored: Position,
    /// Where the next incarnation begins, and what it knows.
    newest: Position,
    hints: ReplayHints,
    /// Records of producers that are gone, still on their way.
    late: Vec<VecDeque<Record>>,
    steps: u32,
    trace: String,
}

impl World {
    fn new(seed: u64, has_dead_letters: bool) -> Self {
        let mut dice = Dice(seed);
        let history = History::random(&mut dice, has_dead_letters);
        let begin = history.position(0);
        Self {
            dice,
            history,
            log: vec![Vec::new(); LANES],
            stored: begin.clone(),
            newest: begin,
            hints: ReplayHints::default(),
            late: vec![VecDeque::new(); LANES],
            steps: 0,
            trace: String::new(),
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{what}");
    }

    fn is_calm(&self) -> bool {
        self.steps >= STEPS
    }

    /// One incarnation, until it ends in one way or another; whether nothing is left to do.
    async fn live(&mut self, stream: &Arc<ScriptedStream>) -> bool {
        let begin = self.history.place_of(&self.newest);
        let mut rig = Rig::resuming(stream, BUDGET, &self.newest, self.hints.clone());
        rig.router.wanted = self.history.wanted().collect();
        stream.forbid(GONE);
        rig.tracker.pass(self.newest.clone());
        let mut cursor = Cursor::at(begin);
        let mut run = rig.run();
        let mut way = Way::new(begin);
        let ended = loop {
            run.settle().await;
            for sent in way.collect(&rig.producer) {
                if sent.topic != "dead" && !sent.value.is_empty() {
                    let value: serde_json::Value =
                        serde_json::from_slice(&sent.value).expect("an envelope");
                    let order = value.pointer("/transaction/order").map(|it| it.as_u64());
                    let expected = self.history.order_of(sent.seq);
                    assert_eq!(order.flatten(), expected, "in its transaction: {value}");
                }
                let (operation, seq, listener) = (&sent.operation, sent.seq, &sent.listener);
                self.note(format_args!("sent {operation} {seq} {listener}"));
            }
            if run.end().is_some() {
                break run.ended();
            }
            self.steps += 1;
            assert!(self.steps < STEPS + PATIENCE, "it stands still");
            match self.dice.roll(if self.is_calm() { 32 } else { 40 }) {
                0..8 if !run.is_read() => {}
                0..8 => match self.history.fetch(&mut cursor, &mut self.dice) {
                    Some(fetched) => run.fetch(fetched).await,
                    None if self.is_calm() && rig.tracker.drained().now_or_never().is_some() => {
                        self.commit(&rig.tracker, &way);
                        assert_eq!(rig.budget.used(), 0, "bytes were kept");
                        return true;
                    }
                    None => {}
                },
                8..18 => way.produce(&rig, &self.history, &mut self.log, &mut self.dice),
                18..26 => way.acknowledge(&rig.tracker, &mut self.dice),
                26..29 => self.commit(&rig.tracker, &way),
                29..32 => run.after(self.dice.roll(30)).await,
                32 => rig.producer.refuse(0, RDKafkaErrorCode::QueueFull),
                33 => {
                    way.faults.dropped = true;
                    rig.producer.break_down();
                }
                34 => rig.stop.cancel(),
                35 | 36 => {
                    self.leave(way);
                    self.crash();
                    return false;
                }
                _ => self.write_late(),
            }
        };
        self.wind_down(&rig, ended, way).await;
        false
    }

    /// Behind the pump's own end.
    async fn wind_down(&mut self, rig: &Rig, (end, mut pump): Ended<'_>, mut way: Way) {
        self.note(format_args!("ended {end:?}"));
        match end {
            End::Producer => {
                self.commit(&rig.tracker, &way);
                self.hints.forget(self.newest.seq);
                let learned = self.hints.learn(&way.faults);
                assert!(learned.is_ok(), "{learned:?}");
                self.leave(way);
            }
            End::Stopped => {
                let reached = pump.outlet.reached().seq;
                let mut finish = Box::pin(pump.finish());
                let drained = loop {
                    if let Some(drained) = finish.as_mut().now_or_never() {
                        break drained;
                    }
                    tokio::task::yield_now().await;
                    way.produce(rig, &self.history, &mut self.log, &mut self.dice);
                    way.acknowledge(&rig.tracker, &mut self.dice);
                };
                self.commit(&rig.tracker, &way);
                assert!(
                    !drained || self.newest.seq == reached,
                    "sent and not committed"
                );
                self.leave(way);
                self.crash();
            }
            End::Failed(_) | End::Source(_) | End::ListenersReplaced => panic!("{end:?}"),
        }
    }

    /// What is stored is all that the next incarnation knows.
    fn crash(&mut self) {
        self.newest = self.stored.clone();
        self.hints = ReplayHints::default();
        self.note(format_args!("crashed"));
    }

    /// What a producer leaves may be written at once, later or never.
    fn leave(&mut self, way: Way) {
        let left = way.leave(&self.history, &mut self.dice);
        for (late, mut records) in self.late.iter_mut().zip(left) {
            late.append(&mut records);
        }
        if self.dice.roll(2) == 0 {
            self.write_all_late();
        }
    }

    fn write_late(&mut self) {
        let lane = self.dice.up_to(LANES - 1);
        if let Some(record) = self.late[lane].pop_front() {
            self.log[lane].push(record);
            self.note(format_args!("late {record:?}"));
        }
    }

    fn write_all_late(&mut self) {
        while self.late.iter().any(|records| !records.is_empty()) {
            self.write_late();
        }
    }

    /// One attempt to commit. The store may fail before or after it has written.
    fn commit(&mut self, tracker: &Tracker, way: &Way) {
        let Some(committable) = tracker.take_committable() else {
            return;
        };
        let next = committable.position().clone();
        self.newest = next.clone();
        let outcome = if self.is_calm() { 2 } else { self.dice.roll(4) };
        if outcome == 0 {
            tracker.put_back(committable);
            self.note(format_args!("store away"));
            return;
        }
        let admitted = admit(Some(&self.stored), &next).expect("never backwards");
        assert_eq!(admitted, next);
        let place = self.history.place_of(&next);
        for lane in 0..LANES {
            for record in self.history.records(way.begin..place, lane) {
                let is_there = way.acknowledged.contains(&record);
                assert!(is_there, "{record:?} is committed and not acknowledged");
            }
        }
        self.note(format_args!("stored {place}"));
        self.stored = next;
        if outcome == 1 {
            // Written, but the answer was lost.
            tracker.put_back(committable);
        }
    }

    fn assert_whole(&self) {
        assert_eq!(self.history.place_of(&self.stored), self.history.len());
        for (lane, log) in self.log.iter().enumerate() {
            let expected = self.history.records(0..self.history.len(), lane);
            // First occurrences are in order, for every document and even for the partition.
            let mut seen = BTreeSet::new();
            let firsts = log.iter().filter(|record| seen.insert(**record));
            let mut firsts: Vec<_> = firsts.copied().collect();
            if !is_in_order(lane) {
                firsts.sort_unstable();
                assert_eq!(firsts, expected, "not all dead letters: {log:?}");
                continue;
            }
            assert_eq!(firsts, expected, "lost or reordered: {log:?}");
            // A consumer of one target's records that ignores what it has seen, by number, gets exactly those.
            let targets: BTreeSet<_> = log.iter().map(|(_, target, _)| *target).collect();
            for target in targets {
                let of_target = |record: &&Record| record.1 == target;
                let mut last = None;
                let is_new = |record: &&Record| {
                    let is_new = last < Some(**record);
                    last = last.max(Some(**record));
                    is_new
                };
                let once = log.iter().filter(of_target).filter(is_new);
                let expected = expected.iter().filter(of_target);
                assert!(once.eq(expected), "not the history: {log:?}");
            }
        }
    }
}

fn run(stream: &Arc<ScriptedStream>, seed: u64) -> World {
    let has_dead_letters = stream.has_dead_letters();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let mut world = World::new(seed, has_dead_letters);
    runtime
        .expect("a runtime of one thread")
        .block_on(async { while !world.live(stream).await {} });
    world.write_all_late();
    world.assert_whole();
    world
}

fn stream(on_record_error: &str) -> Arc<ScriptedStream> {
    let variables = [
        ("TOMBSTONES", "true"),
        ("TRANSACTION_METADATA", "true"),
        ("ON_RECORD_ERROR", on_record_error),
        ("KAFKA_DLQ_TOPIC", "dead"),
        ("BATCH_SIZE", "3"),
    ];
    let stream = ScriptedStream::new(PARTITIONS as i32, variables, &LISTENERS_TOPICS);
    Arc::new(stream)
}

/// Runs so many schedules; how often records were written more than once.
fn run_all(stream: &Arc<ScriptedStream>, schedules: u64) -> usize {
    let mut repeated = 0;
    for seed in 0..schedules {
        let world = std::panic::catch_unwind(AssertUnwindSafe(|| run(stream, seed)));
        let Ok(world) = world else {
            panic!("schedule {seed} broke; run(&stream, {seed}).trace tells its steps");
        };
        for (lane, log) in world.log.iter().enumerate() {
            let once = world.history.records(0..world.history.len(), lane);
            repeated += log.len() - once.len();
        }
    }
    repeated
}

#[test]
fn a_thousand_schedules_of_faults_lose_nothing_and_keep_the_order() {
    let stream = stream("skip");
    let repeated = run_all(&stream, 1_000);
    let skipped = stream.board.skipped.get();
    assert!(
        repeated > 500,
        "the schedules hardly break anything: {repeated}"
    );
    assert!(skipped > 100, "hardly anything was refused: {skipped}");
}

#[test]
fn what_some_targets_cannot_have_becomes_dead_letters_and_the_others_miss_nothing() {
    let stream = stream("dlq");
    run_all(&stream, 500);
    let letters = stream.board.dead_lettered.get();
    assert!(letters > 100, "hardly anything was refused: {letters}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let stream = stream("dlq");
    assert_eq!(run(&stream, 7).trace, run(&stream, 7).trace);
    assert_ne!(run(&stream, 7).trace, run(&stream, 8).trace);
}
