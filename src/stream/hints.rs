//! What a rebuilt producer must know of single events. The numbering is the same again, so that an event is known
//! by its `tw-seq`.

use crate::change::position::Seq;
use crate::error::{Code, Error};
use crate::sink::producer::Faults;
use bson::RawDocumentBuf;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of single events from before a rebuild.
#[derive(Debug, Clone, Default)]
pub struct ReplayHints {
    /// Refused by the broker among others: sent alone, to learn which one it was.
    pub suspects: BTreeSet<Seq>,
    /// Refused alone: these go by the record-error policy.
    pub refused: BTreeMap<Seq, RDKafkaErrorCode>,
    /// How often the dead letter of an event was too large for its topic, whose limit may not be read.
    pub oversize: BTreeMap<Seq, u32>,
    /// The event that tells of lost history, until it is acknowledged: it goes first.
    pub gap: Option<RawDocumentBuf>,
}

impl ReplayHints {
    /// Forgets what lies at or before `done`, which is not read again.
    pub fn forget(&mut self, done: Seq) {
        self.suspects.retain(|seq| *seq > done);
        self.refused.retain(|seq, _| *seq > done);
        self.oversize.retain(|seq, _| *seq > done);
    }

    /// Takes from a broken producer's reports which records were refused.
    ///
    /// # Errors
    /// [`Code::RecordRefused`] for an event whose dead letter was refused as well.
    pub fn learn(&mut self, faults: &Faults) -> Result<(), Error> {
        for (seq, code) in &faults.records {
            if self.refused.contains_key(seq) {
                if *code == RDKafkaErrorCode::MessageSizeTooLarge {
                    // The next one is smaller, until there is no room for anything.
                    *self.oversize.entry(*seq).or_default() += 1;
                    continue;
                }
                return Err(Error::new(
                    Code::RecordRefused,
                    format!(
                        "the dead letter of the event with tw-seq {seq} is refused as well: {code}; see to the \
                         topic KAFKA_DLQ_TOPIC, or choose ON_RECORD_ERROR=skip"
                    ),
                ));
            }
            // One alone, or told apart by the broker, is known for what it is; of the others it may be any.
            let is_named = faults.records.len() == 1 || (faults.named && names_records(*code));
            if !self.suspects.insert(*seq) || is_named {
                self.refused.insert(*seq, *code);
            }
        }
        Ok(())
    }
}

/// Whether a broker that refuses records of a batch with this code says which.
fn names_records(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp
    )
}
