//! A client that knows no broker any more is told of the first ones again.
//!
//! librdkafka forgets the brokers that an answer of the cluster does not name. An answer may name none, while all of
//! them are fenced: after an outage of the controllers, or when a machine had too much to do. Then the client may be
//! left with nobody to ask, for ever (<https://github.com/confluentinc/librdkafka/issues/5301>).

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use std::ffi::CString;

/// Gives a client the addresses that it began with once more. Those that it has already stay as they are.
#[allow(unsafe_code)]
pub fn again<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let Ok(brokers) = CString::new(brokers) else {
        return;
    };
    // SAFETY: the client lives while it is borrowed, and librdkafka copies the addresses.
    unsafe { rd::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}
