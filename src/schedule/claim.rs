//! Who runs the schedules, as the topic of their progress has it. Fencing is Kafka's; this only names who it was, and
//! keeps a producer that is made anew from fencing a newer instance.

use super::progress;
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::tasks;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long somebody who is fenced waits for the claim of who did it.
const SUCCESSION: Duration = Duration::from_secs(10);

/// An instance's right to run the schedules; the later one has the greater epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub instance: String,
    pub epoch: u64,
}

impl Claim {
    /// The next one, for this instance.
    pub fn after(previous: Option<&Self>, instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            epoch: previous.map_or(1, |previous| previous.epoch + 1),
        }
    }

    /// Whether another instance has claimed them since.
    pub fn is_superseded_by(&self, found: &Self) -> bool {
        found.epoch > self.epoch || (found.epoch == self.epoch && found.instance != self.instance)
    }

    pub fn encode(&self) -> Vec<u8> {
        json!({"version": 1, "instance": self.instance, "epoch": self.epoch})
            .to_string()
            .into_bytes()
    }

    pub fn decode(value: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(value).ok()?;
        Some(Self {
            instance: value["instance"].as_str()?.to_owned(),
            epoch: value["epoch"].as_u64()?,
        })
    }
}

/// Who has claimed the schedules after `claim`; where `waits`, within some seconds: then it was not a newer instance
/// that fenced it but Kafka, which ended a transaction that was open for too long.
///
/// # Errors
/// As [`progress::read`].
pub async fn successor(
    kafka: &Kafka,
    topic: &str,
    unit: &str,
    claim: &Claim,
    waits: bool,
) -> Result<Option<Claim>, Error> {
    let (kafka, topic, unit, claim) = (
        kafka.clone(),
        topic.to_owned(),
        unit.to_owned(),
        claim.clone(),
    );
    let look = move || {
        let deadline = Instant::now() + SUCCESSION;
        loop {
            let found = progress::read(&kafka, &topic, &unit)?.claim;
            let found = found.filter(|found| claim.is_superseded_by(found));
            if found.is_some() || !waits || Instant::now() >= deadline {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    tasks::blocking("the claim of the schedules", look).await?
}

/// The end of a run that another instance has ended.
pub fn fenced(by: Option<&Claim>) -> Error {
    let who = by.map_or("another instance", |by| by.instance.as_str());
    Error::new(
        Code::Fenced,
        format!(
            "{who} has taken over the schedules of this KAFKA_CLIENT_ID; only one instance may run them"
        ),
    )
}
