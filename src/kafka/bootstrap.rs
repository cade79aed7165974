//! A client that knows no broker any more is told of the first ones again.
//!
//! librdkafka forgets the brokers that an answer of the cluster does not name. An answer may name none, while all of
//! them are fenced: after an outage of the controllers, or when a machine had too much to do. Then the client may be
//! left with nobody to ask, for ever (<https://github.com/confluentinc/librdkafka/issues/5301>).
//!
//! So a client that lives for long either has [`Known`] in its context and is [`kept`](keep) by whoever polls it, or is
//! told [`again`] while nobody [`answers`](answer) it, or is made anew then.

use crate::metrics::statistics::{Broker, Statistics};
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a client says which brokers it knows, in milliseconds.
const STATISTICS_MS: &str = "5000";

/// Whether a client knows any broker, as its statistics say. Each client has its own.
#[derive(Debug, Clone, Default)]
pub struct Known {
    is_none: Arc<AtomicBool>,
}

impl Known {
    pub fn note(&self, statistics: &Statistics<'_>) {
        let is_any = statistics.brokers.values().any(Broker::is_real);
        self.is_none.store(!is_any, Ordering::Relaxed);
    }

    /// Takes the client's own report.
    pub fn note_report(&self, report: &[u8]) {
        if let Some(statistics) = Statistics::read(report) {
            self.note(&statistics);
        }
    }
}

/// A context that takes note of the brokers that are known.
pub trait KnowsBrokers: ClientContext {
    fn known(&self) -> &Known;
}

/// Has a client say which brokers it knows.
pub fn watch(config: &mut ClientConfig) {
    config.set("statistics.interval.ms", STATISTICS_MS);
}

/// Tells a client of the first brokers again if it has said that it knows none. For whoever polls it.
pub fn keep<C: KnowsBrokers>(client: &Client<C>, brokers: &str) {
    if client
        .context()
        .known()
        .is_none
        .swap(false, Ordering::Relaxed)
    {
        again(client, brokers);
    }
}

/// How long an answer may take before its client is told of the first brokers again.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Waits for the answer to what a client was asked, and tells the client of the first brokers again for as long as
/// nobody answers: it may have forgotten them with an answer before. For clients that nobody polls.
pub async fn answer<C: ClientContext, T>(
    client: &Client<C>,
    brokers: &str,
    asked: impl Future<Output = T>,
) -> T {
    let mut asked = std::pin::pin!(asked);
    loop {
        match tokio::time::timeout(UNANSWERED, &mut asked).await {
            Ok(answer) => return answer,
            Err(_) => again(client, brokers),
        }
    }
}

/// Gives a client the addresses that it began with once more. Those that it has already stay as they are.
#[allow(unsafe_code)]
pub fn again<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let Ok(brokers) = CString::new(brokers) else {
        return;
    };
    // SAFETY: the client lives while it is borrowed, and librdkafka copies the addresses.
    unsafe { rd::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_knows_none_where_only_what_has_a_task_at_present_is_left() {
        let known = Known::default();
        let report = |brokers: &str| {
            known.note_report(format!(r#"{{"name": "c", "brokers": {{{brokers}}}}}"#).as_bytes());
            known.is_none.load(Ordering::Relaxed)
        };
        let group = r#""GroupCoordinator": {"nodeid": -1, "state": "INIT", "source": "logical"}"#;
        let first =
            r#""k:9092/bootstrap": {"nodeid": -1, "state": "INIT", "source": "configured"}"#;
        assert!(report("") && report(group));
        assert!(!report(&format!("{group}, {first}")));
        known.note_report(b"no report");
        assert!(!known.is_none.load(Ordering::Relaxed));
    }
}
