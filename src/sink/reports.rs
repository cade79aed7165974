//! What comes back of a producer: delivery reports, errors and statistics, on librdkafka's thread.

use super::prompt::Pace;
use crate::change::position::Seq;
use crate::flow::tracker::Tracker;
use crate::flow::watermark::EntryId;
use crate::kafka::bootstrap::{Known, KnowsBrokers};
use crate::kafka::client;
use crate::metrics::statistics::{Broker, Statistics};
use crate::route::TargetId;
use crate::status::Board;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Which event a record belongs to and whom it is for, packed into the delivery report's opaque: the entry, the
/// event's index in it, the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub entry: EntryId,
    pub index: u32,
    pub target: TargetId,
}

/// Bits of an event's index: more than `BATCH_SIZE` can be.
const INDEX_BITS: u32 = 17;
const _: () = assert!(EntryId::BITS + INDEX_BITS + TargetId::BITS == usize::BITS);

/// The opaque of a checkpoint, which belongs to no event.
pub(super) const CHECKPOINT: usize = usize::MAX;

/// The property under which a batch that fails for good lets no later one pass.
pub(super) const GAPLESS: &str = "enable.gapless.guarantee";

impl Ticket {
    pub(super) fn pack(self) -> usize {
        let event = (self.entry.to_opaque() << INDEX_BITS) | self.index as usize;
        (event << TargetId::BITS) | self.target.to_opaque()
    }

    fn unpack(opaque: usize) -> Self {
        let event = opaque >> TargetId::BITS;
        Self {
            entry: EntryId::from_opaque(event >> INDEX_BITS),
            index: event as u32 & ((1 << INDEX_BITS) - 1),
            target: TargetId::from_opaque(opaque),
        }
    }
}

/// What went wrong with a producer, gathered until the pump looks.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Records that were refused for what they are, each by its event and whom it was for.
    pub records: BTreeMap<(Seq, TargetId), RDKafkaErrorCode>,
    /// Whether the broker has said which records of a batch it refuses, and that the others are none of them.
    pub named: bool,
    /// The topics of those records: their limits may be others now.
    pub refusing: BTreeSet<String>,
    /// Topics that are missing or forbidden.
    pub topics: BTreeMap<String, RDKafkaErrorCode>,
    /// Anything else that ended the producer.
    pub fatal: Option<KafkaError>,
    /// librdkafka has dropped records by itself: their transaction has failed.
    pub dropped: bool,
    /// Somebody else, or Kafka itself, has taken the right to write from this producer.
    pub fenced: bool,
}

/// Shared between the pump and the thread of delivery reports.
pub struct Reports {
    pub(super) tracker: Arc<Tracker>,
    pub(super) board: Arc<Board>,
    pub(super) pace: Arc<Pace>,
    pub(super) broken: AtomicBool,
    pub(super) is_transactional: bool,
    pub(super) known: Known,
    /// We drop what is left: the reports that say so are no faults.
    pub(super) is_dropping: AtomicBool,
    /// How many delivery reports have come, of whatever kind.
    pub(super) reported: AtomicU64,
    pub(super) faults: Mutex<Faults>,
    pub(super) broke: Notify,
}

impl Reports {
    /// Whether the producer must not continue.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(super) fn acknowledged(&self, ticket: Ticket) {
        self.board.acked.add(1);
        if ticket.index == 0 {
            self.board.metrics.acknowledged(ticket.entry);
        }
        self.tracker.acked(ticket.entry, 1);
    }

    pub(super) fn break_with(&self, note: impl FnOnce(&mut Faults)) {
        note(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner));
        self.broken.store(true, Ordering::Release);
        self.broke.notify_waiters();
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Chosen knowingly and tested (`tests/delivery`): the warning is nothing to an operator.
        if facility == "CONFWARN" && message.contains(GAPLESS) {
            return;
        }
        client::log(level, facility, message);
    }

    fn stats_raw(&self, report: &[u8]) {
        if let Some(statistics) = Statistics::read(report) {
            let is_connected = statistics.brokers.values().any(Broker::is_up);
            self.board.kafka_connected.set(is_connected);
            self.known.note(&statistics);
            self.board.metrics.kafka_client(&statistics);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.board.kafka_connected.set(false),
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::warn!(reason, "the kafka producer cannot continue");
                self.break_with(|faults| faults.fatal = Some(error));
                return;
            }
            _ => {}
        }
        self.board.sink_error.set(client::describe(&error));
        client::log_error(&error, reason);
    }
}

impl KnowsBrokers for Reports {
    fn known(&self) -> &Known {
        &self.known
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.pace.reported();
        self.reported.fetch_add(1, Ordering::Relaxed);
        let ticket = (opaque != CHECKPOINT).then(|| Ticket::unpack(opaque));
        if let Ok(message) = result {
            // A transaction that fails takes its records' acknowledgements with it.
            self.board
                .waits
                .acknowledged(message.topic(), !self.is_transactional);
        }
        let (error, message) = match (result, ticket) {
            (Ok(_), Some(ticket)) => return self.acknowledged(ticket),
            // That it is stored is known when its transaction is committed.
            (Ok(_), None) => return,
            (Err((error, message)), _) => (error, message),
        };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        match (kind_of(code), ticket) {
            // Unresolved, not failed: it will be read again. But nobody would send it again here.
            (Refusal::Unresolved, _) => {
                if !self.is_dropping.load(Ordering::Acquire) {
                    self.break_with(|faults| faults.dropped = true);
                }
            }
            (Refusal::Neighbour, _) => self.break_with(|faults| faults.named = true),
            (Refusal::Record, Some(ticket)) => {
                if let Some(first) = self.tracker.first_of(ticket.entry) {
                    let seq = Seq(first.0 + u64::from(ticket.index));
                    self.break_with(|faults| {
                        faults.records.insert((seq, ticket.target), code);
                        faults.refusing.insert(message.topic().to_owned());
                    });
                }
            }
            (Refusal::Topic, _) => self.break_with(|faults| {
                faults.topics.insert(message.topic().to_owned(), code);
            }),
            (Refusal::Producer, _) | (Refusal::Record, None) => self.break_with(|faults| {
                faults.fatal.get_or_insert(error.clone());
            }),
        }
    }
}

/// What a delivery report's error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Unresolved,
    /// Another record of its batch was refused.
    Neighbour,
    Record,
    Topic,
    Producer,
}

fn kind_of(code: RDKafkaErrorCode) -> Refusal {
    use RDKafkaErrorCode as E;
    match code {
        E::PurgeQueue | E::PurgeInflight => Refusal::Unresolved,
        E::MessageSizeTooLarge
        | E::InvalidMessage
        | E::InvalidMessageSize
        | E::InvalidRecord
        | E::InvalidTimestamp
        // What is missing or may not be seen has other codes.
        | E::InvalidTopic
        | E::PolicyViolation => Refusal::Record,
        E::InvalidDifferentRecord => Refusal::Neighbour,
        E::UnknownTopic
        | E::UnknownTopicOrPartition
        | E::UnknownPartition
        | E::UnknownTopicId
        | E::TopicAuthorizationFailed => Refusal::Topic,
        _ => Refusal::Producer,
    }
}

pub(super) fn is_fencing(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as E;
    matches!(
        code,
        Some(E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_the_opaque_pointer() {
        let largest = Ticket {
            entry: EntryId::from_opaque(usize::MAX),
            // With one more it would be the opaque of a checkpoint.
            index: (1 << INDEX_BITS) - 2,
            target: TargetId::from_opaque(usize::MAX),
        };
        let usual = Ticket {
            entry: EntryId::from_opaque(7),
            index: 49,
            target: TargetId::STATIC,
        };
        let of_listener = Ticket {
            target: TargetId::of_listener(0).unwrap(),
            ..usual
        };
        for ticket in [largest, usual, of_listener] {
            assert_eq!(Ticket::unpack(ticket.pack()), ticket);
            assert_ne!(ticket.pack(), CHECKPOINT);
        }
    }

    #[test]
    fn a_ticket_has_room_for_the_largest_batch() {
        let servers = [
            ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
            ("KAFKA_BROKERS", "127.0.0.1:1"),
            ("KAFKA_DB_CHANGES_TOPIC", "changes"),
        ];
        let largest = ((1 << INDEX_BITS) - 1).to_string();
        let too_large = servers
            .into_iter()
            .chain([("BATCH_SIZE", largest.as_str())]);
        assert!(crate::config::Config::from_vars(too_large).is_err());
    }
}
