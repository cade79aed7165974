//! Workers: from a record in a topic to a service that has done it, or a dead letter that says why not.

mod answers;
mod crashes;
mod documents;
mod group;
mod journal;
mod large;
mod load;
mod long;
mod lost;
mod receiver;
mod reports;
mod retries;
mod scaling;
mod signed;
mod tls;
mod topics;

use crate::support::{self, Kafka, PATIENCE, Record, Setup, eventually, unique};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
pub(crate) use receiver::{Answer, Call, Receiver};
use serde_json::{Value, json};

/// A secret of the receivers, and the one before it.
const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];

/// One job to be written.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    id: String,
    job: String,
    key: String,
    value: Value,
    priority: Option<u8>,
}

pub(crate) fn wanted(job: &str, number: usize, key: &str) -> Wanted {
    Wanted {
        id: format!("{job}-{number}"),
        job: job.to_owned(),
        key: key.to_owned(),
        value: json!({"n": number, "key": key}),
        priority: None,
    }
}

/// Writes jobs as the records of a listener are, in this order.
pub(crate) async fn write(kafka: &Kafka, topic: &str, jobs: &[Wanted]) {
    let producer: BaseProducer = kafka
        .client_config()
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    send(&producer, topic, jobs);
    tokio::task::spawn_blocking(move || producer.flush(PATIENCE).unwrap())
        .await
        .unwrap();
}

/// The same in a transaction, as a stream with DELIVERY=exactly_once does.
async fn write_at_once(kafka: &Kafka, topic: &str, jobs: &[Wanted]) {
    let producer: BaseProducer = kafka
        .client_config()
        .set("partitioner", "murmur2_random")
        .set("transactional.id", unique("t"))
        .create()
        .unwrap();
    let (topic, jobs) = (topic.to_owned(), jobs.to_vec());
    let writing = tokio::task::spawn_blocking(move || {
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        send(&producer, &topic, &jobs);
        producer.commit_transaction(PATIENCE).unwrap();
    });
    writing.await.unwrap();
}

fn send(producer: &BaseProducer, topic: &str, jobs: &[Wanted]) {
    for job in jobs {
        let now = jiff::Timestamp::now().as_millisecond().to_string();
        let mut headers = OwnedHeaders::new();
        let priority = job.priority.map(|priority| priority.to_string());
        let all = [
            ("tw-id", Some(&job.id)),
            ("tw-job", Some(&job.job)),
            ("tw-ts", Some(&now)),
            ("tw-priority", priority.as_ref()),
        ];
        for (key, value) in all {
            if value.is_some() {
                headers = headers.insert(Header { key, value });
            }
        }
        let value = job.value.to_string();
        let record = BaseRecord::to(topic)
            .key(&job.key)
            .payload(&value)
            .headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

/// A worker for the topics that begin with this prefix, with these handlers.
pub(crate) fn worker(kafka: &Kafka, prefix: &str, handlers: &Value) -> Setup {
    let setup = Setup::empty();
    let file = setup.folder().join("handlers.json");
    std::fs::write(&file, json!({ "handlers": handlers }).to_string()).unwrap();
    setup
        .env("KAFKA_BROKERS", kafka.brokers())
        .env("WORKER_TOPICS", format!("{prefix}*"))
        .env("WORKER_GROUP", prefix)
        .env("WORKER_HANDLERS", file.display())
        .env("WORKER_ALLOW_PRIVATE", "true")
        .args(&["worker", "start"])
}

/// Whether a group has committed all that is in a topic.
async fn is_all_committed(kafka: &Kafka, group: &str, topic: &str, partitions: i32) -> bool {
    let mut config = kafka.client_config();
    let consumer: BaseConsumer = config.set("group.id", group).create().unwrap();
    let topic = topic.to_owned();
    let asking = tokio::task::spawn_blocking(move || {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(&topic, partition);
        }
        let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
        committed.elements().iter().all(|of| {
            let ends = consumer.fetch_watermarks(&topic, of.partition(), PATIENCE);
            let (_, end) = ends.unwrap();
            end == 0 || of.offset() == Offset::Offset(end)
        })
    });
    asking.await.unwrap()
}

/// Waits until a group has committed all that is in a topic.
async fn all_committed(kafka: &Kafka, group: &str, topic: &str, partitions: i32) {
    eventually(PATIENCE, "all of it is committed", async || {
        let is_all = is_all_committed(kafka, group, topic, partitions).await;
        is_all.then_some(())
    })
    .await;
}

/// Where the jobs of a group wait for their next attempt.
fn retry_topic(group: &str) -> String {
    format!("jobs.retry.{group}")
}

/// A prefix of topics that no other test has, and a topic of it.
pub(crate) async fn with_topic(name: &str, partitions: i32) -> (&'static Kafka, String, String) {
    let kafka = support::kafka().await;
    let prefix = unique("jobs.t");
    let topic = format!("{prefix}.{name}");
    kafka.create_topic(&topic, partitions, &[]).await;
    (kafka, prefix, topic)
}

/// Waits for so many dead letters of a group.
pub(crate) async fn dead_letters(kafka: &Kafka, group: &str, count: usize) -> Vec<Record> {
    let of_group = |record: &&Record| {
        record
            .headers
            .get("tw-dlq-group")
            .is_some_and(|it| it == group)
    };
    let what = format!("{count} dead letters of {group}");
    let all = kafka
        .wait_until(&["jobs.dlq"], &what, |records| {
            records.iter().filter(of_group).count() >= count
        })
        .await;
    all.iter().filter(of_group).cloned().collect()
}
