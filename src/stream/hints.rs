//! What a rebuilt producer must know of single records. The numbering is the same again, so that a record is known
//! by its event's `tw-seq` and by whom it is for.

use crate::change::position::Seq;
use crate::error::{Code, Error};
use crate::route::TargetId;
use crate::sink::producer::Faults;
use bson::RawDocumentBuf;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};

/// A record, or what there is instead of it: its event's number, and whom it is for.
pub type RecordId = (Seq, TargetId);

/// What is known of single records from before a rebuild.
#[derive(Debug, Clone, Default)]
pub struct ReplayHints {
    /// Refused by the broker among others: sent alone, to learn which one it was.
    pub suspects: BTreeSet<RecordId>,
    /// Refused alone: these go by the record-error policy.
    pub refused: BTreeMap<RecordId, RDKafkaErrorCode>,
    /// How often the dead letter of a record was too large for its topic, whose limit may not be read.
    pub oversize: BTreeMap<RecordId, u32>,
    /// The event that tells of lost history, until it is acknowledged: it goes first.
    pub gap: Option<RawDocumentBuf>,
}

/// What is known of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// It is one of those of which some were refused.
    Suspect,
    Refused(RDKafkaErrorCode),
}

impl ReplayHints {
    /// What is known of a record.
    #[inline]
    pub fn of(&self, record: RecordId) -> Known {
        if self.suspects.is_empty() && self.refused.is_empty() {
            return Known::Nothing;
        }
        match self.refused.get(&record) {
            Some(code) => Known::Refused(*code),
            None if self.suspects.contains(&record) => Known::Suspect,
            None => Known::Nothing,
        }
    }

    /// Forgets what lies at or before `done`, which is not read again.
    pub fn forget(&mut self, done: Seq) {
        self.suspects.retain(|(seq, _)| *seq > done);
        self.refused.retain(|(seq, _), _| *seq > done);
        self.oversize.retain(|(seq, _), _| *seq > done);
    }

    /// Takes from a broken producer's reports which records were refused.
    ///
    /// # Errors
    /// [`Code::RecordRefused`] for a record whose dead letter was refused as well.
    pub fn learn(&mut self, faults: &Faults) -> Result<(), Error> {
        for (record, code) in &faults.records {
            if self.refused.contains_key(record) {
                if *code == RDKafkaErrorCode::MessageSizeTooLarge {
                    // The next one is smaller, until there is no room for anything.
                    *self.oversize.entry(*record).or_default() += 1;
                    continue;
                }
                let (seq, _) = record;
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
            if !self.suspects.insert(*record) || is_named {
                self.refused.insert(*record, *code);
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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RDKafkaErrorCode = RDKafkaErrorCode::PolicyViolation;

    fn listener() -> TargetId {
        TargetId::of_listener(0).unwrap()
    }

    fn faults(records: &[RecordId], code: RDKafkaErrorCode) -> Faults {
        Faults {
            records: records.iter().map(|record| (*record, code)).collect(),
            ..Faults::default()
        }
    }

    #[test]
    fn two_records_of_one_event_are_told_apart() {
        let (own, other) = ((Seq(7), TargetId::STATIC), (Seq(7), listener()));
        let mut hints = ReplayHints::default();
        assert_eq!(hints.of(own), Known::Nothing);
        hints.learn(&faults(&[own, other], POLICY)).unwrap();
        assert_eq!(hints.of(own), Known::Suspect);
        assert_eq!(hints.of(other), Known::Suspect);
        hints.learn(&faults(&[other], POLICY)).unwrap();
        assert_eq!(hints.of(own), Known::Suspect);
        assert_eq!(hints.of(other), Known::Refused(POLICY));
        hints.forget(Seq(7));
        assert_eq!(hints.of(other), Known::Nothing);
    }

    #[test]
    fn the_dead_letter_of_one_record_says_nothing_about_that_of_another() {
        let (own, other) = ((Seq(7), TargetId::STATIC), (Seq(7), listener()));
        let large = RDKafkaErrorCode::MessageSizeTooLarge;
        let mut hints = ReplayHints::default();
        hints.learn(&faults(&[other], large)).unwrap();
        hints.learn(&faults(&[other], large)).unwrap();
        assert_eq!(hints.oversize.get(&other), Some(&1));
        hints.learn(&faults(&[own], POLICY)).unwrap();
        assert_eq!(hints.of(own), Known::Refused(POLICY));
        assert!(!hints.oversize.contains_key(&own));
        let again = hints.learn(&faults(&[other], POLICY));
        assert_eq!(again.unwrap_err().code, Code::RecordRefused);
    }
}
