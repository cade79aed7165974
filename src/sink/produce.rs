//! Hands one record to librdkafka. The only unsafe code of this crate.
//!
//! `BaseProducer::send` allocates the topic's C string and every header's name per record; here they
//! are borrowed. librdkafka copies what it keeps before the call returns (`RD_KAFKA_MSG_F_COPY`).

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::CStr;
use std::os::raw::c_void;
use std::ptr;

/// How many headers a record carries at most.
pub const MAX_HEADERS: usize = 12;

/// `RD_KAFKA_PARTITION_UA` of rdkafka.h: the partitioner decides.
const UNASSIGNED: i32 = -1;

/// A record whose parts are borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub topic: &'a CStr,
    /// None lets the partitioner decide by the key.
    pub partition: Option<i32>,
    pub key: &'a [u8],
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch; 0 is now.
    pub timestamp_millis: i64,
    /// At most [`MAX_HEADERS`]; more are an error.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Record<'_> {
    /// Bytes of key, value and headers.
    pub fn payload_bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.key.len() + self.value.map_or(0, <[u8]>::len) + headers
    }

    /// What the record takes in memory until it is acknowledged, about: the payload and librdkafka's
    /// own structures (a message of some 250 bytes, and some 80 for each header).
    pub fn weight(&self) -> usize {
        self.payload_bytes() + 256 + 80 * self.headers.len()
    }

    /// Upper bound of the record's size in a message batch of its own (the v2 format's overheads are
    /// 61 bytes for the batch and at most 21 for a record, and 5 for each length in it).
    pub fn wire_size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 10)
            .sum();
        self.key.len() + self.value.map_or(0, <[u8]>::len) + headers + 61 + 21 + 10
    }
}

/// Queues a record with `opaque` as its delivery report's tag. Never blocks.
///
/// # Errors
/// librdkafka's code: `QueueFull`, `MessageSizeTooLarge` over `message.max.bytes`, `Fatal`, ….
#[allow(unsafe_code)]
pub fn produce<C: ClientContext>(
    client: &Client<C>,
    record: &Record<'_>,
    opaque: usize,
) -> Result<(), RDKafkaErrorCode> {
    if record.headers.len() > MAX_HEADERS {
        return Err(RDKafkaErrorCode::InvalidArgument);
    }
    let value = record
        .value
        .map_or((ptr::null(), 0), |value| (value.as_ptr(), value.len()));
    // SAFETY: every pointer is borrowed from `record` and lives over the call; librdkafka copies names,
    // values, key and payload. The header list is owned by librdkafka after success and destroyed here
    // after failure, as rdkafka.h asks for `RD_KAFKA_V_HEADERS`.
    unsafe {
        let headers = rd::rd_kafka_headers_new(record.headers.len());
        for (name, value) in record.headers {
            let added = rd::rd_kafka_header_add(
                headers,
                name.as_ptr().cast::<std::os::raw::c_char>(),
                name.len() as isize,
                value.as_ptr().cast::<c_void>(),
                value.len() as isize,
            );
            debug_assert!(matches!(
                added,
                rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            ));
        }
        let error = rd::rd_kafka_producev(
            client.native_ptr(),
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TOPIC,
            record.topic.as_ptr(),
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
            record.partition.unwrap_or(UNASSIGNED),
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
            rd::RD_KAFKA_MSG_F_COPY,
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
            value.0.cast_mut().cast::<c_void>(),
            value.1,
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
            record.key.as_ptr().cast_mut().cast::<c_void>(),
            record.key.len(),
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
            opaque as *mut c_void,
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP,
            record.timestamp_millis,
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
            headers,
            rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
        );
        if error == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            rd::rd_kafka_headers_destroy(headers);
            Err(error.into())
        }
    }
}
