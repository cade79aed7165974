//! How far each schedule is, in a compacted topic of its own: written in the transactions of the records.
//!
//! One record a schedule, keyed by the unit that runs it and its name. Who takes the unit over initialises its
//! transactions first, which ends those of whoever had it, and then reads to the end of what is committed.

use super::claim::Claim;
use super::plan::Progress;
use super::timing;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::reader::{self, Stretch};
use crate::kafka::topic;
use jiff::Timestamp;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All schedules are on one partition: they are read in one go, and are few for a topic.
pub const PARTITION: i32 = 0;

const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "4194304"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// How long a read may take. A transaction of other schedules that is open on the partition hides what comes after
/// it until it ends.
const PATIENCE: Duration = Duration::from_secs(90);

/// The key of a schedule's record, within the unit's: a unit's id holds no space.
pub fn key(unit: &str, name: &str) -> Vec<u8> {
    format!("{unit} {name}").into_bytes()
}

/// What stands between a schedule's name and the id of a document: no name holds it.
const OF_DOCUMENT: char = '\n';

/// The key of a document's record.
pub fn document_key(unit: &str, name: &str, id: &str) -> Vec<u8> {
    format!("{unit} {name}{OF_DOCUMENT}{id}").into_bytes()
}

/// What it holds: for which time the document had its record.
pub fn encode_fired(due: i64) -> Vec<u8> {
    encode(&Progress {
        timing: "due".to_owned(),
        until: Some(due),
        gone: None,
    })
}

/// What a schedule's record holds.
pub fn encode(progress: &Progress) -> Vec<u8> {
    let time = |millis: Option<i64>| millis.map(timing::text);
    let value = json!({
        "version": 1,
        "timing": progress.timing,
        "until": time(progress.until),
        "gone": time(progress.gone),
    });
    value.to_string().into_bytes()
}

/// Reads it again; none for what is no such record.
pub fn decode(value: &[u8]) -> Option<Progress> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let time = |field: &str| match &value[field] {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(millis(text)?)),
        _ => None,
    };
    Some(Progress {
        timing: value["timing"].as_str()?.to_owned(),
        until: time("until")?,
        gone: time("gone")?,
    })
}

/// Reads what [`timing::text`] has written, also of a time that is in no calendar.
fn millis(text: &str) -> Option<i64> {
    let time = text.parse::<Timestamp>().map(Timestamp::as_millisecond);
    time.ok().or_else(|| text.parse().ok())
}

/// Makes the topic where it is missing, and checks that it is compacted. Blocks.
///
/// # Errors
/// [`Code::SinkRefused`] when it is missing and may not be made, [`Code::CheckpointFailed`] when it is not compacted.
pub fn prepare(kafka: &Kafka, name: &str) -> Result<(), Error> {
    let admin = topic::admin(kafka)?;
    let absent = || {
        format!(
            "the topic {name}, which holds how far schedules are, does not exist and KAFKA_CREATE_TOPICS is false: \
             create it with 1 partition and {}",
            topic::listed(&SETTINGS)
        )
    };
    let options = AdminOptions::new();
    topic::make_missing(
        &admin,
        &kafka.creation,
        (name, 1),
        &SETTINGS,
        options,
        absent,
    )?;
    let runtime = tokio::runtime::Handle::current();
    let policy = runtime.block_on(topic::cleanup_policy(&admin, name));
    let policy =
        policy.map_err(|error| client::error(format!("describing the topic {name}"), &error))?;
    client::end_beside(admin);
    match policy.as_deref() {
        Some("compact") | None => Ok(()),
        Some(policy) => Err(Error::new(
            Code::CheckpointFailed,
            format!(
                "the topic {name}, which holds how far schedules are, has cleanup.policy={policy}, which would delete \
                 that with time: {}",
                topic::compacting(&kafka.brokers, name)
            ),
        )),
    }
}

/// What is stored of a unit.
#[derive(Debug, Default)]
pub struct Stored {
    /// Who has it.
    pub claim: Option<Claim>,
    /// By the names of its schedules.
    pub progress: BTreeMap<String, Progress>,
    /// For which time a document had its record: by the names of schedules, and by the documents' ids.
    pub fired: BTreeMap<String, BTreeMap<String, i64>>,
}

/// Reads all that is committed of a unit. Blocks.
///
/// # Errors
/// [`Code::SinkUnavailable`] when Kafka cannot say now, [`Code::SinkRefused`] when it will not.
pub fn read(kafka: &Kafka, name: &str, unit: &str) -> Result<Stored, Error> {
    let deadline = Instant::now() + PATIENCE;
    let committed = reader::reader(kafka, "tailwater-schedules-reader", true)?;
    let mut config = reader::config(kafka, "tailwater-schedules-reader", false);
    let uncommitted = reader::of(config.set("isolation.level", "read_uncommitted"))?;
    let (_, end) = reader::watermarks(&uncommitted, name, PARTITION, topic::is_settling)?;
    // What is open before the end may be of others only: our own former transactions are ended.
    let begin = loop {
        let (begin, stable) = reader::watermarks(&committed, name, PARTITION, topic::is_settling)?;
        if stable >= end {
            break begin;
        }
        check(deadline, name)?;
        std::thread::sleep(Duration::from_millis(50));
    };
    client::end_beside(uncommitted);
    let all = values(&committed, name, (begin, end), deadline)?;
    client::end_beside(committed);
    let prefix = key(unit, "");
    let of_unit = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let name = std::str::from_utf8(key.strip_prefix(prefix.as_slice())?).ok()?;
        Some((name.to_owned(), decode(value)?))
    };
    let (mut progress, mut fired) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
    for (name, of) in all.iter().filter_map(of_unit) {
        match (name.split_once(OF_DOCUMENT), of.until) {
            (Some((name, id)), Some(due)) => {
                fired
                    .entry(name.to_owned())
                    .or_default()
                    .insert(id.to_owned(), due);
            }
            (Some(_), None) => {}
            (None, _) => {
                progress.insert(name, of);
            }
        }
    }
    Ok(Stored {
        claim: all
            .get(unit.as_bytes())
            .and_then(|value| Claim::decode(value)),
        progress,
        fired,
    })
}

/// The newest values by key.
fn values(
    consumer: &BaseConsumer<Logging>,
    name: &str,
    (begin, end): (i64, i64),
    deadline: Instant,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    let mut values = BTreeMap::new();
    if begin >= end {
        return Ok(values);
    }
    let all = Stretch {
        partition: PARTITION,
        from: begin,
        until: end,
    };
    let each = |message: &BorrowedMessage<'_>| {
        if let Some(key) = message.key() {
            match message.payload() {
                Some(value) => values.insert(key.to_vec(), value.to_vec()),
                None => values.remove(key),
            };
        }
        Ok(())
    };
    reader::visit(consumer, name, &[all], each, || check(deadline, name))?;
    Ok(values)
}

fn check(deadline: Instant, name: &str) -> Result<(), Error> {
    match Instant::now() < deadline {
        true => Ok(()),
        false => Err(Error::new(
            Code::SinkUnavailable,
            format!("reading the topic {name} takes too long"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        for progress in [
            Progress {
                timing: "every 15m".into(),
                until: Some(1_790_000_000_500),
                gone: None,
            },
            Progress {
                timing: "at 2027-01-01T00:00:00Z".into(),
                until: None,
                gone: Some(5_000),
            },
            // Dates of BSON are any number.
            Progress {
                timing: "due".into(),
                until: Some(-8_640_000_000_000_000),
                gone: Some(i64::MAX),
            },
        ] {
            assert_eq!(decode(&encode(&progress)), Some(progress));
        }
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b"no json"), None);
    }
}
