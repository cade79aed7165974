//! Commits of a consumer group of which it is told what became of them.
//!
//! The safe crate hands an asynchronous commit to librdkafka without asking for an answer: `commit_callback` is never
//! called for one, whether it came about or not.

use rdkafka::TopicPartitionList;
use rdkafka::bindings as rd;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::ptr;

/// Asks for a commit; what became of it is told to the context's `commit_callback`, by whoever polls the consumer.
///
/// # Errors
/// librdkafka's, where it does not take it.
#[allow(unsafe_code)]
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<(), KafkaError> {
    let client: &Client<C> = consumer.client();
    // SAFETY: the client lives while it is borrowed, and librdkafka copies the offsets. It keeps a reference of its own to
    // the queue that the consumer polls, where the answer is an event, as there is no callback.
    let answer = unsafe {
        let queue = rd::rd_kafka_queue_get_consumer(client.native_ptr());
        let answer = rd::rd_kafka_commit_queue(
            client.native_ptr(),
            offsets.ptr(),
            queue,
            None,
            ptr::null_mut(),
        );
        rd::rd_kafka_queue_destroy(queue);
        answer
    };
    match answer {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::ConsumerCommit(error.into())),
    }
}
