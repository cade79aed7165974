//! What the brokers say that this user may do with topics (KIP-430).
//!
//! librdkafka asks for it with its description of topics ([`described`]).

use super::described;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::time::Duration;

/// What may be allowed, as Kafka numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Describe = 8,
    DescribeConfigs = 10,
}

impl Operation {
    /// As `kafka-acls.sh` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
        }
    }
}

/// What is allowed: a bit for each operation, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed(u32);

impl Allowed {
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u32) != 0
    }
}

/// What a broker says of one topic; `Ok(None)` where it does not tell what is allowed.
pub type Answer = Result<Option<Allowed>, RDKafkaErrorCode>;

/// Asks about these topics. Creates none by asking. Blocks, for about `patience` at most.
///
/// # Errors
/// librdkafka's code where nobody answers at all, or none knows the question.
#[allow(unsafe_code)]
pub fn on_topics<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    patience: Duration,
) -> Result<HashMap<String, Answer>, RDKafkaErrorCode> {
    // SAFETY: `answer` reads one topic of a result that is there.
    described::topics(client, topics, true, patience, |topic| unsafe {
        answer(topic)
    })
}

/// # Safety
/// `topic` must be of a result that is not destroyed yet.
#[allow(unsafe_code)]
unsafe fn answer(topic: *const rd::rd_kafka_TopicDescription_t) -> Answer {
    // SAFETY: as the caller promises. The operations are as many as is said, and read as numbers: those of a newer broker
    // may be none of the enumeration's.
    unsafe {
        let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic));
        if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let mut count = 0;
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if operations.is_null() {
            return Ok(None);
        }
        let operations = operations.cast::<u32>();
        let allowed = (0..count)
            .map(|index| *operations.add(index))
            .filter(|operation| *operation < u32::BITS)
            .fold(0, |bits, operation| bits | 1 << operation);
        Ok(Some(Allowed(allowed)))
    }
}
