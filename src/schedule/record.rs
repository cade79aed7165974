//! The record of a job that is due: as a listener's, so that whoever works on jobs need not tell them apart.

use super::definition::Schedule;
use super::due::Due;
use super::due::source::Found;
use super::plan::Job;
use super::timing;
use crate::change::namespace::Namespace;
use crate::change::raw;
use crate::config::JsonMode;
use crate::encode::json::{write_document, write_string};
use crate::encode::{headers, key};
use crate::listener::document::id_text;
use bson::{Bson, doc};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

/// When the job was due.
pub const SCHEDULED_FOR: &str = "tw-scheduled-for";

/// The operation of the record.
pub const OPERATION: &str = "schedule";

/// What is produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    pub topic: String,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
    /// In milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl JobRecord {
    /// That of a job of this unit, with payloads in this form.
    pub fn of(job: &Job, unit: &str, mode: JsonMode) -> Self {
        let schedule = &job.schedule;
        let due = timing::text(job.due);
        let payload = schedule.payload.as_ref();
        let payload = payload.map(|payload| ("fullDocument", of_value(mode, payload)));
        let parts = [("timestamp", text(&due))].into_iter().chain(payload);
        Self {
            topic: schedule.topic.clone(),
            key: schedule.name.clone().into_bytes(),
            value: envelope(schedule, parts),
            headers: headers_of(schedule, unit, schedule.name.clone(), (job.due, due), None),
            // Retention counts from now for what is made late.
            timestamp: jiff::Timestamp::now().as_millisecond(),
        }
    }

    /// That of a document whose time has come.
    pub fn of_document(
        schedule: &Schedule,
        due: &Due,
        found: &Found,
        unit: &str,
        mode: JsonMode,
    ) -> Self {
        let time = timing::text(found.due);
        let at = &due.at;
        let mut key = Vec::new();
        let id = raw::find(found.document.as_bytes(), "_id").ok().flatten();
        // The server's own documents are BSON.
        let _ = key::write(&mut key, &at.database, &at.collection, id);
        let document_key = Bson::Document(doc! {"_id": found.id.clone()});
        let parts = [
            ("database", text(&at.database)),
            ("collection", text(&at.collection)),
            ("documentKey", of_value(mode, &document_key)),
            ("timestamp", text(&time)),
            ("fullDocument", of_document(mode, found.document.as_bytes())),
        ];
        let name = format!("{}/{}", schedule.name, id_text(&found.id));
        Self {
            topic: schedule.topic.clone(),
            key,
            value: envelope(schedule, parts),
            headers: headers_of(schedule, unit, name, (found.due, time), Some(at)),
            timestamp: jiff::Timestamp::now().as_millisecond(),
        }
    }

    pub fn id(&self) -> &str {
        let id = self.headers.iter().find(|(name, _)| *name == headers::ID);
        id.map_or("", |(_, id)| id)
    }

    /// As it is handed to a producer.
    pub fn borrowed(&self) -> BaseRecord<'_, Vec<u8>, Vec<u8>> {
        let mut headers = OwnedHeaders::new_with_capacity(self.headers.len());
        for (key, value) in &self.headers {
            let value = Some(value.as_str());
            headers = headers.insert(Header { key, value });
        }
        BaseRecord::to(&self.topic)
            .key(&self.key)
            .payload(&self.value)
            .timestamp(self.timestamp)
            .headers(headers)
    }

    /// Its size, about, with what Kafka adds.
    pub fn size(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 8);
        self.key.len() + self.value.len() + headers.sum::<usize>() + 100
    }
}

/// The value of a record: what all have, and then these parts, which are JSON.
fn envelope(
    schedule: &Schedule,
    parts: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
) -> Vec<u8> {
    let first = [
        ("operationType", text(OPERATION)),
        ("schedule", text(&schedule.name)),
        ("jobName", text(&schedule.job)),
    ];
    let mut value = Vec::new();
    for (name, part) in first.into_iter().chain(parts) {
        value.push(if value.is_empty() { b'{' } else { b',' });
        write_string(&mut value, name.as_bytes());
        value.push(b':');
        value.extend_from_slice(&part);
    }
    value.push(b'}');
    value
}

/// Its headers; `name` is whose time has come, and `due` that time, also as text.
fn headers_of(
    schedule: &Schedule,
    unit: &str,
    name: String,
    (due, time): (i64, String),
    namespace: Option<&Namespace>,
) -> Vec<(&'static str, String)> {
    let mut all = vec![
        (headers::ID, format!("{unit}/{name}@{time}")),
        (headers::OPERATION, OPERATION.to_owned()),
    ];
    all.extend(namespace.map(|at| (headers::NAMESPACE, at.to_string())));
    all.extend([
        (headers::TIMESTAMP, due.to_string()),
        (headers::STREAM, unit.to_owned()),
        (headers::JOB, schedule.job.clone()),
        (headers::PRIORITY, schedule.priority.clone()),
        (SCHEDULED_FOR, time),
    ]);
    all
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_string(&mut out, text.as_bytes());
    out
}

fn of_document(mode: JsonMode, document: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match write_document(&mut out, mode, document) {
        Ok(_) => out,
        Err(_) => b"null".to_vec(),
    }
}

/// A value of any type: the part of a document with it that stands behind its name.
fn of_value(mode: JsonMode, value: &Bson) -> Vec<u8> {
    const BEFORE: &[u8] = b"{\"p\":";
    let wrapped = doc! {"p": value.clone()}.to_vec().unwrap_or_default();
    let out = of_document(mode, &wrapped);
    let inner = out
        .strip_prefix(BEFORE)
        .and_then(|it| it.strip_suffix(b"}"));
    inner.map_or(out.clone(), <[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use std::sync::Arc;

    #[test]
    fn a_job_has_the_envelope_and_headers_that_tell_it_from_all_others() {
        let schedule = Schedule::read(&doc! {
            "name": "nightly \"x\"", "every": "1d", "jobName": "report",
            "payload": {"n": 1_i64, "at": bson::DateTime::from_millis(0)},
        });
        let job = Job {
            schedule: Arc::new(schedule.unwrap()),
            due: 86_400_000,
        };
        let record = JobRecord::of(&job, "tailwater/schedules", JsonMode::Simple);
        assert_eq!(record.topic, "jobs.report");
        assert_eq!(record.key, b"nightly \"x\"");
        let text = String::from_utf8(record.value.clone()).unwrap();
        assert_eq!(
            text,
            r#"{"operationType":"schedule","schedule":"nightly \"x\"","jobName":"report","timestamp":"1970-01-02T00:00:00Z","fullDocument":{"n":1,"at":"1970-01-01T00:00:00.000Z"}}"#
        );
        let header = |name| {
            record
                .headers
                .iter()
                .find(|(it, _)| *it == name)
                .unwrap()
                .1
                .as_str()
        };
        assert_eq!(
            header("tw-id"),
            "tailwater/schedules/nightly \"x\"@1970-01-02T00:00:00Z"
        );
        assert_eq!(header("tw-job"), "report");
        assert_eq!(header("tw-priority"), "1");
        assert_eq!(header("tw-scheduled-for"), "1970-01-02T00:00:00Z");
        assert_eq!(
            record,
            JobRecord {
                timestamp: record.timestamp,
                ..JobRecord::of(&job, "tailwater/schedules", JsonMode::Simple)
            }
        );
    }
}
