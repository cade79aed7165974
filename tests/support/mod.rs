//! Real servers, the real binary, and what a test needs to watch them.
//!
//! ```ignore
//! let db = support::database().await;
//! let kafka = support::kafka().await;
//! let topic = db.topic("changes");
//!
//! let tailwater = Tailwater::on(&db, kafka).env("KAFKA_DB_CHANGES_TOPIC", &topic).start().await;
//! db.documents("users").insert_one(doc! {"_id": 1, "name": "Ada"}).await.unwrap();
//!
//! let records = kafka.wait_for_records(&[&topic], 1).await;
//! assert_eq!(records[0].value["operationType"], "insert");
//! tailwater.stop().await;
//! ```
//!
//! [`database`] and [`kafka`] share one server each among all tests of a run: every test has a
//! database of its own, and topics named after it. A test that kills, freezes or reconfigures a
//! server starts a [`Mongo::dedicated`] or [`Kafka::dedicated`] one. All of them end with the test
//! process, however it ends.

// A subject uses what it needs; the room is whole nevertheless.
#![allow(dead_code, unused_imports)]

mod acls;
mod cache;
mod chromium;
mod clock;
mod connect;
mod consumer;
pub mod http;
mod kafka;
mod mongo;
mod node;
mod ports;
mod process;
mod produce;
mod proxy;
mod random;
mod registry;
mod tailwater;
mod tokens;
pub mod wire;

pub use acls::{Operation, Resource};
pub use chromium::Chromium;
pub use clock::Clock;
pub use connect::Connect;
pub use consumer::{Isolation, Record};
pub use http::Reply;
pub use kafka::{FENCED, Kafka, kafka};
pub use mongo::{Database, Mongo, database, mongo};
pub use node::{Node, rsa_key};
pub use ports::free as free_port;
pub use process::Process;
pub use produce::FirstRefused;
pub use proxy::{Direction, Proxy};
pub use random::Random;
pub use registry::{CONFLUENT, HEADERS, Registry, read_in_java, registry};
pub use tailwater::{Exit, Setup, Tailwater};
pub use tokens::with_real_tokens;
pub use wire::{Refusals, Wire};

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test waits for something that must happen. Only a failing test waits so long: it is
/// generous because the machine may be busy with other builds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `check` gives a value.
///
/// # Panics
/// After `deadline`, naming `what` did not happen.
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            Instant::now() < end,
            "still not so after {deadline:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A name that no other test, run or machine on the same servers has.
pub fn unique(name: &str) -> String {
    static RUN: LazyLock<u64> = LazyLock::new(|| {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_millis() as u64);
        (millis << 16) ^ u64::from(std::process::id())
    });
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!(
        "{name}-{:x}-{}",
        *RUN & 0xff_ffff_ffff,
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
