//! A job on its way through the topic of retries: its record as it was, and what is known of it in headers that only
//! such a record has.

use super::job::Record;
use std::time::Duration;

/// What all of these headers begin with.
const PREFIX: &str = "tw-retry-";
/// Not before this, in milliseconds since 1970.
const DUE: &str = "tw-retry-due";
const ATTEMPTS: &str = "tw-retry-attempts";
/// How long it has rested because the service asked for it, in milliseconds.
const RESTED: &str = "tw-retry-rested";
/// The topic, partition and offset of the job's own record.
const FROM: &str = "tw-retry-from";

/// What is known of a job that waits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Progress {
    pub due: i64,
    pub attempts: u32,
    pub rested: Duration,
}

/// The headers that a job's record has in the topic of retries beside its own.
pub fn headers(record: &Record, progress: &Progress) -> Vec<(&'static str, String)> {
    let rested = u64::try_from(progress.rested.as_millis()).unwrap_or(u64::MAX);
    vec![
        (DUE, progress.due.to_string()),
        (ATTEMPTS, progress.attempts.to_string()),
        (RESTED, rested.to_string()),
        (FROM, record.place()),
    ]
}

/// Makes the job's own record of one that was read from the topic of retries. What somebody else has written there is
/// a job that is due.
pub fn restore(record: &mut Record) -> Progress {
    let number = |name| record.header(name).and_then(|text| text.parse().ok());
    let progress = Progress {
        due: number(DUE).unwrap_or_default(),
        attempts: number(ATTEMPTS)
            .and_then(|attempts| u32::try_from(attempts).ok())
            .unwrap_or_default(),
        rested: number(RESTED)
            .and_then(|millis| u64::try_from(millis).ok())
            .map(Duration::from_millis)
            .unwrap_or_default(),
    };
    if let Some((topic, partition, offset)) = record.header(FROM).and_then(place) {
        record.topic = topic.into();
        (record.partition, record.offset) = (partition, offset);
    }
    record.headers.retain(|(name, _)| !name.starts_with(PREFIX));
    progress
}

/// No topic has a slash in its name.
fn place(text: &str) -> Option<(String, i32, i64)> {
    let mut parts = text.split('/');
    let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !topic.is_empty();
    let place = (
        topic.to_owned(),
        partition.parse().ok()?,
        offset.parse().ok()?,
    );
    is_whole.then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, headers: Vec<(String, Option<Vec<u8>>)>) -> Record {
        Record {
            topic: topic.into(),
            partition: 3,
            offset: 77,
            key: None,
            value: None,
            headers,
        }
    }

    #[test]
    fn a_job_comes_back_as_it_was() {
        let own = vec![("tw-job".to_owned(), Some(b"mail".to_vec()))];
        let original = record("jobs.mail", own.clone());
        let progress = Progress {
            due: 1_700_000_000_123,
            attempts: 4,
            rested: Duration::from_millis(1500),
        };
        let added = headers(&original, &progress);
        let added = added
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())));
        let mut read = record("jobs.retry.g", own.iter().cloned().chain(added).collect());
        read.offset = 5;
        assert_eq!(restore(&mut read), progress);
        assert_eq!(
            (&*read.topic, read.partition, read.offset),
            ("jobs.mail", 3, 77)
        );
        assert_eq!(read.headers, own);
    }

    #[test]
    fn what_another_has_written_there_is_a_job_that_is_due() {
        for from in ["", "jobs.a/1", "jobs.a/1/2/3", "/1/2", "jobs.a/x/2"] {
            let headers = [(FROM, from), (ATTEMPTS, "-1"), (DUE, "soon")];
            let headers = headers.map(|(name, text)| (name.to_owned(), Some(text.into())));
            let mut read = record("jobs.retry.g", headers.into());
            assert_eq!(restore(&mut read), Progress::default());
            assert_eq!((&*read.topic, read.offset), ("jobs.retry.g", 77), "{from}");
        }
    }
}
