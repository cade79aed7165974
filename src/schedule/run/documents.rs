//! Jobs of documents whose time has come.

use super::write::Entry;
use super::{Incarnation, Run};
use crate::error::Error;
use crate::fields::Rules;
use crate::schedule::definition::Kind;
use crate::schedule::due::queue::id_key;
use crate::schedule::due::source::{Found, Source};
use crate::schedule::progress;
use crate::schedule::record::JobRecord;
use crate::schedule::set::Set;
use crate::status::schedules::State;
use bson::{RawDocumentBuf, doc};
use std::sync::Arc;

/// How many documents are in one transaction: each is a record and an entry.
const DOCUMENTS: usize = 200;

impl Run {
    /// Sees to it that each schedule of documents has its source, and no other.
    pub(super) fn arrange(&self, incarnation: &mut Incarnation, set: &Set) {
        let Incarnation { sources, fired, .. } = incarnation;
        let mut before = std::mem::take(sources);
        for schedule in &set.schedules {
            let Kind::Due(due) = &schedule.kind else {
                continue;
            };
            if !schedule.is_active || set.held.contains(&schedule.name) {
                continue;
            }
            let known = before.remove(&schedule.name).and_then(|mut source| {
                if source.due == **due {
                    source.schedule = Arc::clone(schedule);
                    return Some(source);
                }
                fired.insert(schedule.name.clone(), source.take_fired());
                None
            });
            let source = known.unwrap_or_else(|| {
                let fired = fired.remove(&schedule.name).unwrap_or_default();
                let changes = Arc::clone(&self.changed_documents);
                Source::new(
                    Arc::clone(schedule),
                    (**due).clone(),
                    &self.parts.client,
                    fired,
                    changes,
                )
            });
            sources.insert(schedule.name.clone(), source);
        }
        for (name, mut source) in before {
            fired.insert(name, source.take_fired());
        }
    }

    /// Makes the records of some documents whose time has come; whether there may be more.
    pub(super) async fn step_documents(
        &mut self,
        incarnation: &mut Incarnation,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        let names: Vec<String> = incarnation.sources.keys().cloned().collect();
        let mut is_more = false;
        for name in names {
            let Some(source) = incarnation.sources.get_mut(&name) else {
                continue;
            };
            source.refresh(now).await;
            // What went wrong is kept with the source, and shown.
            let mut found = source.take(now, DOCUMENTS).await.unwrap_or_default();
            let gone = source.forgotten(now).await;
            let (schedule, due) = (Arc::clone(&source.schedule), source.due.clone());
            let (unit, mode) = (self.parts.config.unit.clone(), self.parts.mode);
            let fields = self.parts.fields.as_ref();
            let rules = fields.and_then(|it| it.rules(&due.at.database, &due.at.collection));
            if let Some(rules) = rules {
                show(&mut found, &rules, &name);
            }
            let mut records = Vec::new();
            let mut entries: Vec<Entry> = Vec::new();
            let room = self
                .set
                .as_ref()
                .and_then(|set| set.rooms.get(&schedule.topic))
                .copied();
            for found in &found {
                let record = JobRecord::of_document(&schedule, &due, found, &unit, mode);
                let key = id_key(&found.id);
                if record.size() > room.unwrap_or(usize::MAX) {
                    tracing::warn!(
                        schedule = name,
                        bytes = record.size(),
                        topic = schedule.topic,
                        "a document is too large for the topic of its job, and gets no record for this time; raise max.message.bytes"
                    );
                    self.parts.board.failed.add(1);
                } else {
                    records.push(record);
                }
                let key = progress::document_key(&unit, &name, &key);
                entries.push((key, Some(progress::encode_fired(found.due))));
            }
            entries.extend(
                gone.iter()
                    .map(|key| (progress::document_key(&unit, &name, key), None)),
            );
            let made = records.len() as u64;
            let last = found.iter().map(|found| found.due).max();
            if !entries.is_empty() {
                self.write(incarnation, records, entries).await?;
            }
            is_more |= found.len() >= DOCUMENTS;
            let Some(source) = incarnation.sources.get(&name) else {
                continue;
            };
            if let Some(key) = self.keys.get(&name) {
                let state = source.problem.clone().map_or(State::Active, State::Waiting);
                self.parts.board.set_state(key, state);
                self.parts.board.moved(key, last, source.queue.next(), made);
            }
        }
        Ok(is_more)
    }
}

/// Leaves of the documents what may leave the process.
fn show(found: &mut [Found], rules: &Rules, schedule: &str) {
    for found in found {
        let mut shown = Vec::new();
        let written = rules.document(found.document.as_bytes(), &mut shown);
        found.document = match written.map(|()| RawDocumentBuf::from_bytes(shown)) {
            Ok(Ok(document)) => document,
            unfit => {
                let why = unfit.err().map(|why| why.to_string());
                tracing::warn!(
                    schedule,
                    why,
                    "the fields of a document cannot be what FIELDS_* say; its job has its _id alone"
                );
                let bare = doc! {"_id": found.id.clone()};
                RawDocumentBuf::try_from(&bare).unwrap_or_default()
            }
        };
    }
}
