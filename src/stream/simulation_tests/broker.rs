//! One producer's records on their way, as brokers treat an idempotent producer's.

use super::PARTITIONS;
use super::dice::Dice;
use super::history::{History, Record};
use crate::change::position::Seq;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::EntryId;
use crate::kafka::partition::partition_of;
use crate::sink::producer::{Faults, Ticket};
use crate::stream::scripted::{Rig, ScriptedProducer, Sent};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::VecDeque;

/// What is written, by partition.
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
    known: [bool; PARTITIONS],
    pub(super) faults: Faults,
}

impl Way {
    pub(super) fn new(begin: usize) -> Self {
        Self {
            begin,
            seen: 0,
            queued: vec![VecDeque::new(); PARTITIONS],
            unacked: vec![VecDeque::new(); PARTITIONS],
            acknowledged: Vec::new(),
            known: [false; PARTITIONS],
            faults: Faults::default(),
        }
    }

    /// Takes up what the producer has been given since, and tells it.
    pub(super) fn collect(&mut self, producer: &ScriptedProducer) -> Vec<Sent> {
        let news = producer.sent().split_off(self.seen);
        self.seen += news.len();
        for sent in &news {
            let partition = partition_of(&sent.key, PARTITIONS as i32) as usize;
            let part = usize::from(sent.operation == "tombstone");
            self.queued[partition].push_back((sent.ticket, (sent.seq, part)));
        }
        news
    }

    /// A broker takes a batch of some partition, or refuses it and breaks the producer.
    pub(super) fn produce(&mut self, rig: &Rig, history: &History, log: &mut Log, dice: &mut Dice) {
        let partition = dice.up_to(PARTITIONS - 1);
        let most = dice.up_to(3).min(self.queued[partition].len());
        let batch: Vec<_> = self.queued[partition].drain(..most).collect();
        let poison = |record: &&(Ticket, Record)| history.is_poison(record.1.0);
        if !batch.iter().any(|record| poison(&record)) {
            self.known[partition] |= !batch.is_empty();
            for (ticket, record) in batch {
                log[partition].push(record);
                self.unacked[partition].push_back((ticket.entry, record));
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
                self.faults.records.insert(seq, code);
            }
        }
        self.faults.named |= named;
        // Behind the first batch of a producer that it does not know a partition takes any other.
        let mut behind = std::mem::take(&mut self.queued[partition]);
        if !self.known[partition] {
            let passed = behind.drain(..).map(|(_, record)| record);
            let passed = passed.take_while(|record| !history.is_poison(record.0));
            log[partition].extend(passed);
        }
        rig.producer.break_down();
    }

    /// An acknowledgement of some partition arrives.
    pub(super) fn acknowledge(&mut self, tracker: &Tracker, dice: &mut Dice) {
        let partition = dice.up_to(PARTITIONS - 1);
        if let Some((entry, record)) = self.unacked[partition].pop_front() {
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
                .take_while(|record| !history.is_poison(record.0))
                .collect()
        });
        left.collect()
    }
}
