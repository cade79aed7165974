//! Hands records to librdkafka.
//!
//! `BaseProducer::send` allocates the topic's C string and every header's name per record; here they
//! are borrowed. librdkafka copies what it keeps before the call returns (`RD_KAFKA_MSG_F_COPY`).

use super::partition::partition_of;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::CStr;
use std::os::raw::c_void;
use std::ptr;
use std::time::Duration;

/// How many headers a record carries at most.
pub const MAX_HEADERS: usize = 12;

/// librdkafka's last error on this thread: the code of a client that could not be made, which rdkafka leaves
/// out. Only right directly behind the call that failed.
pub fn last_error() -> RDKafkaErrorCode {
    // SAFETY: it reads a variable of this thread and has no preconditions.
    unsafe { rd::rd_kafka_last_error() }.into()
}

/// `RD_KAFKA_PARTITION_UA` of rdkafka.h: the partitioner decides.
const UNASSIGNED: i32 = -1;

/// A record whose parts are borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub topic: &'a CStr,
    /// None lets the partitioner decide by the key.
    pub partition: Option<i32>,
    pub key: &'a [u8],
    /// Whether the key only decides on the partition, and is not sent.
    pub is_keyless: bool,
    /// None is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the Unix epoch; 0 is now.
    pub timestamp_millis: i64,
    /// At most [`MAX_HEADERS`]; more are an error.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Headers that all records of a stream have behind these.
    pub more_headers: &'a [(String, String)],
}

impl Record<'_> {
    /// Bytes of key, value and headers.
    pub fn payload_bytes(&self) -> usize {
        let headers: usize = self
            .all_headers()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let key = self.sent_key().map_or(0, <[u8]>::len);
        key + self.value.map_or(0, <[u8]>::len) + headers
    }

    fn all_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let more = self.more_headers.iter();
        let more = more.map(|(name, value)| (name.as_str(), value.as_bytes()));
        self.headers.iter().copied().chain(more)
    }

    fn count_of_headers(&self) -> usize {
        self.headers.len() + self.more_headers.len()
    }

    /// The key that consumers see.
    #[inline]
    pub fn sent_key(&self) -> Option<&[u8]> {
        (!self.is_keyless).then_some(self.key)
    }

    /// Whether the partition is decided here: without a key, librdkafka would take any.
    #[inline]
    pub fn is_to_be_placed(&self) -> bool {
        self.is_keyless || self.key.is_empty()
    }

    /// The same in the partition of its key, of so many.
    #[must_use]
    pub fn placed(self, partitions: i32) -> Self {
        Self {
            partition: Some(partition_of(self.key, partitions)),
            ..self
        }
    }

    /// What the record takes in memory until it is acknowledged, about: the payload and librdkafka's
    /// own structures (a message of some 250 bytes, and some 80 for each header).
    pub fn weight(&self) -> usize {
        self.payload_bytes() + 256 + 80 * self.count_of_headers()
    }

    /// Size in bytes of a message batch that holds only this record, uncompressed: what the topic's
    /// `max.message.bytes` is held against. Exact, as the record format v2 has it
    /// (<https://kafka.apache.org/documentation/#recordbatch>).
    pub fn wire_size(&self) -> usize {
        self.wire_size_with(self.value.map(<[u8]>::len))
    }

    /// The longest value with which the record is not over `limit`, in bytes; `None` where it would be
    /// without any.
    pub fn room_for_value(&self, limit: usize) -> Option<usize> {
        let mut room = limit.checked_sub(self.wire_size_with(Some(0)))?;
        // What the longer lengths take is found within a few steps: they are at most five bytes each.
        while self.wire_size_with(Some(room)) > limit {
            room -= 1;
        }
        Some(room)
    }

    /// [`wire_size`](Self::wire_size) with a value of this length; `None` is null.
    fn wire_size_with(&self, value: Option<usize>) -> usize {
        let headers: usize = self
            .all_headers()
            .map(|(name, value)| with_length(name.len()) + with_length(value.len()))
            .sum();
        let value = value.map_or(LENGTH_OF_NULL, with_length);
        let key = self.sent_key().map(<[u8]>::len);
        let body = FIXED + key.map_or(LENGTH_OF_NULL, with_length) + value;
        let body = body + varint(self.count_of_headers()) + headers;
        BATCH_HEADER + with_length(body)
    }
}

/// The header of a message batch, in bytes.
const BATCH_HEADER: usize = 61;
/// Attributes, and the differences of time and offset to the batch's own, which are 0.
const FIXED: usize = 3;
/// Null is written as the length -1.
const LENGTH_OF_NULL: usize = 1;

/// Bytes of something with its length before it.
fn with_length(len: usize) -> usize {
    varint(len) + len
}

/// Bytes of a number as the format writes it: zigzag, seven bits a byte.
fn varint(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros() + 1;
    bits.div_ceil(7) as usize
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
    let key = record
        .sent_key()
        .map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
    // SAFETY: every pointer is borrowed from `record` and lives over the call; librdkafka copies names,
    // values, key and payload. The header list is owned by librdkafka after success and destroyed here
    // after failure, as rdkafka.h asks for `RD_KAFKA_V_HEADERS`.
    unsafe {
        let headers = rd::rd_kafka_headers_new(record.count_of_headers());
        for (name, value) in record.all_headers() {
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
            key.0.cast_mut().cast::<c_void>(),
            key.1,
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

/// Lets the broker threads send what is queued without waiting for `linger.ms`, until all is
/// acknowledged or `limit` has passed. Blocks for as long: not for async tasks.
///
/// `Producer::flush` would serve delivery reports meanwhile, beside the thread that does.
#[allow(unsafe_code)]
pub fn send_now<C: ClientContext>(client: &Client<C>, limit: Duration) {
    let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives over the call. With delivery reports as events, as `BaseProducer` has
    // them, librdkafka serves no queue here: it sets its "flushing" mark, wakes its broker threads and
    // waits. What is still outstanding at the end is no error.
    let _ = unsafe { rd::rd_kafka_flush(client.native_ptr(), millis) };
}

#[cfg(test)]
mod tests {
    use super::{Record, varint};

    #[test]
    fn the_room_for_a_value_is_used_to_the_last_byte() {
        let (key, header) = (vec![7; 300], vec![7; 9_000]);
        for limit in (9_000..90_000).step_by(7) {
            let mut record = Record {
                topic: c"t",
                partition: None,
                key: &key,
                is_keyless: false,
                value: None,
                timestamp_millis: 0,
                headers: &[("tw-id", &header)],
                more_headers: &[],
            };
            let Some(room) = record.room_for_value(limit) else {
                assert!(limit < 9_400);
                continue;
            };
            let value = vec![7; room + 1];
            record.value = Some(&value[..room]);
            let exact = record.wire_size();
            record.value = Some(&value);
            assert!(exact <= limit && record.wire_size() > limit, "{limit}");
        }
    }

    #[test]
    fn numbers_take_seven_bits_a_byte_and_one_for_the_sign() {
        for (number, bytes) in [(0, 1), (63, 1), (64, 2), (8_191, 2), (8_192, 3)] {
            assert_eq!(varint(number), bytes, "{number}");
        }
    }
}
