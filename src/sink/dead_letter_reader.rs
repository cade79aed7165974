//! Reading the dead-letter topic: its dead letters, put together from their parts.
//!
//! What cannot be read is handed on as such, with its place, and the rest continues.

use super::parts::{ATTEMPTS, DETAIL, FIELDS, FROM, GROUP, PART, PREFIX, REASON, STATUS};
use super::replay::REPLAYED;
use crate::change::position::Seq;
use crate::config::Kafka;
use crate::encode::{headers, json};
use crate::error::{Code, Error};
use crate::kafka::client::{self, Logging};
use crate::kafka::reader;
use bson::RawDocumentBuf;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);

/// A dead letter, whole.
#[derive(Debug)]
pub struct StoredDeadLetter {
    /// The event's `tw-id`.
    pub id: String,
    pub seq: Seq,
    pub operation: String,
    pub namespace: String,
    /// The `_id` of the listener that the record was for; none for the configuration's own topics.
    pub listener: Option<String>,
    /// A stable name: `too_large`, `refused_by_broker`, `no_topic`, `not_encodable`,
    /// `too_large_to_read`, `image_missing`.
    pub reason: String,
    /// By which rules `FIELDS_*` were applied to the event, if they were.
    pub rules: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_millis: Option<i64>,
    pub partition: i32,
    /// Of its last part.
    pub offset: i64,
    pub parts: usize,
    /// The event, as canonical Extended JSON or BSON; of a job its value.
    pub body: Vec<u8>,
    /// Of a job that a worker gave up.
    pub job: Option<Box<StoredJob>>,
}

/// A job's record as it was, which is produced again as it is.
#[derive(Debug)]
pub struct StoredJob {
    pub topic: String,
    pub key: Vec<u8>,
    /// Otherwise it was a tombstone.
    pub has_value: bool,
    /// Without those of the dead letter.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Why it is here, in a sentence.
    pub detail: Option<String>,
    /// How many attempts were made.
    pub attempts: Option<u32>,
    /// The last answer's status, or the exit code of the program.
    pub status: Option<i32>,
    /// The group of the worker.
    pub group: Option<String>,
}

impl StoredJob {
    /// Its name.
    pub fn name(&self) -> Option<&str> {
        let mut headers = self.headers.iter().rev();
        let (_, name) = headers.find(|(name, _)| name == headers::JOB)?;
        std::str::from_utf8(name).ok()
    }
}

/// A record of the topic, or several, that make no dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where its headers say.
    pub seq: Option<Seq>,
    pub namespace: Option<String>,
    pub partition: i32,
    /// Of its last part.
    pub offset: i64,
    pub why: String,
}

/// What is found in the topic.
#[derive(Debug)]
pub enum Found {
    Whole(StoredDeadLetter),
    Unreadable(Unreadable),
}

impl StoredDeadLetter {
    /// The event as the server sent it.
    ///
    /// # Errors
    /// [`Unreadable`] when the dead letter holds no event.
    pub fn event(&self) -> Result<RawDocumentBuf, Unreadable> {
        if self.job.is_some() {
            // Whatever a job's value is, it can be produced again.
            let read = json::read_document(&self.body).ok();
            let read = read.and_then(|bytes| RawDocumentBuf::from_bytes(bytes).ok());
            return Ok(read.unwrap_or_default());
        }
        // Its length comes first, and is no text.
        if let Ok(event) = RawDocumentBuf::from_bytes(self.body.clone()) {
            return Ok(event);
        }
        json::read_document(&self.body)
            .ok()
            .and_then(|bytes| RawDocumentBuf::from_bytes(bytes).ok())
            .ok_or_else(|| self.unreadable("its value is no event"))
    }

    pub fn unreadable(&self, why: impl Into<String>) -> Unreadable {
        Unreadable {
            seq: Some(self.seq),
            namespace: Some(self.namespace.clone()),
            partition: self.partition,
            offset: self.offset,
            why: why.into(),
        }
    }
}

/// Reads the dead letters that are in `topic` now, each event's once, and hands them to `each` one by
/// one, until it has enough; behind them those of which parts are missing. Blocks.
///
/// # Errors
/// [`Code::SinkRefused`] for a topic that does not exist, else what Kafka says; what `each` gives.
pub fn read(
    kafka: &Kafka,
    topic: &str,
    each: impl FnMut(Found) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    read_into(Assembly::default(), kafka, topic, each)
}

/// The same for the jobs in it, also those of a job that was retried and has failed again. Blocks.
///
/// # Errors
/// As [`read`].
pub fn read_jobs(
    kafka: &Kafka,
    topic: &str,
    mut each: impl FnMut(&StoredDeadLetter, &StoredJob) -> ControlFlow<()>,
) -> Result<(), Error> {
    let assembly = Assembly {
        keeps_repeated_jobs: true,
        ..Assembly::default()
    };
    read_into(assembly, kafka, topic, |found| {
        Ok(match found {
            Found::Whole(dead_letter) => match &dead_letter.job {
                Some(job) => each(&dead_letter, job),
                None => ControlFlow::Continue(()),
            },
            Found::Unreadable(_) => ControlFlow::Continue(()),
        })
    })
}

fn read_into(
    mut assembly: Assembly,
    kafka: &Kafka,
    topic: &str,
    mut each: impl FnMut(Found) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let failed = |error: &KafkaError| client::error(format!("reading the topic {topic}"), error);
    let consumer = reader::reader(kafka, "tailwater-dead-letters", true)?;
    let partitions = partitions(&consumer, topic, &kafka.brokers)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .map_err(|error| failed(&error))?;
    }
    consumer.assign(&list).map_err(|error| failed(&error))?;

    let mut open: HashSet<i32> = (0..partitions).collect();
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some(found) = assembly.take(&message)
                    && each(found)?.is_break()
                {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) if client::ends_reading(&error) => {
                return Err(failed(&error));
            }
            // The client continues by itself.
            Some(Err(_)) | None if heard.elapsed() < SILENCE => {}
            Some(Err(_)) | None => {
                return Err(Error::new(
                    Code::SinkUnavailable,
                    format!("reading the topic {topic}: kafka does not answer"),
                ));
            }
        }
    }
    for dead_letter in assembly.incomplete() {
        if each(Found::Unreadable(dead_letter))?.is_break() {
            break;
        }
    }
    Ok(())
}

fn partitions(consumer: &BaseConsumer<Logging>, topic: &str, brokers: &str) -> Result<i32, Error> {
    let metadata = consumer
        .fetch_metadata(Some(topic), QUERY_TIMEOUT)
        .map_err(|error| {
            client::error(
                format!("looking for the topic {topic} of {brokers}"),
                &error,
            )
        })?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let count = found.map_or(0, |found| found.partitions().len());
    if count == 0 {
        return Err(Error::new(
            Code::SinkRefused,
            format!("the dead-letter topic {topic} does not exist, or may not be read"),
        ));
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// The dead letters of which some parts were read.
#[derive(Default)]
struct Assembly {
    /// By partition and `tw-id`.
    begun: BTreeMap<(i32, String), Begun>,
    /// The `tw-id`s of whole ones, each as its hash: a real token holds a document's key, however long.
    seen: HashSet<[u8; 32]>,
    /// Whether a job is told as often as it has failed.
    keeps_repeated_jobs: bool,
}

struct Begun {
    dead_letter: StoredDeadLetter,
    /// How many parts there are to be.
    of: usize,
    /// Whether all parts up to the last one read were there.
    is_whole: bool,
}

/// What a record and its headers say of a dead letter, without its body.
fn stored<M: Message>(
    message: &M,
    id: String,
    seq: Seq,
    header: &impl Fn(&str) -> Option<String>,
) -> StoredDeadLetter {
    StoredDeadLetter {
        id,
        seq,
        operation: header(headers::OPERATION).unwrap_or_default(),
        namespace: header(headers::NAMESPACE).unwrap_or_default(),
        listener: header(headers::LISTENER),
        reason: header(REASON).unwrap_or_default(),
        rules: header(FIELDS),
        written_millis: message.timestamp().to_millis(),
        partition: message.partition(),
        offset: message.offset(),
        parts: 0,
        body: Vec::new(),
        job: None,
    }
}

impl Assembly {
    /// Takes a record; gives the dead letter that it completes, or why it is part of none.
    fn take<M: Message>(&mut self, message: &M) -> Option<Found> {
        let header = |name: &str| {
            let found = message
                .headers()?
                .iter()
                .find(|header| header.key == name)?;
            std::str::from_utf8(found.value?).ok().map(str::to_owned)
        };
        let seq = header(headers::SEQ).and_then(|seq| seq.parse().ok().map(Seq));
        if let Some(topic) = header(FROM) {
            return self.take_job(message, topic, seq, &header);
        }
        let unreadable = |why: &str| {
            Some(Found::Unreadable(Unreadable {
                seq,
                namespace: header(headers::NAMESPACE),
                partition: message.partition(),
                offset: message.offset(),
                why: why.to_owned(),
            }))
        };
        let (Some(id), Some(part)) = (header(headers::ID), header(PART)) else {
            return unreadable(
                "it is not a dead letter: tw-id or tw-dlq-part is not among its headers",
            );
        };
        let Some(seq) = seq else {
            return unreadable("its header tw-seq is not a number");
        };
        let Some((number, of)) = numbers(&part) else {
            return unreadable("its header tw-dlq-part is not like 1/3");
        };
        let Some(body) = message.payload() else {
            return unreadable("it has no value");
        };
        let name = (message.partition(), id.clone());
        let dead_letter = || stored(message, id, seq, &header);
        // One that was interrupted before begins anew.
        if number == 1 {
            self.begun.remove(&name);
        }
        let begun = self.begun.entry(name.clone()).or_insert_with(|| Begun {
            dead_letter: dead_letter(),
            of,
            is_whole: true,
        });
        begun.dead_letter.offset = message.offset();
        // A part that comes again is there already.
        if begun.of != of || number > begun.dead_letter.parts + 1 {
            begun.is_whole = false;
            begun.dead_letter.body = Vec::new();
        } else if number == begun.dead_letter.parts + 1 {
            begun.dead_letter.parts = number;
            if begun.is_whole {
                begun.dead_letter.body.extend_from_slice(body);
            }
        }
        if begun.dead_letter.parts < of || !begun.is_whole {
            return None;
        }
        let dead_letter = self.begun.remove(&name)?.dead_letter;
        let is_new = self.seen.insert(Sha256::digest(&dead_letter.id).into());
        is_new.then_some(Found::Whole(dead_letter))
    }

    /// Takes the dead letter of a worker; the job's once.
    fn take_job<M: Message>(
        &mut self,
        message: &M,
        topic: String,
        seq: Option<Seq>,
        header: &impl Fn(&str) -> Option<String>,
    ) -> Option<Found> {
        let all = message.headers().into_iter().flat_map(|all| all.iter());
        let own = all.filter(|it| !it.key.starts_with(PREFIX) && it.key != REPLAYED);
        let own = own.map(|it| (it.key.to_owned(), it.value.unwrap_or_default().to_vec()));
        let place = || format!("{}/{}", message.partition(), message.offset());
        let id = header(headers::ID).unwrap_or_else(place);
        let dead_letter = StoredDeadLetter {
            parts: 1,
            body: message.payload().unwrap_or_default().to_vec(),
            job: Some(Box::new(StoredJob {
                topic,
                key: message.key().unwrap_or_default().to_vec(),
                has_value: message.payload().is_some(),
                headers: own.collect(),
                detail: header(DETAIL),
                attempts: header(ATTEMPTS).and_then(|text| text.parse().ok()),
                status: header(STATUS).and_then(|text| text.parse().ok()),
                group: header(GROUP),
            })),
            ..stored(message, id, seq.unwrap_or(Seq(0)), header)
        };
        let is_new = self.seen.insert(Sha256::digest(&dead_letter.id).into());
        (is_new || self.keeps_repeated_jobs).then_some(Found::Whole(dead_letter))
    }

    /// Those that parts are missing of, and that were not written whole elsewhere.
    fn incomplete(self) -> Vec<Unreadable> {
        let hash =
            |dead_letter: &StoredDeadLetter| -> [u8; 32] { Sha256::digest(&dead_letter.id).into() };
        let left = self.begun.into_values();
        let left = left.filter(|begun| !self.seen.contains(&hash(&begun.dead_letter)));
        left.map(
            |Begun {
                 dead_letter, of, ..
             }| {
                dead_letter.unreadable(format!("not all of its {of} parts are in the topic"))
            },
        )
        .collect()
    }
}

/// The two numbers of `1/3`.
fn numbers(part: &str) -> Option<(usize, usize)> {
    let (number, of) = part.split_once('/')?;
    let (number, of) = (number.parse().ok()?, of.parse().ok()?);
    (1..=of).contains(&number).then_some((number, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, doc};
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn dead_letter(body: Vec<u8>) -> StoredDeadLetter {
        StoredDeadLetter {
            id: String::new(),
            seq: Seq(7),
            operation: String::new(),
            namespace: String::new(),
            listener: None,
            reason: String::new(),
            rules: None,
            written_millis: None,
            partition: 0,
            offset: 0,
            parts: 1,
            body,
            job: None,
        }
    }

    fn record(offset: i64, headers: &[(&str, &str)], value: Option<&str>) -> OwnedMessage {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, header| {
            let (key, value) = *header;
            all.insert(Header {
                key,
                value: Some(value),
            })
        });
        OwnedMessage::new(
            value.map(|value| value.as_bytes().to_vec()),
            None,
            "dead".into(),
            Timestamp::NotAvailable,
            0,
            offset,
            Some(headers),
        )
    }

    fn part(offset: i64, id: &str, label: &str) -> OwnedMessage {
        let headers = [("tw-id", id), ("tw-seq", "7"), ("tw-dlq-part", label)];
        record(offset, &headers, Some(&label[..1]))
    }

    #[test]
    fn an_event_of_every_type_comes_back_from_its_letter_in_the_same_order() {
        let event = doc! {
            "_id": {"_data": "82"}, "operationType": "insert", "z": 1, "a": 1_i64 << 60, "f": 1.0,
            "nan": f64::INFINITY, "t": bson::Timestamp { time: 7, increment: 2 },
            "d": bson::DateTime::from_millis(-1), "o": bson::oid::ObjectId::new(), "n": Bson::Null,
            "b": bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![3; 16] },
            "dec": "1.50".parse::<bson::Decimal128>().unwrap(), "list": [1, "two", {"three": 3}],
            "min": Bson::MinKey, "undefined": Bson::Undefined, "s": Bson::Symbol("sym".into()),
            "code": Bson::JavaScriptCode("f()".into()), "empty": {}, "none": [],
            "scope": bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! {"x": {"y": [1]}} },
            "old": bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![1, 2] },
            "regex": bson::Regex { pattern: bson::raw::cstr!("a\"b").into(), options: bson::raw::cstr!("i").into() },
            "quo\"ted": "line\n\u{1F600}\u{1}", "max": Bson::MaxKey, "bool": [true, false],
        };
        let raw = RawDocumentBuf::try_from(&event).unwrap();
        let mut text = Vec::new();
        json::write_document(&mut text, json::JsonMode::Canonical, raw.as_bytes()).unwrap();
        assert_eq!(dead_letter(text).event().unwrap(), raw);
        assert_eq!(dead_letter(raw.as_bytes().to_vec()).event().unwrap(), raw);
    }

    #[test]
    fn an_event_as_deep_as_one_can_be_written_is_read() {
        let mut raw = RawDocumentBuf::try_from(&doc! {"leaf": 1}).unwrap();
        for _ in 1..json::MAX_DEPTH {
            let inner = std::mem::take(&mut raw);
            raw.append(bson::raw::cstr!("d"), inner);
        }
        let mut text = Vec::new();
        json::write_document(&mut text, json::JsonMode::Canonical, raw.as_bytes()).unwrap();
        assert_eq!(dead_letter(text).event().unwrap(), raw);
        let hostile = "[".repeat(1_000_000);
        assert!(
            dead_letter(format!("{{\"a\":{hostile}").into_bytes())
                .event()
                .is_err()
        );
    }

    #[test]
    fn a_letter_that_holds_no_event_says_which_one_it_is() {
        let error = dead_letter(b"{\"secret\": ".to_vec()).event().unwrap_err();
        assert_eq!(error.seq, Some(Seq(7)));
        assert!(!error.why.contains("secret"));
    }

    fn found(records: &[OwnedMessage]) -> (Vec<String>, Vec<(i64, String)>) {
        let mut assembly = Assembly::default();
        let (mut dead_letters, mut others) = (Vec::new(), Vec::new());
        for record in records {
            match assembly.take(record) {
                Some(Found::Whole(dead_letter)) => {
                    dead_letters.push(String::from_utf8(dead_letter.body).unwrap());
                }
                Some(Found::Unreadable(other)) => others.push((other.offset, other.why)),
                None => {}
            }
        }
        let left = assembly.incomplete().into_iter();
        others.extend(left.map(|other| (other.offset, other.why)));
        (dead_letters, others)
    }

    #[test]
    fn a_letter_begun_again_or_with_a_part_twice_is_whole_and_one_with_a_hole_is_not() {
        let whole = ["1/3", "2/3", "1/3", "2/3", "2/3", "3/3"];
        let records: Vec<_> = (0..).zip(whole).map(|(at, l)| part(at, "a", l)).collect();
        assert_eq!(found(&records), (vec!["123".to_owned()], Vec::new()));
        for holed in [
            &["1/3", "3/3"][..],
            &["2/3", "3/3"],
            &["1/3"],
            &["1/2", "2/3", "3/3"],
        ] {
            let records: Vec<_> = (0..).zip(holed).map(|(at, l)| part(at, "a", l)).collect();
            let (dead_letters, left) = found(&records);
            assert!(dead_letters.is_empty() && left.len() == 1, "{holed:?}");
            assert!(left[0].1.contains("parts"), "{left:?}");
            assert_eq!(left[0].0 as usize, holed.len() - 1);
        }
    }

    #[test]
    fn what_is_no_dead_letter_is_named_and_what_follows_is_read() {
        let id = ("tw-id", "a");
        let seq = ("tw-seq", "7");
        let records = [
            record(0, &[], Some("foreign")),
            record(1, &[id, seq, ("tw-dlq-part", "one")], Some("x")),
            record(2, &[id, seq, ("tw-dlq-part", "3/2")], Some("x")),
            record(3, &[id, seq, ("tw-dlq-part", "0/0")], Some("x")),
            record(4, &[id, ("tw-seq", "-"), ("tw-dlq-part", "1/1")], Some("x")),
            record(5, &[id, seq, ("tw-dlq-part", "1/1")], None),
            part(6, "b", "1/1"),
        ];
        let (dead_letters, others) = found(&records);
        assert_eq!(dead_letters, ["1"]);
        let offsets: Vec<_> = others.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    }
}
