//! One producer's records on their way, as brokers treat an idempotent producer's.

use super::dice::Dice;
use super::history::{History, LANES, Part, Record, lane_of, target_of};
use crate::change::position::Seq;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::EntryId;
use crate::sink::parts::PART as DEAD_LETTER;
use crate::sink::producer::{Faults, Ticket};
use crate::stream::scripted::{Rig, ScriptedProducer, Sent};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::VecDeque;

/// What is written, by lane.
pub(super) type Log = Vec<Vec<Record>>;

/// What is between one producer and the log.
pub(super) struct Way {
    /// The place where the producer began.
    pub(super) begin: usize,
    /// How many of the producer's records are on the way, or were.
    seen: usize,
    queued: Vec<VecDeque<(Ticket, Record)>>,
    /// Written, the acknowledgement on its way.
    unacked: Vec<VecDeque<(EntryId, Record)>>,
    pub(super) acknowledged: Vec<Record>,
    /// Whether the partition knows the producer.
    known: [bool; LANES],
    pub(super) faults: Faults,
}

impl Way {
    pub(super) fn new(begin: usize) -> Self {
        Self {
            begin,
            seen: 0,
            queued: vec![VecDeque::new(); LANES],
            unacked: vec![VecDeque::new(); LANES],
            acknowledged: Vec::new(),
            known: [false; LANES],
            faults: Faults::default(),
        }
    }

    /// Takes up what the producer has been given since, and tells it.
    pub(super) fn collect(&mut self, producer: &ScriptedProducer) -> Vec<Sent> {
        let news = producer.sent_since(self.seen);
        self.seen += news.len();
        for sent in &news {
            let part = match sent.header(DEAD_LETTER) {
                Some(_) => Part::DeadLetter,
                None if sent.operation == "tombstone" => Part::Tombstone,
                None => Part::Record,
            };
            let record = (sent.seq, target_of(&sent.listener), part);
            self.queued[lane_of(&sent.topic, &sent.key)].push_back((sent.ticket, record));
        }
        news
    }

    /// A broker takes a batch of some partition, or refuses it and breaks the producer.
    pub(super) fn produce(&mut self, rig: &Rig, history: &History, log: &mut Log, dice: &mut Dice) {
        let lane = dice.up_to(LANES - 1);
        let most = dice.up_to(3).min(self.queued[lane].len());
        let batch: Vec<_> = self.queued[lane].drain(..most).collect();
        let poison = |record: &&(Ticket, Record)| history.is_poison(record.1);
        if !batch.iter().any(|record| poison(&record)) {
            self.known[lane] |= !batch.is_empty();
            for (ticket, record) in batch {
                log[lane].push(record);
                self.unacked[lane].push_back((ticket.entry, record));
            }
            return;
        }
        // Some codes name the record; with others any of the batch may be meant.
        let (code, named) = match dice.roll(2) {
            0 => (RDKafkaErrorCode::PolicyViolation, false),
            _ => (RDKafkaErrorCode::InvalidRecord, batch.len() > 1),
        };
        for refused in batch.iter().filter(|record| !named || poison(record)) {
            if let Some(first) = rig.tracker.first_of(refused.0.entry) {
                let seq = Seq(first.0 + u64::from(refused.0.index));
                self.faults.records.insert((seq, refused.0.target), code);
            }
        }
        self.faults.named |= named;
        // Behind the first batch of a producer that it does not know a partition takes any other.
        let mut behind = std::mem::take(&mut self.queued[lane]);
        if !self.known[lane] {
            let passed = behind.drain(..).map(|(_, record)| record);
            let passed = passed.take_while(|record| !history.is_poison(*record));
            log[lane].extend(passed);
        }
        rig.producer.break_down();
    }

    /// An acknowledgement of some partition arrives.
    pub(super) fn acknowledge(&mut self, tracker: &Tracker, dice: &mut Dice) {
        let lane = dice.up_to(LANES - 1);
        if let Some((entry, record)) = self.unacked[lane].pop_front() {
            self.acknowledged.push(record);
            tracker.acked(entry, 1);
        }
    }

    /// The producer is gone. What it leaves on the wire may still be written, up to what is refused.
    pub(super) fn leave(self, history: &History, dice: &mut Dice) -> Vec<VecDeque<Record>> {
        let queues = self.queued.into_iter();
        let left = queues.map(|queue| {
            let sent = dice.up_to(queue.len());
            let records = queue.into_iter().map(|(_, record)| record).take(sent);
            records
                .take_while(|record| !history.is_poison(*record))
                .collect()
        });
        left.collect()
    }
}
