//! The record of a job that is due: as a listener's, so that whoever works on jobs need not tell them apart.

use super::definition::Schedule;
use super::due::Due;
use super::due::source::Found;
use super::plan::Job;
use super::timing;
use crate::change::raw;
use crate::config::JsonMode;
use crate::encode::json::{write_document, write_string};
use crate::encode::{headers, key};
use crate::listener::document::id_text;
use bson::{Bson, doc};

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
        let mut value = Vec::new();
        let mut field = |name: &str, text: &str| {
            value.extend_from_slice(match value.is_empty() {
                true => b"{",
                false => b",",
            });
            write_string(&mut value, name.as_bytes());
            value.push(b':');
            write_string(&mut value, text.as_bytes());
        };
        field("operationType", OPERATION);
        field("schedule", &schedule.name);
        field("jobName", &schedule.job);
        field("timestamp", &due);
        if let Some(payload) = &schedule.payload {
            value.extend_from_slice(b",\"fullDocument\":");
            write_payload(&mut value, mode, payload);
        }
        value.push(b'}');
        let headers = [
            (headers::ID, format!("{unit}/{}@{due}", schedule.name)),
            (headers::OPERATION, OPERATION.to_owned()),
            (headers::TIMESTAMP, job.due.to_string()),
            (headers::STREAM, unit.to_owned()),
            (headers::JOB, schedule.job.clone()),
            (headers::PRIORITY, schedule.priority.clone()),
            (SCHEDULED_FOR, due),
        ];
        Self {
            topic: schedule.topic.clone(),
            key: schedule.name.clone().into_bytes(),
            value,
            headers: headers.into(),
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
        let text = |text: &str| {
            let mut out = Vec::new();
            write_string(&mut out, text.as_bytes());
            out
        };
        let mut document_key = Vec::new();
        write_payload(
            &mut document_key,
            mode,
            &Bson::Document(doc! {"_id": found.id.clone()}),
        );
        let mut document = Vec::new();
        if write_document(&mut document, mode, found.document.as_bytes()).is_err() {
            document = b"null".to_vec();
        }
        let mut value = Vec::new();
        for (name, part) in [
            ("operationType", text(OPERATION)),
            ("schedule", text(&schedule.name)),
            ("jobName", text(&schedule.job)),
            ("database", text(&at.database)),
            ("collection", text(&at.collection)),
            ("documentKey", document_key),
            ("timestamp", text(&time)),
            ("fullDocument", document),
        ] {
            value.push(if value.is_empty() { b'{' } else { b',' });
            value.extend_from_slice(&text(name));
            value.push(b':');
            value.extend_from_slice(&part);
        }
        value.push(b'}');
        let headers = [
            (
                headers::ID,
                format!("{unit}/{}/{}@{time}", schedule.name, id_text(&found.id)),
            ),
            (headers::OPERATION, OPERATION.to_owned()),
            (headers::NAMESPACE, at.to_string()),
            (headers::TIMESTAMP, found.due.to_string()),
            (headers::STREAM, unit.to_owned()),
            (headers::JOB, schedule.job.clone()),
            (headers::PRIORITY, schedule.priority.clone()),
            (SCHEDULED_FOR, time.clone()),
        ];
        Self {
            topic: schedule.topic.clone(),
            key,
            value,
            headers: headers.into(),
            timestamp: jiff::Timestamp::now().as_millisecond(),
        }
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

/// Appends a value of any type: the part of a document with it that stands behind its name.
fn write_payload(out: &mut Vec<u8>, mode: JsonMode, payload: &Bson) {
    let wrapped = doc! {"p": payload.clone()}.to_vec().unwrap_or_default();
    let begin = out.len();
    if write_document(out, mode, &wrapped).is_err() {
        out.extend_from_slice(b"null");
        return;
    }
    let prefix = b"{\"p\":".len();
    out.drain(begin..begin + prefix);
    out.pop();
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
