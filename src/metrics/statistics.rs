//! What is read of librdkafka's statistics: a few figures of each broker.
//!
//! A report describes every partition that a client has written to, so that it soon has a hundred kilobytes. The
//! types of the `rdkafka` crate keep all of it: with a hundred streams at rest, that took half a core.
//!
//! The fields are described in librdkafka's `STATISTICS.md`.

use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A report of one client.
#[derive(Debug, Default, Deserialize)]
pub struct Statistics<'a> {
    /// Of the client; no other client of this process has it.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Records that wait to be sent or acknowledged.
    #[serde(default)]
    pub msg_cnt: u64,
    /// Their bytes.
    #[serde(default)]
    pub msg_size: u64,
    #[serde(borrow, default)]
    pub brokers: BTreeMap<Cow<'a, str>, Broker<'a>>,
    /// Only of producers that are idempotent.
    #[serde(borrow)]
    pub eos: Option<Idempotence<'a>>,
}

/// One broker, or an address that leads to one.
#[derive(Debug, Default, Deserialize)]
pub struct Broker<'a> {
    /// Negative for an address out of `KAFKA_BROKERS`.
    pub nodeid: i32,
    #[serde(borrow)]
    pub state: Cow<'a, str>,
    /// `configured` and `learned`; others stand for no broker of their own.
    #[serde(borrow, default)]
    pub source: Cow<'a, str>,
    /// Requests sent, and their bytes.
    #[serde(default)]
    pub tx: u64,
    #[serde(default)]
    pub txbytes: u64,
    #[serde(default)]
    pub txerrs: u64,
    #[serde(default)]
    pub txretries: u64,
    #[serde(default)]
    pub req_timeouts: u64,
    pub disconnects: Option<i64>,
    /// From a request to its response, in microseconds.
    pub rtt: Option<Window>,
    /// From a record's being queued to its being put into a request, in microseconds.
    pub int_latency: Option<Window>,
    /// For how long the broker told the client to wait, in milliseconds.
    pub throttle: Option<Window>,
}

/// Samples of the time since the last report.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Window {
    pub p99: i64,
}

/// How far a producer is with its id.
#[derive(Debug, Default, Deserialize)]
pub struct Idempotence<'a> {
    #[serde(borrow)]
    pub idemp_state: Cow<'a, str>,
}

impl<'a> Statistics<'a> {
    /// Reads a report; none, with a line in the log, where it is not as expected.
    pub fn read(report: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(report)
            .inspect_err(
                |error| tracing::debug!(%error, "the kafka client's statistics cannot be read"),
            )
            .ok()
    }
}

impl Broker<'_> {
    /// Whether it stands for a broker, and not for whichever has a task at present.
    pub fn is_real(&self) -> bool {
        matches!(self.source.as_ref(), "configured" | "learned")
    }

    /// Whether it is a broker with an open connection.
    pub fn is_up(&self) -> bool {
        self.nodeid >= 0 && self.state == "UP"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_without_what_nobody_needs() {
        let report = br#"{"name": "rdkafka#producer-1", "client_id": "x", "ts": 5016483227792, "msg_cnt": 22,
            "msg_size": 704, "simple_cnt": 0, "brokers": {"localhost:9092/2": {"name": "localhost:9092/2",
            "nodeid": 2, "state": "UP", "tx": 320, "txbytes": 84283332, "txerrs": 1, "txretries": 2,
            "req_timeouts": 3, "rtt": {"min": 1, "p50": 2, "p99": 1580, "hdrsize": 11376}, "disconnects": 4,
            "req": {"Produce": 307}, "toppars": {"t-1": {"topic": "t", "partition": 1}}},
            "bootstrap": {"nodeid": -1, "state": "UP"}}, "topics": {"t": {"partitions": {"0": {}}}},
            "eos": {"idemp_state": "Assigned", "producer_id": 13}}"#;
        let read = Statistics::read(report).unwrap();
        assert_eq!(
            (&*read.name, read.msg_cnt, read.msg_size),
            ("rdkafka#producer-1", 22, 704)
        );
        let broker = &read.brokers["localhost:9092/2"];
        assert!(broker.is_up() && !read.brokers["bootstrap"].is_up());
        assert_eq!(
            (broker.tx, broker.txbytes, broker.txerrs),
            (320, 84_283_332, 1)
        );
        assert_eq!(
            (broker.txretries, broker.req_timeouts, broker.disconnects),
            (2, 3, Some(4))
        );
        assert_eq!(broker.rtt.map(|window| window.p99), Some(1580));
        assert!(broker.throttle.is_none());
        assert_eq!(read.eos.unwrap().idemp_state, "Assigned");
        assert!(Statistics::read(b"{").is_none());
    }
}
