//! Waiting for a client's events without looking for them again and again: a process with a hundred streams at rest
//! should rest, too.
//!
//! librdkafka calls back when its queue of events was empty and is no longer, for which the safe crate has no call
//! where the client is a producer.

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use std::os::raw::c_void;
use std::ptr;
use std::thread::Thread;

/// Unparks a thread when there are events, for as long as this lives.
pub struct Events {
    queue: *mut rd::rd_kafka_queue_t,
    /// What the callback is given: it must stay where it is.
    _thread: Box<Thread>,
}

impl Events {
    /// Of a client that outlives it. Events that are there already are told by [`is_empty`](Self::is_empty) alone.
    #[allow(unsafe_code)]
    pub fn waking<C: ClientContext>(client: &Client<C>, thread: Thread) -> Self {
        let thread = Box::new(thread);
        let opaque = ptr::from_ref::<Thread>(&thread).cast_mut().cast::<c_void>();
        // SAFETY: the reference to the queue is given back when this is dropped. librdkafka calls `unpark` with
        // `opaque` until then only, and the box lives for longer.
        let queue = unsafe {
            let queue = rd::rd_kafka_queue_get_main(client.native_ptr());
            rd::rd_kafka_queue_cb_event_enable(queue, Some(unpark), opaque);
            queue
        };
        Self {
            queue,
            _thread: thread,
        }
    }

    #[allow(unsafe_code)]
    pub fn is_empty(&self) -> bool {
        // SAFETY: the queue is ours until it is dropped.
        unsafe { rd::rd_kafka_queue_length(self.queue) == 0 }
    }
}

impl Drop for Events {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the callback is taken away under the lock that it is called under, and then the queue is given back.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue);
        }
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn unpark(_: *mut rd::rd_kafka_t, thread: *mut c_void) {
    // SAFETY: it is the pointer of `waking`, whose thread lives for as long as this may be called.
    unsafe { &*thread.cast::<Thread>() }.unpark();
}
