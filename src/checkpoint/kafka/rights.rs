//! Whether this user may do with the checkpoint topic and the transactional id what a run will, found out
//! without claiming the stream.

use super::topic::Topic;
use super::{blocking, transactional_id};
use crate::config::Kafka;
use crate::error::Code;
use crate::kafka::client::{self, Quiet};
use crate::kafka::rights::{self, NAME, PATIENCE, Use};
use crate::kafka::topic;
use crate::kafka::transaction::configuration;
use crate::preflight::Finding;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

/// A time-out in milliseconds that brokers do not allow; librdkafka adds to it, within 32 bits.
const NOT_ALLOWED: i32 = i32::MAX - 1_000;

/// Looks at both. Nothing is made, written or fenced. `what` names the topic in sentences, and `owner` is the stream
/// or the unit of schedules.
pub(in crate::checkpoint) async fn check(
    kafka: &Kafka,
    (what, topic): (&'static str, &str),
    owner: &str,
) -> Vec<Finding> {
    let (kafka, topic, owner) = (kafka.clone(), topic.to_owned(), owner.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let looked = blocking(move || {
        let mut findings = runtime.block_on(on_topic(&kafka, what, &topic));
        // Brokers that do not answer have been told of.
        if findings.iter().all(|finding| !finding.is_transient) {
            findings.extend(on_transactional_id(&kafka, &owner));
        }
        findings
    });
    looked
        .await
        .unwrap_or_else(|error| vec![Finding::of_kafka(NAME, error)])
}

async fn on_topic(kafka: &Kafka, what: &str, name: &str) -> Vec<Finding> {
    let admin = match topic::admin(kafka) {
        Ok(admin) => admin,
        Err(error) => return vec![Finding::of_kafka(NAME, error)],
    };
    match Topic::find(admin.inner(), name) {
        Ok(Some(_)) => rights::on_topics(admin.inner(), kafka, &[(name, Use::Checkpoints)]),
        Ok(None) => match Topic::may_create(&admin, kafka, name).await {
            Ok(()) => {
                let sentence = format!(
                    "{what} {name} does not exist yet and will be created; whether this user \
                     may read and write it shows then"
                );
                vec![Finding::ok(NAME, sentence)]
            }
            Err(error) => vec![Finding::of_kafka(NAME, error)],
        },
        // Without Describe it cannot even be seen.
        Err(error) if error.code == Code::SinkRefused => {
            let all = ["Read", "Write", "Describe"];
            vec![rights::denied(kafka, "topic", name, &all)]
        }
        Err(error) => vec![Finding::of_kafka(NAME, error)],
    }
}

fn on_transactional_id(kafka: &Kafka, stream: &str) -> Option<Finding> {
    use RDKafkaErrorCode as E;
    let id = transactional_id(stream);
    match ask_for(kafka, stream) {
        Ok(()) => None,
        Err(error) => match error.rdkafka_error_code() {
            Some(E::InvalidTransactionTimeout) => None,
            Some(E::TransactionalIdAuthorizationFailed | E::ClusterAuthorizationFailed) => {
                let both = ["Write", "Describe"];
                Some(rights::denied(kafka, "transactional-id", &id, &both))
            }
            _ => {
                let what = format!("the transactional id {id}");
                Some(rights::unknown(&what, &client::describe(&error)))
            }
        },
    }
}

/// Asks for the stream's transactional id in a way that nobody is fenced by. No client can have an id
/// described, and being given it would fence the instance that has it. So the time-out is one that brokers
/// do not allow (`transaction.max.timeout.ms`), which the coordinator finds after it has looked at the
/// rights and before it looks at the id. Where a broker does allow it, the instance finds that nobody has
/// claimed the stream, and takes it up again.
fn ask_for(kafka: &Kafka, stream: &str) -> Result<(), KafkaError> {
    let millis = PATIENCE.as_millis().to_string();
    let mut config = configuration(kafka, &transactional_id(stream));
    config
        .set("transaction.timeout.ms", NOT_ALLOWED.to_string())
        // Follows the one above where it is not set.
        .set("socket.timeout.ms", &millis);
    let producer: BaseProducer<Quiet> = config.create_with_context(Quiet)?;
    producer.init_transactions(PATIENCE)
}
