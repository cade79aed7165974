//! What `tailwater check` says of the live changes.

use super::topics::Topics;
use crate::config::{Config, Kafka};
use crate::error::Error;
use crate::kafka::rights::{self, Use};
use crate::kafka::{client, topic};
use crate::preflight::{Finding, Severity};
use crate::tasks;

const NAME: &str = "live";

/// Looks whether the topics that are there, and are served, may be read; nothing without `LIVE_ADDR`.
pub async fn check(config: &Config) -> Vec<Finding> {
    let Some(live) = &config.live else {
        return Vec::new();
    };
    let topics = Topics::of(config, live.knows_source);
    let kafka = config.kafka.clone();
    let addr = live.addr;
    let looked = tasks::blocking("the rights on topics that are served live", move || {
        look(&kafka, &topics)
    });
    match looked.await.and_then(|found| found) {
        Ok((count, mut findings)) => {
            if findings
                .iter()
                .all(|finding| finding.severity == Severity::Ok)
            {
                let sentence = format!("topics that are served live at {addr}: {count}");
                findings.push(Finding::ok(NAME, sentence));
            }
            findings
        }
        Err(error) => vec![Finding::of_kafka(NAME, error)],
    }
}

/// How many topics there are, and what is wrong with the rights on them. Blocks.
fn look(kafka: &Kafka, topics: &Topics) -> Result<(usize, Vec<Finding>), Error> {
    let admin = topic::admin(kafka)?;
    let found = topics.find(admin.inner());
    let findings = found.map(|found| {
        let uses: Vec<_> = found
            .iter()
            .map(|(name, _)| (name.as_str(), Use::Serving))
            .collect();
        let findings = match uses.is_empty() {
            true => Vec::new(),
            false => rights::on_topics(admin.inner(), kafka, &uses),
        };
        (found.len(), findings)
    });
    client::end_beside(admin);
    findings
}
