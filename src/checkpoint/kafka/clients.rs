//! The clients that opening a store needs, connected while other things are looked at.

use super::blocking;
use super::prepare;
use super::read::Consumers;
use crate::config::Kafka;
use crate::error::Error;
use crate::kafka::client::{Logging, settle};
use crate::kafka::topic;
use crate::kafka::transaction::Prepared;
use rdkafka::admin::AdminClient;
use rdkafka::consumer::Consumer;
use std::time::Duration;

/// How long they wait for a broker. Whoever waits for Kafka longer says so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing is read, made or fenced by them yet.
pub(in crate::checkpoint) struct Clients {
    pub(super) admin: AdminClient<Logging>,
    pub(super) consumers: Consumers,
    pub(super) prepared: Prepared,
}

impl Clients {
    /// Clients that begin to connect.
    ///
    /// # Errors
    /// [`Code::Config`](crate::error::Code::Config) when librdkafka refuses a property.
    pub(in crate::checkpoint) fn new(kafka: &Kafka, stream: &str) -> Result<Self, Error> {
        Ok(Self {
            admin: topic::admin(kafka)?,
            consumers: Consumers::new(kafka)?,
            prepared: prepare(kafka, stream)?,
        })
    }

    /// Waits until all of them are connected, or no longer than it is worth: without, everything works,
    /// only later.
    ///
    /// # Errors
    /// [`Code::Internal`](crate::error::Code::Internal) when the process ends meanwhile.
    pub(in crate::checkpoint) async fn settled(self, topic: &str) -> Result<Self, Error> {
        let topic = topic.to_owned();
        blocking(move || {
            std::thread::scope(|side| {
                side.spawn(|| settle(self.admin.inner(), &topic, PATIENCE));
                side.spawn(|| settle(self.consumers.committed.client(), &topic, PATIENCE));
                side.spawn(|| settle(self.consumers.uncommitted.client(), &topic, PATIENCE));
                self.prepared.settle(&topic, PATIENCE);
            });
            self
        })
        .await
    }
}
