//! What the brokers say of topics in librdkafka's description of them, for which the safe crate has no call.

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::ptr;
use std::time::Duration;

/// How much longer than the broker's answer librdkafka's own may take.
const MARGIN: Duration = Duration::from_secs(1);

/// Has librdkafka describe these topics, with what this user may do with them where `has_operations`; what `of` makes of
/// each, by its name. Creates none by asking. Blocks, for about `patience` at most.
///
/// `of` gets what is there only while it runs.
///
/// # Errors
/// librdkafka's code where nobody answers at all, or none knows the question.
#[allow(unsafe_code)]
pub(super) fn topics<C: ClientContext, T>(
    client: &Client<C>,
    topics: &[&str],
    has_operations: bool,
    patience: Duration,
    of: impl Fn(*const rd::rd_kafka_TopicDescription_t) -> T,
) -> Result<HashMap<String, T>, RDKafkaErrorCode> {
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
    // queue. What is read from the event is copied out before that; names are C strings.
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
        let refused = rd::rd_kafka_AdminOptions_set_include_authorized_operations(
            options.0,
            i32::from(has_operations),
        );
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
        let described = (0..count).map(|index| {
            let topic = *described.add(index);
            let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic));
            (name.to_string_lossy().into_owned(), of(topic))
        });
        Ok(described.collect())
    }
}

/// Which topic it is, whatever its name: one that was deleted and made again has another.
pub type Id = (i64, i64);

/// The ids of those of these topics that have one: brokers give them from 2.8 on. Blocks, for about `patience` at most.
///
/// # Errors
/// As of [`topics`].
#[allow(unsafe_code)]
pub fn ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    patience: Duration,
) -> Result<HashMap<String, Id>, RDKafkaErrorCode> {
    let described = topics(client, names, false, patience, |topic| {
        // SAFETY: the topic is there while it is looked at, and its id is a part of it.
        unsafe {
            let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic));
            if error != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let id = rd::rd_kafka_TopicDescription_topic_id(topic);
            let id = (!id.is_null()).then(|| {
                (
                    rd::rd_kafka_Uuid_most_significant_bits(id),
                    rd::rd_kafka_Uuid_least_significant_bits(id),
                )
            });
            id.filter(|id| *id != (0, 0))
        }
    })?;
    let known = described.into_iter();
    Ok(known.filter_map(|(name, id)| Some((name, id?))).collect())
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
