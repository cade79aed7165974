//! A compacted topic that others keep: what it holds for some keys, and one record more.

use super::client::{self, Kind, Logging};
use super::reader::{self, Stretch};
use super::{partition, topic};
use crate::config::Kafka;
use crate::error::{Code, Error};
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long reading all of it may take.
const READ: Duration = Duration::from_secs(60);
/// How long the acknowledgement of a record may take.
const WRITE: Duration = Duration::from_secs(30);

/// The key and the value of a record.
type KeyValue = (Vec<u8>, Vec<u8>);

/// The last record of a key in one partition.
#[derive(Debug, Clone, PartialEq)]
struct Last {
    /// In ms since the Unix epoch, by the writer's clock.
    time: Option<i64>,
    value: Option<Vec<u8>>,
}

/// The newest value of each key that is `wanted`, over all partitions, in no order. A key whose newest record has no
/// value is left out. Blocks.
///
/// Within a partition the offset says which record is newer, whatever the clocks of the writers say.
///
/// # Errors
/// [`Code::SinkRefused`] where there is no such topic, [`Code::SinkUnavailable`] where it cannot be read now.
pub fn newest(
    kafka: &Kafka,
    name: &str,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<KeyValue>, Error> {
    let consumer = reader::reader(kafka, "tailwater-compacted", true)?;
    let partitions = partitions(consumer.client(), name)?;
    let deadline = Instant::now() + READ;
    let on_time = || match Instant::now() > deadline {
        false => Ok(()),
        true => {
            let detail = format!(
                "{name} cannot be read to its end within {} s; a transaction that is open on it hides what follows",
                READ.as_secs()
            );
            Err(Error::new(Code::SinkUnavailable, detail))
        }
    };
    let mut stretches = Vec::new();
    for partition in 0..partitions {
        let (from, until) = reader::watermarks(&consumer, name, partition, topic::is_settling)?;
        if until > from {
            stretches.push(Stretch {
                partition,
                from,
                until,
            });
        }
    }
    let mut found: HashMap<Vec<u8>, BTreeMap<i32, Last>> = HashMap::new();
    let each = |message: &BorrowedMessage<'_>| {
        if let Some(key) = message.key().filter(|key| wanted(key)) {
            let last = Last {
                time: message.timestamp().to_millis(),
                value: message.payload().map(<[u8]>::to_vec),
            };
            // The records of a partition come in their order.
            let of_key = found.entry(key.to_vec()).or_default();
            of_key.insert(message.partition(), last);
        }
        on_time()
    };
    reader::visit(&consumer, name, &stretches, each, on_time)?;
    client::end_beside(consumer);
    let values = found.into_iter().filter_map(|(key, of_key)| {
        let belongs = partition::partition_of(&key, partitions);
        let value = newest_of(of_key, belongs)?;
        Some((key, value))
    });
    Ok(values.collect())
}

/// The newest value of a key. It is in several partitions where their number has grown since it was first written:
/// what is where it `belongs` now was written after that, and of what is elsewhere only the writers' clocks tell.
fn newest_of(mut of_key: BTreeMap<i32, Last>, belongs: i32) -> Option<Vec<u8>> {
    let last = of_key.remove(&belongs).or_else(|| {
        let others = of_key.into_values();
        others.max_by_key(|last| last.time)
    });
    last?.value
}

/// Writes one record, where Java's partitioner would, and waits for its acknowledgement. Blocks.
///
/// # Errors
/// As of [`newest`], and what the broker says of the record.
pub fn put(kafka: &Kafka, name: &str, key: &[u8], value: &[u8]) -> Result<(), Error> {
    let mut config = client::client_config(kafka, Kind::Producer);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", WRITE.as_millis().to_string());
    let report = Report::default();
    let producer: BaseProducer<Report> =
        BaseProducer::from_config_and_context(&config, report.clone())
            .map_err(|error| client::error("creating a Kafka producer", &error))?;
    let looking = reader::reader(kafka, "tailwater-compacted", false)?;
    let partitions = partitions(looking.client(), name)?;
    let attempt = format!("writing to {name}");
    let record = BaseRecord::to(name)
        .key(key)
        .payload(value)
        .partition(partition::partition_of(key, partitions));
    producer
        .send(record)
        .map_err(|(error, _)| client::error(&attempt, &error))?;
    producer
        .flush(WRITE)
        .map_err(|error| client::error(&attempt, &error))?;
    let said = report
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match said {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(client::error(&attempt, &error)),
        None => Err(Error::new(
            Code::SinkUnavailable,
            format!("{attempt}: no answer"),
        )),
    }
}

fn partitions(client: &rdkafka::client::Client<Logging>, name: &str) -> Result<i32, Error> {
    let found = topic::partitions(client, name)
        .map_err(|error| client::error(format!("looking for the topic {name}"), &error))?;
    found.ok_or_else(|| {
        Error::new(
            Code::SinkRefused,
            format!("there is no topic {name}; give the one that is there"),
        )
    })
}

/// Keeps what becomes of the only record.
#[derive(Clone, Default)]
struct Report(Arc<Mutex<Option<Result<(), KafkaError>>>>);

impl ClientContext for Report {}

impl ProducerContext for Report {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let said = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use super::{Last, newest_of};
    use std::collections::BTreeMap;

    fn last(time: i64, value: Option<&str>) -> Last {
        Last {
            time: Some(time),
            value: value.map(|value| value.as_bytes().to_vec()),
        }
    }

    #[test]
    fn of_several_partitions_the_one_where_a_key_belongs_has_its_newest_record() {
        for (of_key, belongs, newest) in [
            (vec![(0, last(1, Some("only")))], 0, Some("only")),
            // Nothing was written since the number of partitions has grown.
            (vec![(0, last(1, Some("before")))], 2, Some("before")),
            // By a clock that is behind.
            (
                vec![(0, last(9, Some("before"))), (2, last(1, Some("after")))],
                2,
                Some("after"),
            ),
            (
                vec![(0, last(1, Some("first"))), (1, last(2, Some("second")))],
                2,
                Some("second"),
            ),
            // It was taken out.
            (
                vec![(0, last(9, Some("before"))), (2, last(1, None))],
                2,
                None,
            ),
            (vec![(0, last(1, None))], 0, None),
        ] {
            let of_key: BTreeMap<_, _> = of_key.into_iter().collect();
            let found = newest_of(of_key.clone(), belongs);
            let expected = newest.map(|value| value.as_bytes().to_vec());
            assert_eq!(found, expected, "{of_key:?}, {belongs}");
        }
    }
}
