//! librdkafka's own statistics: of them what helps on call.

use super::statistics::{Broker, Statistics, Window};
use std::time::Duration;

/// What was last heard of the Kafka client.
#[derive(Debug, Clone, Default)]
pub(crate) struct KafkaClient {
    pub queue_records: u64,
    pub queue_bytes: u64,
    pub brokers_up: usize,
    /// Of the slowest broker, as the two that follow.
    pub round_trip: Option<Duration>,
    pub queueing: Option<Duration>,
    pub throttling: Option<Duration>,
    /// Of all clients of this process: each incarnation of the pipeline has one.
    pub totals: Totals,
    /// The client that spoke last, and its own totals.
    name: String,
    own: Totals,
}

/// What only grows while a client lives, summed over its brokers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub requests: u64,
    pub bytes: u64,
    pub retries: u64,
    pub errors: u64,
    pub timeouts: u64,
    pub disconnects: u64,
}

impl KafkaClient {
    /// Takes a report of librdkafka's in.
    pub(crate) fn hear(&mut self, statistics: &Statistics<'_>) {
        let up = || statistics.brokers.values().filter(|broker| broker.is_up());
        let slowest = |window: fn(&Broker<'_>) -> Option<Window>| {
            let p99 = up().filter_map(window).map(|window| window.p99).max()?;
            u64::try_from(p99).ok()
        };
        self.queue_records = statistics.msg_cnt;
        self.queue_bytes = statistics.msg_size;
        self.brokers_up = up().count();
        self.round_trip = slowest(|broker| broker.rtt).map(Duration::from_micros);
        self.queueing = slowest(|broker| broker.int_latency).map(Duration::from_micros);
        self.throttling = slowest(|broker| broker.throttle).map(Duration::from_millis);
        self.count(&statistics.name, Totals::of(statistics));
    }

    fn count(&mut self, name: &str, own: Totals) {
        if self.name != name {
            name.clone_into(&mut self.name);
            self.own = Totals::default();
        }
        self.totals.add(own, self.own);
        self.own = own;
    }
}

impl Totals {
    fn of(statistics: &Statistics<'_>) -> Self {
        let mut totals = Self::default();
        for broker in statistics.brokers.values() {
            totals.requests += broker.tx;
            totals.bytes += broker.txbytes;
            totals.retries += broker.txretries;
            totals.errors += broker.txerrs;
            totals.timeouts += broker.req_timeouts;
            totals.disconnects += broker
                .disconnects
                .and_then(|count| u64::try_from(count).ok())
                .unwrap_or(0);
        }
        totals
    }

    /// Adds what has come to `before` since.
    fn add(&mut self, now: Self, before: Self) {
        self.requests += now.requests.saturating_sub(before.requests);
        self.bytes += now.bytes.saturating_sub(before.bytes);
        self.retries += now.retries.saturating_sub(before.retries);
        self.errors += now.errors.saturating_sub(before.errors);
        self.timeouts += now.timeouts.saturating_sub(before.timeouts);
        self.disconnects += now.disconnects.saturating_sub(before.disconnects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_go_on_growing_when_a_new_client_begins_at_zero() {
        let retries = |retries| Totals {
            retries,
            ..Totals::default()
        };
        let mut client = KafkaClient::default();
        for (name, own, total) in [("a", 2, 2), ("a", 5, 5), ("b", 0, 5), ("b", 3, 8)] {
            client.count(name, retries(own));
            assert_eq!(client.totals, retries(total), "{name}");
        }
    }

    #[test]
    fn the_slowest_broker_with_a_connection_is_told() {
        let broker = |nodeid, state: &'static str, p99| Broker {
            nodeid,
            state: state.into(),
            txretries: 1,
            rtt: Some(Window { p99 }),
            ..Broker::default()
        };
        let brokers = [
            broker(1, "UP", 1_000),
            broker(2, "UP", 3_000),
            broker(3, "DOWN", 9_000),
            broker(-1, "UP", 9_000),
        ];
        let mut client = KafkaClient::default();
        client.hear(&Statistics {
            brokers: brokers.map(|b| (b.nodeid.to_string().into(), b)).into(),
            ..Statistics::default()
        });
        assert_eq!(client.brokers_up, 2);
        assert_eq!(client.round_trip, Some(Duration::from_millis(3)));
        assert_eq!((client.queueing, client.totals.retries), (None, 4));
    }
}
