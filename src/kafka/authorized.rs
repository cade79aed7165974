//! What the brokers say that this user may do with topics (KIP-430).
//!
//! librdkafka asks for it with its description of topics, for which the safe crate has no call.

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::ptr;
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

/// How much longer than the broker's answer librdkafka's own may take.
const MARGIN: Duration = Duration::from_secs(1);

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
    let invalid = |_| RDKafkaErrorCode::InvalidTopic;
    let names: Result<Vec<CString>, _> = topics.iter().map(|name| CString::new(*name)).collect();
    let names = names.map_err(invalid)?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    if pointers.is_empty() {
        return Ok(HashMap::new());
    }
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `client` and `names` live over the call, and librdkafka copies the names. Everything that it
    // makes here is destroyed once, by its own function, when its guard is dropped: the event before the
    // queue. What is read from the event is copied out before that. Operations are read as numbers: those
    // of a newer broker may be none of the enumeration's.
    unsafe {
        let rk = client.native_ptr();
        let collection = Guard(
            rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            rd::rd_kafka_TopicCollection_destroy,
        );
        let options = Guard(
            rd::rd_kafka_AdminOptions_new(
                rk,
                rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            rd::rd_kafka_AdminOptions_destroy,
        );
        // Both refuse only what is out of range or of another request.
        rd::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            millis(patience),
            ptr::null_mut(),
            0,
        );
        let refused = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        if !refused.is_null() {
            rd::rd_kafka_error_destroy(refused);
            return Err(RDKafkaErrorCode::UnsupportedFeature);
        }
        let queue = Guard(rd::rd_kafka_queue_new(rk), rd::rd_kafka_queue_destroy);
        rd::rd_kafka_DescribeTopics(rk, collection.0, options.0, queue.0);
        let event = Guard(
            rd::rd_kafka_queue_poll(queue.0, millis(patience + MARGIN)),
            rd::rd_kafka_event_destroy,
        );
        if event.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        let error = rd::rd_kafka_event_error(event.0);
        if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(RDKafkaErrorCode::UnsupportedFeature);
        }
        let mut count = 0;
        let described = rd::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let described = (0..count).map(|index| answer(*described.add(index)));
        Ok(described.collect())
    }
}

/// # Safety
/// `topic` must be of a result that is not destroyed yet.
#[allow(unsafe_code)]
unsafe fn answer(topic: *const rd::rd_kafka_TopicDescription_t) -> (String, Answer) {
    // SAFETY: as the caller promises. The name is a C string, and the operations are as many as is said.
    unsafe {
        let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic));
        let name = name.to_string_lossy().into_owned();
        let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic));
        if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return (name, Err(error.into()));
        }
        let mut count = 0;
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        if operations.is_null() {
            return (name, Ok(None));
        }
        let operations = operations.cast::<u32>();
        let allowed = (0..count)
            .map(|index| *operations.add(index))
            .filter(|operation| *operation < u32::BITS)
            .fold(0, |bits, operation| bits | 1 << operation);
        (name, Ok(Some(Allowed(allowed))))
    }
}

/// Something of librdkafka's, with what destroys it. Null is nothing.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka for us, and destroyed nowhere else.
            unsafe { self.1(self.0) }
        }
    }
}
