//! Producing dead letters again, as the configuration in force routes and encodes them.

use super::dead_letter::Reason;
use super::dead_letter_reader::{StoredDeadLetter, StoredJob, Unreadable};
use super::topics::Topics;
use crate::change::event::Event;
use crate::config::{Kafka, StreamSpec};
use crate::encode::record::{Encoders, HeaderList};
use crate::encode::serialization::{NoValidators, Unsettled};
use crate::error::Error;
use crate::fields::Fields;
use crate::kafka::client::{self, Kind};
use crate::kafka::produce::{self, MAX_HEADERS};
use crate::listener::{Admission, ListenerRouter, Set};
use crate::route::{Route, Router};
use bson::Document;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Marks a record that was produced from a dead letter; its value is the time of that, in
/// milliseconds since the Unix epoch.
pub const REPLAYED: &str = "tw-replayed";

/// After this a record that Kafka does not take counts as refused. Its dead letter stays.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// What became of a dead letter.
#[derive(Debug)]
pub enum Outcome {
    /// Produced to this topic, and acknowledged.
    Replayed { topic: String },
    /// As the events of its kind today, it makes no record.
    Nowhere,
    /// It still cannot be delivered.
    Refused { why: String },
}

/// Produces letters one at a time.
pub struct Replay {
    router: ListenerRouter,
    encoders: Encoders,
    fields: Option<Fields>,
    again: Again,
}

/// Produces records one at a time.
pub struct Again {
    topics: Topics,
    producer: BaseProducer<LastReport>,
    runtime: tokio::runtime::Handle,
}

impl Replay {
    /// Sets up router, encoder and producer. To be called within a runtime. No record goes to
    /// `dead_letters`, the topic that is read from: it would be read again. `listeners` are those of now.
    ///
    /// # Errors
    /// [`Code::Config`](crate::error::Code::Config) for what the configuration does not allow.
    pub fn new(
        kafka: &Kafka,
        stream: &StreamSpec,
        dead_letters: &str,
        listeners: &[Document],
    ) -> Result<Self, Error> {
        Ok(Self {
            router: router(stream, dead_letters, listeners)?,
            encoders: Encoders::of(stream),
            fields: Fields::of(stream.sink.fields.as_ref()),
            again: Again::new(kafka)?,
        })
    }

    /// Produces one dead letter and waits for its acknowledgement. Blocks.
    ///
    /// # Errors
    /// [`Unreadable`] for one that holds no event.
    pub fn replay(&mut self, dead_letter: &StoredDeadLetter) -> Result<Outcome, Unreadable> {
        if let Some(job) = &dead_letter.job {
            return Ok(self.again.job(job, &dead_letter.body));
        }
        let raw = dead_letter.event()?;
        let Ok(event) = Event::parse(raw.as_bytes()) else {
            return Err(dead_letter.unreadable("its value is no change event"));
        };
        let refused = |why: String| Ok(Outcome::Refused { why });
        let mut room = Vec::new();
        let shown = match self.rewritten(dead_letter, &event, &mut room) {
            Ok(shown) => shown,
            Err(why) => return refused(why),
        };
        let target = match &dead_letter.listener {
            // The other records of the event were delivered. It wanted this one, whatever it asks for by now.
            Some(listener) => match self.router.target_of(listener, &event) {
                Some(target) => target,
                None => return refused(format!("there is no active listener {listener}")),
            },
            None => {
                let targets = self.router.configured().route(&event, true);
                match targets.into_iter().next() {
                    Some(target) => target,
                    None => return Ok(Outcome::Nowhere),
                }
            }
        };
        let id = match target.topic {
            Ok(id) => id,
            Err(error) => return refused(error.to_string()),
        };
        let topic = self.router.table().get(id);
        let Again {
            topics,
            producer,
            runtime,
        } = &self.again;
        let info = match runtime.block_on(topics.ensure_one(topic.name())) {
            Ok(info) => info,
            Err(problem) => return refused(problem.to_string()),
        };
        let encoder = self.encoders.one(target.listener.is_some());
        if let Some(mut schemas) = encoder.schemas() {
            let settling = schemas.settle(&shown, topic.name(), &NoValidators);
            if let Err(Unsettled::Away(why) | Unsettled::Record(why)) = runtime.block_on(settling) {
                return refused(why);
            }
        }
        let encoded = match encoder.encode(&shown, dead_letter.seq) {
            Ok(encoded) if !encoded.is_record() => return Ok(Outcome::Nowhere),
            Ok(encoded) => encoded,
            Err(error) => return refused(error.to_string()),
        };
        let mut own_id = Vec::new();
        let encoded = match &target.listener {
            Some(listener) => encoded.of_listener(listener, &mut own_id),
            None => encoded,
        };
        let now = jiff::Timestamp::now().as_millisecond().to_string();
        let own = HeaderList::default();
        let mut headers = encoded.headers().as_slice().to_vec();
        headers.push((REPLAYED, now.as_bytes()));
        debug_assert!(headers.len() <= MAX_HEADERS);
        let mut record = encoded.record(topic.c_name(), &own);
        record.headers = &headers;
        if record.is_to_be_placed() {
            record = record.placed(info.partitions);
        }
        if let Some(limit) = info.max_message_bytes
            && record.wire_size() > limit
            && !topics.may_compress()
        {
            return refused(format!(
                "its record of {} bytes is over the topic's max.message.bytes of {limit}",
                record.wire_size()
            ));
        }
        match produce_one(producer, &record) {
            Ok(()) => Ok(Outcome::Replayed {
                topic: topic.name().to_owned(),
            }),
            Err(error) => refused(client::describe(&error)),
        }
    }
}

impl Replay {
    /// The event with its fields as `FIELDS_*` have them now, or why that cannot be.
    fn rewritten<'a>(
        &mut self,
        dead_letter: &StoredDeadLetter,
        event: &Event<'a>,
        room: &'a mut Vec<u8>,
    ) -> Result<Event<'a>, String> {
        let now = self.fields.as_ref();
        let now = now.and_then(|it| it.fingerprint(event.database, event.collection));
        match (&dead_letter.rules, &mut self.fields) {
            // Its documents were left out as a whole.
            (Some(_), _) if dead_letter.reason == Reason::FIELDS => Err(
                "it holds no document, because FIELDS_* could not be applied to it; a snapshot of the collection gives \
                 its state"
                    .into(),
            ),
            (Some(then), _) if Some(then) == now.as_ref() => Ok(*event),
            (Some(_), _) => Err(
                "FIELDS_* were applied to it that say something else now; a snapshot of the collection gives its state"
                    .into(),
            ),
            (None, Some(fields)) => fields.apply(event, room).map_err(|why| why.to_string()),
            (None, None) => Ok(*event),
        }
    }
}

impl Again {
    /// To be called within a runtime.
    ///
    /// # Errors
    /// When librdkafka does not take the properties.
    pub fn new(kafka: &Kafka) -> Result<Self, Error> {
        let mut properties = client::client_config(kafka, Kind::Producer);
        properties
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "1000000000")
            .set("linger.ms", "0")
            .set(
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            );
        let producer = properties
            .create_with_context(LastReport::default())
            .map_err(|error| client::error("starting the kafka producer", &error))?;
        Ok(Self {
            topics: Topics::new(kafka)?,
            producer,
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Produces a job to where it was, as it was: a worker takes it from there. Blocks.
    pub fn job(&self, job: &StoredJob, value: &[u8]) -> Outcome {
        let refused = |why: String| Outcome::Refused { why };
        let Ok(topic) = CString::new(job.topic.as_str()) else {
            return refused("its topic has no name that Kafka takes".to_owned());
        };
        let ensured = self.runtime.block_on(self.topics.ensure_one(&job.topic));
        if let Err(problem) = ensured {
            return refused(problem.to_string());
        }
        let now = jiff::Timestamp::now().as_millisecond().to_string();
        let own = job.headers.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_slice()));
        let headers: Vec<_> = own.chain([(REPLAYED, now.as_bytes())]).collect();
        let record = produce::Record {
            topic: &topic,
            partition: None,
            key: &job.key,
            is_keyless: false,
            value: job.has_value.then_some(value),
            timestamp_millis: 0,
            headers: &headers,
            more_headers: &[],
        };
        match produce_one(&self.producer, &record) {
            Ok(()) => Outcome::Replayed {
                topic: job.topic.clone(),
            },
            Err(error) => refused(client::describe(&error)),
        }
    }
}

fn router(
    stream: &StreamSpec,
    dead_letters: &str,
    listeners: &[Document],
) -> Result<ListenerRouter, Error> {
    let router = Router::of(stream)?.reserving(dead_letters);
    let Some(settings) = &stream.source.listeners else {
        return Ok(ListenerRouter::without(router));
    };
    // They had their event of the stream already.
    let admission = Admission(Arc::new(|_| Ok(())));
    let set = Set::found(&settings.at.to_string(), listeners);
    let router = ListenerRouter::with(router, settings.clone(), admission, Arc::default());
    Ok(router.with_set(set))
}

fn produce_one(
    producer: &BaseProducer<LastReport>,
    record: &produce::Record<'_>,
) -> Result<(), KafkaError> {
    produce::produce(producer.client(), record, 0).map_err(KafkaError::MessageProduction)?;
    let deadline = Instant::now() + DELIVERY_TIMEOUT * 2;
    loop {
        producer.poll(POLL);
        let last = &producer.context().0;
        if let Some(report) = last.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return report;
        }
        if Instant::now() >= deadline {
            return Err(KafkaError::Canceled);
        }
    }
}

/// The report of the one record under way.
#[derive(Default)]
struct LastReport(Mutex<Option<Result<(), KafkaError>>>);

impl ClientContext for LastReport {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for LastReport {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, _: usize) {
        let report = match report {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.clone()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }
}
