//! Reading the dead-letter topic: its letters, put together from their parts.

use super::client::{self, Kind, Logging};
use crate::config::Kafka;
use crate::encode::headers;
use crate::error::{Code, Error};
use crate::position::Seq;
use crate::sink::dead_letter::{PART, REASON};
use bson::RawDocumentBuf;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come before the end of a partition.
const SILENCE: Duration = Duration::from_secs(30);

/// A dead letter, whole.
#[derive(Debug)]
pub struct Letter {
    /// The event's `tw-id`.
    pub id: String,
    pub seq: Seq,
    pub operation: String,
    pub namespace: String,
    /// A stable name: `too_large`, `refused_by_broker`, `no_topic`, `not_encodable`,
    /// `too_large_to_read`, `image_missing`.
    pub reason: String,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_millis: Option<i64>,
    pub partition: i32,
    /// Of its last part.
    pub offset: i64,
    pub parts: usize,
    /// The event, as canonical Extended JSON or BSON.
    pub body: Vec<u8>,
}

impl Letter {
    /// The event as the server sent it.
    ///
    /// # Errors
    /// [`Code::Internal`] when the letter holds no event.
    pub fn event(&self) -> Result<RawDocumentBuf, Error> {
        let damaged = || {
            Error::new(
                Code::Internal,
                format!(
                    "the dead letter of the event with tw-seq {} holds no event",
                    self.seq
                ),
            )
        };
        if let Ok(event) = RawDocumentBuf::from_bytes(self.body.clone()) {
            return Ok(event);
        }
        let event: bson::Document = serde_json::from_slice(&self.body).map_err(|_| damaged())?;
        RawDocumentBuf::try_from(&event).map_err(|_| damaged())
    }
}

/// Reads the letters that are in `topic` now, each event's once, and hands them to `each` one by one.
/// Blocks.
///
/// # Errors
/// [`Code::SinkRefused`] for a topic that does not exist, else what Kafka says; what `each` gives.
pub fn read(
    kafka: &Kafka,
    topic: &str,
    mut each: impl FnMut(Letter) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut config = client::client_config(kafka, Kind::Consumer);
    config
        .set("group.id", "tailwater-dead-letters")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest");
    let failed = |error: &KafkaError| client::error(format!("reading the topic {topic}"), error);
    let consumer = BaseConsumer::from_config_and_context(&config, Logging)
        .map_err(|error| client::error("creating a Kafka consumer", &error))?;
    let partitions = partitions(&consumer, topic)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .map_err(|error| failed(&error))?;
    }
    consumer.assign(&list).map_err(|error| failed(&error))?;

    let mut open: HashSet<i32> = (0..partitions).collect();
    let mut begun: HashMap<String, Letter> = HashMap::new();
    let mut seen = HashSet::new();
    let mut heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some(letter) = take_part(&mut begun, &message)
                    && seen.insert(letter.id.clone())
                {
                    each(letter)?;
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) if client::code(&error) == Code::SinkRefused => {
                return Err(failed(&error));
            }
            // The client goes on by itself.
            Some(Err(_)) | None if heard.elapsed() < SILENCE => {}
            Some(Err(_)) | None => {
                return Err(Error::new(
                    Code::SinkUnavailable,
                    format!("reading the topic {topic}: kafka does not answer"),
                ));
            }
        }
    }
    Ok(())
}

fn partitions(consumer: &BaseConsumer<Logging>, topic: &str) -> Result<i32, Error> {
    let metadata = consumer
        .fetch_metadata(Some(topic), QUERY_TIMEOUT)
        .map_err(|error| client::error(format!("looking for the topic {topic}"), &error))?;
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

/// Adds a part to its letter; gives the letter when that was the last one. What has none of our
/// headers is nothing of ours, and left out.
fn take_part(begun: &mut HashMap<String, Letter>, message: &BorrowedMessage<'_>) -> Option<Letter> {
    let header = |name: &str| {
        let found = message
            .headers()?
            .iter()
            .find(|header| header.key == name)?;
        std::str::from_utf8(found.value?).ok().map(str::to_owned)
    };
    let id = header(headers::ID)?;
    let (number, of) = header(PART)?
        .split_once('/')
        .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)))
        .unwrap_or((1_usize, 1_usize));
    let part = message.payload().unwrap_or_default();
    if number == 1 {
        let letter = Letter {
            id: id.clone(),
            seq: Seq(header(headers::SEQ)?.parse().ok()?),
            operation: header(headers::OPERATION).unwrap_or_default(),
            namespace: header(headers::NAMESPACE).unwrap_or_default(),
            reason: header(REASON).unwrap_or_default(),
            written_millis: message.timestamp().to_millis(),
            partition: message.partition(),
            offset: message.offset(),
            parts: 0,
            body: Vec::new(),
        };
        // One that was interrupted before begins anew.
        begun.insert(id.clone(), letter);
    }
    let letter = begun.get_mut(&id)?;
    if letter.parts + 1 == number {
        letter.body.extend_from_slice(part);
        letter.parts = number;
        letter.offset = message.offset();
    }
    if letter.parts == of {
        return begun.remove(&id);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JsonMode;
    use crate::encode::json;
    use bson::{Bson, doc};

    fn letter(body: Vec<u8>) -> Letter {
        Letter {
            id: String::new(),
            seq: Seq(7),
            operation: String::new(),
            namespace: String::new(),
            reason: String::new(),
            written_millis: None,
            partition: 0,
            offset: 0,
            parts: 1,
            body,
        }
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
            "code": Bson::JavaScriptCode("f()".into()),
        };
        let raw = RawDocumentBuf::try_from(&event).unwrap();
        let mut text = Vec::new();
        json::write_document(&mut text, JsonMode::Canonical, raw.as_bytes()).unwrap();
        assert_eq!(letter(text).event().unwrap(), raw);
        assert_eq!(letter(raw.as_bytes().to_vec()).event().unwrap(), raw);
    }

    #[test]
    fn a_letter_that_holds_no_event_says_which_one_it_is() {
        let error = letter(b"{\"secret\": ".to_vec()).event().unwrap_err();
        assert!(error.detail.contains('7') && !error.detail.contains("secret"));
    }
}
